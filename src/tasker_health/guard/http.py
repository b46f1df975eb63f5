"""Where one HTTP/1 request ends and the next begins, as RFC 9112 says: bounded, and strict where parsers disagree.

What others would have to guess is refused: two framings that contradict each other, one framing told twice, a line
that ends in a bare LF, a header that goes on in the next line. Nobody in front of the guard can then be led to see
another request than it does. No header is looked at but those that frame a request: no credential is read.

Unlike h11 0.16 and httptools 0.9 on purpose, by section of RFC 9112 (test_http_references.py holds all else equal):

- 2.2: empty lines before a request are passed over (h11 refuses them); a line ends in CRLF only (h11 takes LF).
- 2.3: HTTP/1.2 is answered as 1.1 (httptools refuses it), other major versions with 505 (both take 2.0 and 0.9).
- 3.1: any token is a method, and gets 405 (httptools has a list).
- 3.2: one Host is needed (httptools needs none); `*` is followed by nothing, a target is not `foo` (h11 takes both).
- 5, and RFC 9110, 5.5: no control character stands in a value (h11 takes most); 5.2: no line is folded (h11 joins it).
- 6.1: Transfer-Encoding with Content-Length (h11 takes it) or in HTTP/1.0 (both take it) is refused; codings other than
  `chunked` are 501 (httptools takes `gzip, chunked`).
- 6.3: Content-Length stands once, as digits (h11 takes it twice if equal), below 2**63.
"""

from __future__ import annotations

LONGEST_LINE = 8000
"""Most bytes of a request line (RFC 9112, section 3 wants at least these)."""

LONGEST_HEAD = 16 * 1024
"""Most bytes of a request line and all headers."""

MOST_HEADERS = 100

LONGEST_BODY = 64 * 1024
"""Most bytes of a body that are passed over to reach the next request; no probe has one."""

BODY_OF_UNKNOWN_LENGTH = -1

_VISIBLE = bytes(range(0x21, 0x7F))
_TOKEN = bytes(each for each in _VISIBLE if each not in b'"(),/:;<=>?@[\\]{}')
_ALLOWED = b"\t\r\n" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_LARGEST_LENGTH = 1 << 63


class Request:
    """One whole head.

    Attributes:
        method: As it was sent; case matters.
        target: As it was sent: a path with its query, or a whole URL.
        size: Bytes of the head.
        body: Bytes that follow the head, or `BODY_OF_UNKNOWN_LENGTH`.
        closes: Whether the connection ends after the answer: its sender wants that, or what follows is not worth
            reading, or may never come.
        is_old: Whether it is HTTP/1.0, whose sender must be told that the connection stays.
    """

    __slots__ = ("body", "closes", "is_old", "method", "size", "target")

    def __init__(self, method: bytes, target: bytes, size: int, is_old: bool) -> None:
        self.method: bytes = method
        self.target: bytes = target
        self.size: int = size
        self.is_old: bool = is_old
        self.body: int = 0
        self.closes: bool = False


class Refused(Exception):  # noqa: N818 -- an outcome, named as one reads it
    """What was sent is no request that may be answered; where the next one begins is not known.

    Args:
        code: Status code of the answer.
        message: What is wrong with it, to be read by people.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def parse(data: bytes) -> Request | None:
    """Return the request that *data* begins with; `None` when there is more to come.

    Raises:
        Refused: It will be no valid request, whatever comes.
    """
    begins = 0
    while data.startswith(b"\r\n", begins):  # section 2.2: empty lines before a request are passed over
        begins += 2
    ends = data.find(b"\r\n\r\n", begins)
    if ends < 0:
        _refuse_early(data, begins)
        return None
    head = data[begins:ends]
    lines = head.split(b"\r\n")
    if not head.count(b"\n") == head.count(b"\r") == len(lines) - 1 or head.translate(None, _ALLOWED):
        raise Refused(400, "A line break that is not CRLF, or a control character")
    if len(lines[0]) > LONGEST_LINE:
        raise Refused(414, f"The request line is longer than {LONGEST_LINE} bytes")
    if len(head) > LONGEST_HEAD or len(lines) > MOST_HEADERS + 1:
        raise Refused(431, f"More than {LONGEST_HEAD} bytes or {MOST_HEADERS} lines of headers")
    request = _request_line(lines[0], ends + 4)
    _read_framing(request, lines[1:])
    return request


def _refuse_early(data: bytes, begins: int) -> None:
    """Refuse the beginning of a head that cannot become a valid one, so that nobody waits for its end."""
    if len(data) > LONGEST_HEAD + 4:
        raise Refused(431, f"More than {LONGEST_HEAD} bytes of headers")
    if len(data) - begins > LONGEST_LINE + 1 and data.find(b"\r\n", begins, begins + LONGEST_LINE + 2) < 0:
        raise Refused(414, f"The request line is longer than {LONGEST_LINE} bytes")
    breaks = data.count(b"\r\n")
    if data.count(b"\n") != breaks or data.count(b"\r") - data.endswith(b"\r") != breaks:
        raise Refused(400, "A line break that is not CRLF")


def _request_line(line: bytes, size: int) -> Request:
    """Return a request that knows what stands in its first line (section 3)."""
    words = line.split(b" ")
    if len(words) != 3:  # noqa: PLR2004
        raise Refused(400, "The first line is not a method, a target and a version, with one space between them")
    method, target, version = words
    if not method or method.translate(None, _TOKEN):
        raise Refused(400, "The method is not a token")
    if target.translate(None, _VISIBLE) or not _is_target(method, target):
        raise Refused(400, "The target is neither a path nor a URL")
    if len(version) != 8 or not version.startswith(b"HTTP/") or version[6:7] != b".":  # noqa: PLR2004
        raise Refused(400, "The version is not such as HTTP/1.1")
    major, minor = version[5:6], version[7:8]
    if not (major.isdigit() and minor.isdigit()):
        raise Refused(400, "The version is not such as HTTP/1.1")
    if major != b"1":
        raise Refused(505, "Only HTTP/1.0 and HTTP/1.1 are spoken here")
    return Request(method, target, size, is_old=minor == b"0")


def _is_target(method: bytes, target: bytes) -> bool:
    return target.startswith(b"/") or target == b"*" or _is_url(target) or (method == b"CONNECT" and target != b"")


def _is_url(target: bytes) -> bool:
    scheme, colon, _ = target.partition(b"://")
    return colon != b"" and scheme.isalpha()


def _read_framing(request: Request, lines: list[bytes]) -> None:
    """Note in *request* what its headers say about where it ends and what comes after it (sections 3.2, 5, 6, 9.3)."""
    hosts, options, waits = 0, b"", False
    length = coding = None
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name.translate(None, _TOKEN):
            raise Refused(400, "A header is not a name, a colon and a value, or goes on in the next line")
        name = name.lower()
        if name == b"host":
            hosts += 1
        elif name == b"connection":
            options += b"," + value.lower()
        elif name == b"content-length":
            length = _only(length, value, "Content-Length")
        elif name == b"transfer-encoding":
            coding = _only(coding, value, "Transfer-Encoding")
        elif name == b"expect":
            waits = True  # to be told to send the body, and may then not send it
    if hosts > 1 or (hosts == 0 and not request.is_old):
        raise Refused(400, "There must be one Host header, whatever its value")
    request.body = _body(request, length, coding)
    named = [option.strip(b" \t") for option in options.split(b",")]
    request.closes = (
        b"close" in named
        or (request.is_old and b"keep-alive" not in named)
        or request.body > (0 if waits else LONGEST_BODY)
        or request.body == BODY_OF_UNKNOWN_LENGTH
        or request.method == b"CONNECT"
    )


def _only(before: bytes | None, value: bytes, name: str) -> bytes:
    if before is not None:
        raise Refused(400, f"{name} is there twice")
    return value.strip(b" \t")


def _body(request: Request, length: bytes | None, coding: bytes | None) -> int:
    """Return how many bytes follow the head (section 6.3)."""
    if coding is not None:
        if length is not None:
            raise Refused(400, "Transfer-Encoding and Content-Length exclude each other")
        if request.is_old:
            raise Refused(400, "HTTP/1.0 has no Transfer-Encoding")
        if coding.lower() != b"chunked":
            raise Refused(501, "The only Transfer-Encoding known here is chunked")
        return BODY_OF_UNKNOWN_LENGTH
    if length is None:
        return 0
    if not length.isdigit() or len(length) > 20 or int(length) >= _LARGEST_LENGTH:  # noqa: PLR2004 -- 2**63 has 19
        raise Refused(400, "Content-Length is not a number")
    return int(length)


def path_of(target: bytes) -> str:
    """Return the path that *target* names: without scheme, authority and query, and decoded as every server does it."""
    path = target.partition(b"?")[0]
    if not path.startswith(b"/") and b"://" in path:
        _, slash, path = path.partition(b"://")[2].partition(b"/")
        path = slash + path
    return (_decoded(path) if b"%" in path else path).decode("latin-1")


def _decoded(path: bytes) -> bytes:
    first, *others = path.split(b"%")
    decoded = [first]
    for other in others:
        digits = other[:2]
        if len(digits) == 2 and not digits.translate(None, b"0123456789abcdefABCDEF"):  # noqa: PLR2004
            decoded += [bytes((int(digits, 16),)), other[2:]]
        else:
            decoded += [b"%", other]
    return b"".join(decoded)
