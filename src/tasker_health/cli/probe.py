"""`tasker-health probe URL`: ask one health endpoint over HTTP, with the standard library only.

Made for container health checks, so it starts fast: sockets, no `http.client` (which imports `email`).
"""

from __future__ import annotations

import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from typing import Any, TextIO

HEALTHY, UNHEALTHY, NOT_ASKED = 0, 1, 2

USAGE = """\
usage: tasker-health probe [--timeout SECONDS] [--fail-on unhealthy|degraded] [--container]
                           [--ca-file FILE] [--server-name NAME | --insecure] URL

Ask a health endpoint over HTTP, such as http://127.0.0.1:8080/tasker/health/ready.
Exit code 0: healthy. 1: unhealthy (503), or degraded with --fail-on degraded. 2: could not ask.

  --timeout SECONDS   longest wait for the whole answer (default 2)
  --fail-on LEVEL     unhealthy (default) or degraded
  --container         exit 1 in place of 2, for Docker's HEALTHCHECK, which reserves 2

For https:

  --ca-file FILE      PEM file of the certificates to trust, in place of the system's
  --server-name NAME  name that the certificate must have, in place of the URL's host
  --insecure          trust any certificate; for an address of this machine only
"""

_LARGEST_ANSWER = 1 << 20


_FLAGS = ("--container", "--insecure")
_ALLOWED = {"--fail-on": ("unhealthy", "degraded")}


class _CouldNotAsk(Exception):  # noqa: N818 -- an outcome, named as one reads it
    """There is no answer to judge; the message says why and what to do."""


def run(arguments: list[str]) -> int:
    """Return the exit code of `probe` with *arguments*."""
    container = "--container" in arguments
    try:
        options = _options(arguments)
        if options is None:
            say(sys.stdout, USAGE)
            return HEALTHY
        url = options["url"]
        status, body = _ask(url, _seconds(options["--timeout"]), options)
        return _judge(url, status, body, options["--fail-on"])
    except _CouldNotAsk as error:
        say(sys.stderr, f"tasker-health probe: {error}\n")
        return UNHEALTHY if container else NOT_ASKED
    except KeyboardInterrupt:
        return 130


def say(stream: TextIO | None, text: str) -> None:
    """Write *text*; that nobody can read it (a closed pipe, a full disk) must not change the exit code."""
    try:
        if stream is not None:
            stream.write(text)
            stream.flush()
    except (OSError, ValueError):
        forget(stream)


def forget(stream: TextIO | None) -> None:
    """Let what *stream* has not written go nowhere: the interpreter would try again at its exit and change the code."""
    import os

    try:
        if stream is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    except (OSError, ValueError):
        pass


def _options(arguments: list[str]) -> dict[str, str] | None:
    """Return the words of *arguments* by option, and the URL as `url`; `None`: help is wanted."""
    options = {"url": "", "--timeout": "2", "--fail-on": "unhealthy", "--ca-file": "", "--server-name": ""}
    options |= dict.fromkeys(_FLAGS, "")
    rest = list(arguments)
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if word in {"-h", "--help"}:
            return None
        if not word.startswith("-") and not options["url"]:
            options["url"] = word + equals + value
            continue
        if word not in options or word == "url" or (equals and word in _FLAGS):
            raise _CouldNotAsk(f"{word}: not understood; see tasker-health probe --help")
        if word in _FLAGS:
            value = "yes"
        elif not equals:
            if not rest:
                raise _CouldNotAsk(f"{word}: needs a value; see tasker-health probe --help")
            value = rest.pop(0)
        if value not in _ALLOWED.get(word, (value,)):
            raise _CouldNotAsk(f"{word} {value}: allowed are {', '.join(_ALLOWED[word])}")
        options[word] = value
    if not options["url"]:
        raise _CouldNotAsk("no URL; give one such as http://127.0.0.1:8080/tasker/health/ready")
    return options


def _seconds(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 3600:  # noqa: PLR2004 -- also refuses nan and inf
        raise _CouldNotAsk(f"--timeout {value}: allowed are seconds above 0 and below 3600")
    return seconds


def _split(url: str) -> tuple[bool, str, int, str]:
    scheme, _, rest = url.partition("://")
    host, slash, path = rest.partition("/")
    if scheme not in {"http", "https"} or not host or "@" in host or any(ord(c) <= 32 or ord(c) > 126 for c in url):  # noqa: PLR2004
        raise _CouldNotAsk(f"{url!r}: allowed are http://host:port/path and https://host:port/path")
    name, port = host, ""
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        port = port.removeprefix(":")
    elif ":" in host:
        name, _, port = host.rpartition(":")
    secure = scheme == "https"
    if port and not (port.isdigit() and 0 < int(port) < 65536):  # noqa: PLR2004
        raise _CouldNotAsk(f"{url!r}: port {port} is not one; allowed are 1 to 65535")
    return secure, name, int(port or (443 if secure else 80)), slash + path.partition("#")[0] or "/"


def _ask(url: str, timeout_seconds: float, options: dict[str, str]) -> tuple[int, bytes]:
    """Return status and body of one GET, within *timeout_seconds* altogether."""
    import time

    ends_at = time.monotonic() + timeout_seconds
    secure, host, port, path = _split(url)
    context = _context(options) if secure else None
    # HTTP/1.0, so that nothing between us and the server answers in chunks.
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    request = f"GET {path} HTTP/1.0\r\nHost: {authority}\r\nAccept: */*\r\n\r\n"
    answer = b""
    try:
        # As bytes: for text, getaddrinfo imports the IDNA codec and with it `re`.
        address: tuple[Any, int] = (host.encode("ascii"), port)
        with socket.create_connection(address, timeout_seconds) as plain:
            plain.settimeout(max(ends_at - time.monotonic(), 0.001))
            connection = plain
            if context is not None:
                connection = context.wrap_socket(plain, server_hostname=options["--server-name"] or host)
            with connection:
                connection.sendall(request.encode("ascii"))
                while True:
                    left = ends_at - time.monotonic()
                    connection.settimeout(max(left, 0.001))
                    part = connection.recv(65536)
                    if not part or len(answer) > _LARGEST_ANSWER or _complete(answer := answer + part):
                        break
    except TimeoutError:
        raise _CouldNotAsk(f"{url}: no answer within {timeout_seconds:g} s; is the server hung?") from None
    except OSError as error:
        raise _CouldNotAsk(f"{url}: {_why_not(error)}") from None
    return _parsed(url, answer)


def _context(options: dict[str, str]) -> ssl.SSLContext:
    import ssl

    ca_file = options["--ca-file"]
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ValueError) as error:
        words = "no certificate as PEM" if isinstance(error, ssl.SSLError) else getattr(error, "strerror", "no path")
        raise _CouldNotAsk(f"--ca-file {ca_file}: {words}; name a file with certificates") from None
    if options["--insecure"]:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _why_not(error: OSError) -> str:
    refused = getattr(error, "verify_message", "")
    if refused:
        return f"its certificate is refused: {refused}; --ca-file names whom to trust, --server-name the name in it"
    if getattr(error, "reason", None) in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"}:
        return "what answers there does not speak TLS; is it http://?"
    return f"{error.strerror or error}; is the server started, and is this its address?"


def _complete(answer: bytes) -> bool:
    """Whether *answer* has all that its Content-Length promises; without one the connection's end says so."""
    head, end, body = answer.partition(b"\r\n\r\n")
    promised = _promised(head)
    return bool(end) and promised is not None and len(body) >= promised


def _promised(head: bytes) -> int | None:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return int(value)
    return None


def _parsed(url: str, answer: bytes) -> tuple[int, bytes]:
    head, end, body = answer.partition(b"\r\n\r\n")
    words = head.split(b"\r\n")[0].split(b" ")
    if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():  # noqa: PLR2004
        raise _CouldNotAsk(f"{url}: what answers there does not speak HTTP; is this the right port, and not https://?")
    if not end or len(body) < (_promised(head) or 0):
        raise _CouldNotAsk(f"{url}: the answer broke off; did the server end, or a proxy on the way?")
    return int(words[1]), body


def _judge(url: str, status: int, body: bytes, fail_on: str) -> int:
    if status == 503:  # noqa: PLR2004
        say(sys.stdout, "unhealthy\n")
        return UNHEALTHY
    if not 200 <= status < 300:  # noqa: PLR2004
        raise _CouldNotAsk(f"{url}: answered {status}; is this the path of a health endpoint?")
    degraded = _is_degraded(url, body)
    say(sys.stdout, "degraded\n" if degraded else "healthy\n")
    return UNHEALTHY if degraded and fail_on == "degraded" else HEALTHY


def _is_degraded(url: str, body: bytes) -> bool:
    """Whether a status says `degraded`, or a readiness names degraded checks."""
    if b"degraded" not in body:
        return False
    import json

    try:
        report = json.loads(body)
    except (ValueError, RecursionError):
        raise _CouldNotAsk(f"{url}: what answers there does not speak JSON; is this a health endpoint?") from None
    return isinstance(report, dict) and (report.get("status") == "degraded" or bool(report.get("degraded_checks")))
