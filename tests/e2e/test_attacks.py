"""Attacks at every listener of ours, and at the servers before `health.asgi`: nothing is given, nothing slips.

Every request here comes without credentials to where they are required, and is followed at once by another one on the
same connection. The follower gets its own answer, or the connection is closed.
"""

from __future__ import annotations

import hashlib
import os
import re
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import httpx
import pytest

import canary
from served import served
from server import free_port, wait_until

PATIENCE_SECONDS = 60
TOKEN = canary.secret("attacked-token")
ACCESS = {
    "TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION": "true",
    "TASKER_AUTH__AUTHENTICATION_ENABLED": "true",
    "TASKER_AUTH__AUTHENTICATOR_CLASS": "tokens",
    "TASKER_AUTH__TOKENS__OPS__HASH": f"sha256:{hashlib.sha256(TOKEN.encode()).hexdigest()}",
    "TASKER_AUTH__FAILURES_PER_MINUTE": "1000000",  # the limiter has tests of its own
}
APPLICATION = """
from tasker_health import Health

async def inner(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
    await send({"type": "http.response.body", "body": b"inner"})

app = Health().asgi(inner)
"""
FOREIGN = {
    "uvicorn": ["uvicorn", "--http", "httptools", "--port", "PORT"],
    "gunicorn": ["gunicorn", "--bind", "127.0.0.1:PORT", "--worker-class", "uvicorn_worker.UvicornWorker"],
}
LISTENERS = ["serve", "guard", *FOREIGN]
HEAD = b"Host: a\r\n"
STATUS = b"/tasker/health/status"
FOLLOWER = b"GET /tasker/health/startup HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
SMUGGLED = b"GET /tasker/health/ready HTTP/1.1\r\nHost: a\r\n\r\n"
LONG = 100_000

# What two parsers may read in two ways: each answer ends the connection.
CHUNKED = b"Transfer-Encoding: chunked\r\n"
AMBIGUOUS = {
    "length and coding": (HEAD + b"Content-Length: 6\r\n" + CHUNKED, b"0\r\n\r\nX"),
    "coding and length": (HEAD + CHUNKED + b"Content-Length: %d\r\n" % (5 + len(SMUGGLED)), b"0\r\n\r\n" + SMUGGLED),
    "two lengths": (HEAD + b"Content-Length: 0\r\nContent-Length: %d\r\n" % len(SMUGGLED), SMUGGLED),
    "one length twice": (HEAD + b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc"),
    "list of lengths": (HEAD + b"Content-Length: 3, 3\r\n", b"abc"),
    "signed length": (HEAD + b"Content-Length: +%d\r\n" % len(SMUGGLED), SMUGGLED),
    "negative length": (HEAD + b"Content-Length: -1\r\n", b""),
    "hexadecimal length": (HEAD + b"Content-Length: 0x3\r\n", b"abc"),
    "length with a gap": (HEAD + b"Content-Length: 1 2\r\n", b"abc"),
    "empty length": (HEAD + b"Content-Length: \r\n", b""),
    "length beyond 64 bits": (HEAD + b"Content-Length: 18446744073709551617\r\n", b"a"),
    "chunked, identity": (HEAD + b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
    "identity": (HEAD + b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n"),
    "xchunked": (HEAD + b"Transfer-Encoding: xchunked\r\n", b"0\r\n\r\n"),
    "two codings": (HEAD + CHUNKED + b"Transfer-Encoding: identity\r\n", b"0\r\n\r\n"),
    "coding after a vertical tab": (HEAD + b"Transfer-Encoding:\x0bchunked\r\n", b"0\r\n\r\n"),
    "coding in a folded line": (HEAD + b"Transfer-Encoding:\r\n chunked\r\n", b"0\r\n\r\n"),
    "coding behind a bare LF": (HEAD + b"X: a\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "coding behind a bare CR": (HEAD + b"X: a\rTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "space before the colon of a coding": (HEAD + b"Transfer-Encoding : chunked\r\n", b"0\r\n\r\n"),
    "space before the colon of a length": (HEAD + b"Content-Length : 3\r\n", b"abc"),
    "space before the colon": (HEAD + b"X : a\r\n", b""),
    "folded line": (HEAD + b"X: a\r\n b\r\n", b""),
    "folded first line": (b" Host: a\r\n" + HEAD, b""),
    "bare LF": (HEAD + b"X: a\nY: b\r\n", b""),
    "bare CR": (HEAD + b"X: a\rY: b\r\n", b""),
    "NUL in a value": (HEAD + b"X: a\0b\r\n", b""),
    "NUL in a name": (HEAD + b"X\0: a\r\n", b""),
    "line without a colon": (HEAD + b"Xa\r\n", b""),
    "empty name": (HEAD + b": a\r\n", b""),
    "name with a space": (HEAD + b"Content Length: 3\r\n", b"abc"),
    "size that is none": (HEAD + CHUNKED, b"zz\r\nabc\r\n0\r\n\r\n"),
    "sizes that end in LF": (HEAD + CHUNKED, b"3\nabc\n0\n\n"),
    "negative size": (HEAD + CHUNKED, b"-1\r\n\r\n0\r\n\r\n"),
    "size with 0x": (HEAD + CHUNKED, b"0x3\r\nabc\r\n0\r\n\r\n"),
    "size beyond 64 bits": (HEAD + CHUNKED, b"10000000000000003\r\nabc\r\n0\r\n\r\n"),
    "chunk longer than its size": (HEAD + CHUNKED, b"3\r\nabcX0\r\n\r\n"),
    "LF in an extension": (HEAD + CHUNKED, b"3;a\nb\r\nabc\r\n0\r\n\r\n"),
}
# What is odd, and may be answered: the follower is then answered too, or the connection is closed.
ODD = {
    "underscore": (HEAD + b"Content_Length: 3\r\n", b""),
    "chunked twice": (HEAD + CHUNKED + CHUNKED, b"0\r\n\r\n"),
    "identity, chunked": (HEAD + b"Transfer-Encoding: identity, chunked\r\n", b"0\r\n\r\n"),
    "gzip, chunked": (HEAD + b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
    "credentials behind the body": (HEAD + CHUNKED, b"0\r\nAuthorization: Bearer TOKEN\r\n\r\n"),
    "length behind the body": (HEAD + CHUNKED, b"0\r\nContent-Length: 50\r\n\r\n"),
    "body that is a request": (HEAD + b"Content-Length: %d\r\n" % len(SMUGGLED), SMUGGLED),
    "length that is to be forgotten": (HEAD + b"Connection: Content-Length\r\nContent-Length: 3\r\n", b"abc"),
    "body that is to be asked for": (HEAD + b"Expect: 100-continue\r\nContent-Length: 5\r\n", b"hello"),
    "expectation that nobody has": (HEAD + b"Expect: 200-maybe\r\n", b""),
    "upgrade": (HEAD + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", b""),
    "no host": (b"", b""),
    "two hosts": (HEAD + b"Host: b\r\n", b""),
    "control character": (HEAD + b"X: a\x01b\r\n", b""),
    "bytes beyond ASCII": (HEAD + b"X: \xc3\xa9\xff\r\n", b""),
    "long header": (HEAD + b"X: " + b"a" * LONG + b"\r\n", b""),
    "long credentials": (HEAD + b"Authorization: Bearer " + b"a" * 20_000 + b"\r\n", b""),
    "many headers": (HEAD + b"".join(b"X%d: a\r\n" % number for number in range(5000)), b""),
    "wrong, then right credentials": (HEAD + b"Authorization: Bearer a\r\nAuthorization: Bearer TOKEN\r\n", b""),
    "right, then wrong credentials": (HEAD + b"Authorization: Bearer TOKEN\r\nAuthorization: Bearer a\r\n", b""),
    "right credentials twice": (HEAD + b"Authorization: Bearer TOKEN\r\nAuthorization: Bearer TOKEN\r\n", b""),
    "right credentials in a list": (HEAD + b"Authorization: Bearer TOKEN, Bearer TOKEN\r\n", b""),
    "right credentials in a folded line": (HEAD + b"Authorization: Bearer\r\n TOKEN\r\n", b""),
    "right credentials for a proxy": (HEAD + b"Proxy-Authorization: Bearer TOKEN\r\n", b""),
    "right credentials in a cookie": (HEAD + b"Cookie: Authorization=Bearer TOKEN\r\n", b""),
    "from this machine": (HEAD + b"X-Forwarded-For: 127.0.0.1\r\nX-Real-IP: 127.0.0.1\r\nForwarded: for=::1\r\n", b""),
    "known to a proxy": (HEAD + b"X-Client-Verify: SUCCESS\r\nX-Client-Subject: CN=ops\r\nX-Remote-User: a\r\n", b""),
    "another host": (b"Host: localhost\r\nX-Forwarded-Host: localhost\r\nX-Host: localhost\r\n", b""),
    "host that is none": (b"Host: a b\r\n", b""),
    "empty host": (b"Host: \r\n", b""),
    "host with a path": (b"Host: a/tasker/health/live?\r\n", b""),
}
LINES = {
    "path with a NUL": b"GET /tasker/health/status\0 HTTP/1.1",
    "path with a tab": b"GET /tasker/health/status\t HTTP/1.1",
    "two spaces": b"GET  /tasker/health/status HTTP/1.1",
    "tabs": b"GET\t/tasker/health/status\tHTTP/1.1",
    "no version": b"GET /tasker/health/status",
    "HTTP/1.0 with chunks": b"GET /tasker/health/status HTTP/1.0\r\nTransfer-Encoding: chunked",
    "HTTP/2 by declaration": b"PRI * HTTP/2.0",
    "version of the future": b"GET /tasker/health/status HTTP/3.0",
    "version in lower case": b"GET /tasker/health/status http/1.1",
    "tunnel": b"CONNECT a:80 HTTP/1.1",
    "method in lower case": b"get /tasker/health/status HTTP/1.1",
    "method that nobody knows": b"BREW /tasker/health/status HTTP/1.1",
    "method too long": b"A" * 9000 + b" /tasker/health/status HTTP/1.1",
    "path too long": b"GET /tasker/health/status?" + b"a" * LONG + b" HTTP/1.1",
    "path beyond ASCII": b"GET /tasker/health/stat\xc3\xbcs HTTP/1.1",
    "space first": b" GET /tasker/health/status HTTP/1.1",
}
PATHS = r"""
    //tasker/health/status /tasker//health/status /tasker/health//status /tasker/health/status/ /tasker/health/status//
    /tasker/health/./status /tasker/health/x/../status /tasker/health/live/../status /./tasker/health/status
    /tasker/health/%2e/status /tasker/health/live/%2e%2e/status /tasker/health%2fstatus /tasker%2Fhealth%2Fstatus
    /tasker/health/status%2f /tasker/health/%73tatus /%74asker/health/status /tasker/health/%2573tatus
    /tasker/health/status; /tasker/health/status;x=y /tasker/health/live;/../status /tasker/health;x/status
    /tasker/health/Status /TASKER/HEALTH/STATUS /tasker/health/status%00 /tasker/health/status%20
    /tasker/health/status%0d%0aX:y /tasker/health/status%20HTTP/1.1%0d%0aHost:%20a%0d%0a%0d%0a
    /tasker/health/status?_method=GET /tasker/health/status?format=health /tasker/health/status?access_token=TOKEN
    /tasker/health/status#x /tasker/health/status? /tasker/health/status.json /tasker/health/live/status
    /tasker/health/ready/../status /tasker/health/ready/%2e%2e%2fstatus /tasker/health /tasker/health/ /tasker/health?x
    /tasker/metrics /tasker/metrics/ /tasker/Metrics //tasker/metrics /tasker/%6detrics /tasker/health/../metrics
    /tasker/health/%ff /tasker/health/%zz /tasker/health/% /tasker/health/%c0%ae%c0%ae/status /tasker/health/%u002e
    * http://a/tasker/health/status http://u:p@a/tasker/health/status http://a http://a?x http:// http://a:99999999/
    http://[::1/tasker/health/status HTTP://A//tasker/health/status tasker/health/status ?x \tasker\health\status
    //a:80/tasker/health/status /// /\a/tasker/health/status
""".split()  # noqa: SIM905 -- a line each would be two screens


@pytest.fixture(scope="module", params=LISTENERS)
def address(request, tmp_path_factory):
    """Host and port of a listener that wants credentials for the status."""
    if request.param in FOREIGN:
        yield from _foreign(FOREIGN[request.param], tmp_path_factory.mktemp("application"))
        return
    with served(**ACCESS) as server:
        pattern = r"guard at (http://\S+)" if request.param == "guard" else r"serving (http://\S+)"
        url = urlsplit(re.search(pattern, server.log).group(1))
        wait_until(lambda: httpx.get(f"{url.geturl()}/ready").status_code == 200, "it is ready")
        yield url.hostname, url.port


def _foreign(command, folder):
    (folder / "application.py").write_text(APPLICATION)
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    words = [word.replace("PORT", str(port)) for word in command]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *words, "application:app"],
            cwd=folder,
            env={**environment, **ACCESS},
            stdout=log,
            stderr=log,
        )
    try:
        wait_until(lambda: _answers(port), "it answers")
        yield "127.0.0.1", port
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
    assert "Traceback" not in (folder / "log").read_text()


def _answers(port):
    try:
        return httpx.get(f"http://127.0.0.1:{port}/tasker/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def exchange(address, data):
    """Return all that comes back for *data* and the follower, to the end of the connection."""
    answers = b""
    with socket.create_connection(address, PATIENCE_SECONDS) as connection:
        try:
            connection.sendall(data.replace(b"TOKEN", TOKEN.encode()) + FOLLOWER)
            while part := connection.recv(65536):
                answers += part
        except (ConnectionResetError, BrokenPipeError):
            pass  # it was closed before all was sent, as it may
    return answers


def codes(answers):
    """Return the status codes in *answers*, without interim ones."""
    found = [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3})", answers)]
    return [code for code in found if code >= 200]


def assert_nothing_slips(answers):
    """No status, no 5xx, no redirect; at most one answer for each request, and the follower's is its own."""
    canary.look("an answer to an attack", answers)
    assert b"system_health" not in answers
    assert b"tasker_" not in answers.replace(b"tasker_health", b"")  # a metric
    found = codes(answers)
    # 501 and 505 are what RFC 9112 wants for codings and versions that nobody knows.
    assert all(code < 300 or 400 <= code < 500 or code in {501, 505} for code in found), found
    assert b'"ready":' not in answers, "the body was taken for a request"
    assert len(found) <= 2
    if len(found) == 2:
        assert found[1] == 200
        assert b'"started":true' in answers.rpartition(b"HTTP/1.")[2]


@pytest.mark.parametrize("attack", AMBIGUOUS)
def test_what_can_be_read_in_two_ways_ends_the_connection(address, attack):
    """It is refused, and nothing that comes after it is taken for a request."""
    head, body = AMBIGUOUS[attack]
    answers = exchange(address, b"GET " + STATUS + b" HTTP/1.1\r\n" + head + b"\r\n" + body)
    assert_nothing_slips(answers)
    assert len(codes(answers)) == 1, answers
    assert codes(answers)[0] in {400, 404, 501}, answers  # the guard does not read bodies: 404, and closes
    assert b"connection: close" in answers.lower()


@pytest.mark.parametrize("attack", ODD)
def test_what_is_odd_gives_nothing_and_leaves_the_connection_in_step(address, attack):
    """Without credentials, with them where they do not belong, or with headers that others believe: no status."""
    head, body = ODD[attack]
    for method in (b"GET", b"POST"):
        answers = exchange(address, method + b" " + STATUS + b" HTTP/1.1\r\n" + head + b"\r\n" + body)
        assert_nothing_slips(answers)
        assert codes(answers)[:1] != [200]


@pytest.mark.parametrize("line", LINES)
def test_odd_request_lines_give_nothing(address, line):
    """Methods, versions and separators that no prober sends."""
    answers = exchange(address, LINES[line] + b"\r\n" + HEAD + b"\r\n")
    assert_nothing_slips(answers)
    assert codes(answers)[:1] != [200]


@pytest.mark.parametrize("path", PATHS)
def test_no_spelling_of_a_path_goes_round_the_gate(address, path):
    """Refused or not found, never redirected; an application behind may answer what is none of ours."""
    answers = exchange(address, b"GET " + path.encode() + b" HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert_nothing_slips(answers)
    if codes(answers)[:1] == [200]:
        assert b"inner" in answers.partition(b"HTTP/1.1 200")[2]


def ask(address, method="GET", path="/health/status", **headers):
    """Return the answer to a request that is well-formed."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"http://{address[0]}:{address[1]}/tasker{path}"
    return httpx.request(method, url, headers=named, timeout=PATIENCE_SECONDS)


BEARER = f"Bearer {TOKEN}"


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_no_header_stands_for_the_method(address, header):
    """POST stays POST, and GET stays GET."""
    by_post = ask(address, "POST", **{header: "GET", "authorization": BEARER})
    assert by_post.status_code in {404, 405}
    assert ask(address, path="/health/live", **{header: "DELETE"}).status_code == 200


@pytest.mark.parametrize("header", ["X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Prefix", "X-Forwarded-Uri"])
def test_no_header_stands_for_the_path(address, header):
    """`live` with the path of the status in a header is `live`; the status with that of `live` wants credentials."""
    assert "alive" in ask(address, path="/health/live", **{header: "/tasker/health/status"}).json()
    assert ask(address, **{header: "/tasker/health/live"}).status_code in {401, 404}


ACCEPTS = [
    "*/*",
    "text/html",
    "application/health+json",
    "application/vnd.spring-boot.actuator.v3+json",
    "a/b;q=x",
    ",",
]


def test_nobody_gets_an_answer_that_was_made_for_another(address):
    """Asked with credentials and without, in one format and the other, over one connection: each gets its own."""
    with httpx.Client(base_url=f"http://{address[0]}:{address[1]}/tasker", timeout=PATIENCE_SECONDS) as client:
        if client.get("/health/status").status_code == 404:
            return  # the guard, which has no status
        plain = client.get("/health/status", headers={"authorization": BEARER})
        assert plain.status_code == 200
        for accept in ACCEPTS:
            for path in ("/health/status", "/health"):
                allowed = client.get(path, headers={"authorization": BEARER, "accept": accept})
                refused = client.get(path, headers={"accept": accept})
                assert (allowed.status_code, refused.status_code) == (200, 401), accept
                assert "system_health" not in refused.text
                for answer in (allowed, refused):
                    assert "no-store" in answer.headers["cache-control"]
                    assert "etag" not in answer.headers
                assert "accept" in allowed.headers["vary"].lower()
        again = client.get("/health/status", headers={"authorization": BEARER})
        assert again.headers["content-type"] == plain.headers["content-type"] == "application/json"
        assert again.json().keys() == plain.json().keys()
        assert client.head("/health/status").status_code == 401
