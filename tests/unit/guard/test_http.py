"""The guard's parser: what is a valid request, and where it ends."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasker_health.guard.http import (
    BODY_OF_UNKNOWN_LENGTH,
    LONGEST_BODY,
    LONGEST_HEAD,
    LONGEST_LINE,
    MOST_HEADERS,
    Refused,
    parse,
    path_of,
)

HOST = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n"


def verdict(data):
    """Return 200 for a valid request, 0 for one that is unfinished, and otherwise the code it is refused with."""
    try:
        return 0 if parse(data) is None else 200
    except Refused as refused:
        return refused.code


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (GET + HOST + b"\r\n", 200),
        (b"GET / HTTP/1.0\r\n\r\n", 200),
        (b"GET / HTTP/1.2\r\n" + HOST + b"\r\n", 200),
        (b"\r\n\r\n" + GET + HOST + b"\r\n", 200),
        (b"GET http://a/b HTTP/1.1\r\n" + HOST + b"\r\n", 200),
        (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 200),
        (b"CONNECT a:80 HTTP/1.1\r\n" + HOST + b"\r\n", 200),
        (GET + b"Host: \r\n\r\n", 200),
        (GET + b"hOsT:any thing, at all\r\n\r\n", 200),
        (GET + HOST + b"A:\t b \t\r\n\r\n", 200),
        (GET + HOST + b"A: \xff\r\n\r\n", 200),
        (GET + HOST + b"A:\r\n\r\n", 200),
        (GET + HOST + b"Content-Length: 0\r\n\r\n", 200),
        (GET + HOST + b"Transfer-Encoding: Chunked\r\n\r\n", 200),
        (b"", 0),
        (b"\r\n", 0),
        (GET + HOST, 0),
        (GET + HOST + b"\r", 0),
        (GET[:-1], 0),
        # The line: section 3
        (b"GET  / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.1 \r\n" + HOST + b"\r\n", 400),
        (b" GET / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET\t/\tHTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"G(T / HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET foo HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET foo?http://a HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / http/1.1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1,1\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.x\r\n" + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.11\r\n" + HOST + b"\r\n", 400),
        (b"CONNECT  HTTP/1.1\r\n" + HOST + b"\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"GET / HTTP/0.9\r\n" + HOST + b"\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        # Line ends: section 2.2
        (b"GET / HTTP/1.1\nHost: a\n\n", 400),
        (GET + b"Host: a\n\r\n", 400),
        (GET + b"Host: a\rb\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\r\n" + HOST + b"\r\n", 400),
        (b"\nGET", 400),
        (b"GET / HTTP/1.1\rHost", 400),
        # Headers: section 5
        (GET + HOST + b"A : b\r\n\r\n", 400),
        (GET + HOST + b"A: b\r\n c\r\n\r\n", 400),
        (GET + b" A: b\r\n" + HOST + b"\r\n", 400),
        (GET + HOST + b": b\r\n\r\n", 400),
        (GET + HOST + b"Ab\r\n\r\n", 400),
        (GET + HOST + b"A(: b\r\n\r\n", 400),
        (GET + HOST + b"A: \x00\r\n\r\n", 400),
        (GET + HOST + b"A: \x0b\r\n\r\n", 400),
        (GET + HOST + b"A: \x7f\r\n\r\n", 400),
        # Host: section 3.2
        (GET + b"\r\n", 400),
        (GET + HOST + HOST + b"\r\n", 400),
        (b"GET / HTTP/1.0\r\n" + HOST + HOST + b"\r\n", 400),
        # Framing: section 6
        (GET + HOST + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nab", 400),
        (GET + HOST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nab", 400),
        (GET + HOST + b"Content-Length: 2, 2\r\n\r\nab", 400),
        (GET + HOST + b"Content-Length: +2\r\n\r\nab", 400),
        (GET + HOST + b"Content-Length: 0x2\r\n\r\nab", 400),
        (GET + HOST + b"Content-Length: -2\r\n\r\nab", 400),
        (GET + HOST + b"Content-Length: 2_0\r\n\r\nab", 400),
        (GET + HOST + b"Content-Length:\r\n\r\nab", 400),
        (GET + HOST + b"Content-Length: %d\r\n\r\n" % 2**63, 400),
        (GET + HOST + b"Content-Length: %s2\r\n\r\n" % (b"0" * 5000), 400),
        (GET + HOST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nab", 400),
        (GET + HOST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (GET + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n", 501),
        (GET + HOST + b"Transfer-Encoding: \r\n\r\n", 501),
        # Bounds
        (b"GET /" + b"a" * (LONGEST_LINE - 14) + b" HTTP/1.1\r\n" + HOST + b"\r\n", 200),
        (b"GET /" + b"a" * (LONGEST_LINE - 13) + b" HTTP/1.1\r\n" + HOST + b"\r\n", 414),
        (b"GET /" + b"a" * (LONGEST_LINE - 5), 0),
        (b"GET /" + b"a" * (LONGEST_LINE - 5) + b"\r", 0),
        (b"GET /" + b"a" * (LONGEST_LINE - 3), 414),
        (GET + HOST + b"A: b\r\n" * (MOST_HEADERS - 1) + b"\r\n", 200),
        (GET + HOST + b"A: b\r\n" * MOST_HEADERS + b"\r\n", 431),
        (GET + HOST + b"A: " + b"b" * (LONGEST_HEAD - len(GET + HOST) - 3) + b"\r\n\r\n", 200),
        (GET + HOST + b"A: " + b"b" * (LONGEST_HEAD - len(GET + HOST) - 2) + b"\r\n\r\n", 431),
        (GET + HOST + b"A: " + b"b" * LONGEST_HEAD, 431),
        (b"\r\n" * LONGEST_HEAD, 431),
    ],
)
def test_edges(data, code):
    """Each edge of the grammar has its code; 0 is a request that is unfinished."""
    assert verdict(data) == code


@pytest.mark.parametrize(
    ("head", "closes"),
    [
        (GET + HOST, False),
        (GET + HOST + b"Connection: close\r\n", True),
        (GET + HOST + b"Connection: x, \tCLOSE ,\r\n", True),
        (GET + HOST + b"Connection: x\r\nConnection: close\r\n", True),
        (GET + HOST + b"Connection: closed\r\n", False),
        (b"GET / HTTP/1.0\r\n", True),
        (b"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\nConnection: close\r\n", True),
        (b"CONNECT a:1 HTTP/1.1\r\n" + HOST, True),
        (GET + HOST + b"Content-Length: %d\r\n" % LONGEST_BODY, False),
        (GET + HOST + b"Content-Length: %d\r\n" % (LONGEST_BODY + 1), True),
        (GET + HOST + b"Expect: 100-continue\r\n", False),
        (GET + HOST + b"Expect: 100-continue\r\nContent-Length: 1\r\n", True),
        (GET + HOST + b"Transfer-Encoding: chunked\r\n", True),
    ],
)
def test_the_connection_stays_or_ends(head, closes):
    """It ends when its sender wants that, or when what follows is not worth waiting for."""
    assert parse(head + b"\r\n").closes is closes


def test_a_request_knows_where_it_ends():
    """Method, target, size of the head and length of the body are told; what follows is not touched."""
    head = b"\r\nPOST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 007\r\n\r\n"
    request = parse(head + b"1234567GET")
    assert (request.method, request.target, request.size, request.body) == (b"POST", b"/a?b", len(head), 7)
    assert parse(GET + HOST + b"Transfer-Encoding: chunked\r\n\r\n").body == BODY_OF_UNKNOWN_LENGTH


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/a/b", "/a/b"),
        (b"/a?b=/c?d", "/a"),
        (b"http://x:1/a/b?c", "/a/b"),
        (b"http://x", ""),
        (b"http://x?/a", ""),
        (b"/a?u=http://x/", "/a"),
        (b"//x/a", "//x/a"),
        (b"/%6Cive", "/live"),
        (b"/%2541%zz%4", "/%41%zz%4"),
        (b"/%ff", "/\xff"),
        (b"*", "*"),
    ],
)
def test_the_path_of_a_target(target, path):
    """A path is told without scheme, authority and query, decoded once; nothing else is made of it."""
    assert path_of(target) == path


@given(st.binary(max_size=200))
@example(b"\r\n" * 100)
def test_any_bytes_have_a_verdict(data):
    """Whatever is sent, there is a request, a refusal or a wait for more; nothing else is raised."""
    assert verdict(data) in {0, 200, 400, 414, 431, 501, 505}
