"""The guard's parser against h11 and httptools: no other request is seen in the same bytes."""

from __future__ import annotations

import h11
import httptools
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tasker_health.guard.http import Refused, parse

HOST = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n"
METHODS = (b"GET", b"HEAD", b"POST", b"OPTIONS", b"DELETE", b"get", b"FOO", b"", b"G ET", b"CONNECT")
TARGETS = (b"/", b"/a?b", b"*", b"http://h/p", b"foo", b"", b"/a b", b"/\x80", b"/a#b", b"h:80", b"/%zz")
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1", b"HTTP/1.1 ", b"HTTP/11", b"")
NAMES = (
    b"Host",
    b"Content-Length",
    b"content-length",
    b"Transfer-Encoding",
    b"Connection",
    b"Expect",
    b"A",
    b"",
    b"A ",
    b" A",
    b"A(",
)
VALUES = (
    b"a",
    b"",
    b"0",
    b"2",
    b"7",
    b"+2",
    b"2, 2",
    b"chunked",
    b"gzip, chunked",
    b"close",
    b"keep-alive",
    b"100-continue",
    b"a\tb",
    b"\x80",
    b"\x01",
    b"\x00",
    b"\x7f",
    b"9" * 19,
    b"b\r\n c",
)
ENDS = (b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r")

lines = st.builds(
    lambda name, colon, value, end: name + colon + value + end,
    st.sampled_from(NAMES),
    st.sampled_from((b": ", b":", b":\t", b" :", b"")),
    st.sampled_from(VALUES),
    st.sampled_from(ENDS),
)
sound = st.builds(
    lambda name, value: b"%s: %s\r\n" % (name, value),
    st.sampled_from((b"A", b"Accept", b"Connection", b"Expect", b"Cookie")),
    st.sampled_from((b"a", b"", b"close", b"keep-alive", b"100-continue", b"\x80")),
)
framing = st.sampled_from(
    (b"", b"", b"Content-Length: 2\r\n", b"content-length:0\r\n", b"Transfer-Encoding: chunked\r\n")
)
requests = st.one_of(
    st.builds(  # mostly sound
        lambda method, target, version, headers, frame: b"".join(
            [method, b" ", target, b" ", version, b"\r\nHost: a\r\n", *headers, frame, b"\r\n"]
        ),
        st.sampled_from(METHODS[:5]),
        st.sampled_from(TARGETS[:4]),
        st.sampled_from(VERSIONS[:2]),
        st.lists(sound, max_size=3),
        framing,
    ),
    st.builds(  # mostly not
        lambda method, target, version, end, headers: b"".join(
            [method, b" ", target, b" ", version, end, *headers, b"\r\n"]
        ),
        st.sampled_from(METHODS),
        st.sampled_from(TARGETS),
        st.sampled_from(VERSIONS),
        st.sampled_from(ENDS),
        st.lists(st.one_of(lines, st.just(HOST)), max_size=5),
    ),
)


@st.composite
def mutated(draw):
    """A request with a few bytes put in, taken out or replaced."""
    data = bytearray(draw(requests))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        data[at : at + draw(st.integers(0, 2))] = draw(
            st.sampled_from((b"", b" ", b"\r", b"\n", b"\r\n", b":", b"\x00", b"A", b"\t", b","))
        )
    return bytes(data)


NEXT = b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
FOLLOWING = b"0\r\n\r\n" + NEXT


class H11:
    """What h11 makes of bytes: targets of the requests it sees, and whether it refuses some."""

    def __init__(self, data):
        self.seen, self.refuses, self.waits = [], False, False
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        connection.receive_data(data)
        try:
            self._read(connection)
        except h11.RemoteProtocolError:
            self.refuses = True

    def _read(self, connection):
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                self.seen.append((event.method, event.target))
            elif isinstance(event, h11.EndOfMessage):
                connection.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    return
                connection.start_next_cycle()
            elif not isinstance(event, h11.Data):
                return


class HttpTools:
    """The same of httptools, which uvicorn uses."""

    def __init__(self, data):
        self.seen, self.refuses, self._url = [], False, b""
        parser = httptools.HttpRequestParser(self)
        self._parser = parser
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            return
        except httptools.HttpParserError:
            self.refuses = True

    def on_message_begin(self):
        """Begin a request."""
        self._url = b""

    def on_url(self, url):
        """Take a piece of its target."""
        self._url += url

    def on_headers_complete(self):
        """Note it."""
        self.seen.append((self._parser.get_method(), self._url))


def ours(data):
    """The same of the guard's parser: all requests until the connection would end."""
    seen = []
    while True:
        try:
            request = parse(data)
        except Refused:
            return seen, True
        if request is None:
            return seen, False
        seen.append((request.method, request.target))
        if request.closes or len(data) < request.size + request.body:
            return seen, False
        data = data[request.size + request.body :]


def is_request(data):
    """Whether the guard answers *data*."""
    try:
        return parse(data) is not None
    except Refused:
        return False


def whole(data):
    """Whether *data* has a head that ends, for all parsers alike."""
    return b"\r\n\r\n" in data.lstrip(b"\r\n")


@settings(max_examples=400)
@given(mutated())
@example(GET + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
@example(GET + HOST + b"Content-Length: 5\r\n\r\n")
def test_what_is_accepted_here_is_accepted_by_the_references(data):
    """A request that the guard answers is one for h11 and for httptools, with the same method and target.

    But for what `parse` says of itself, each allowed by RFC 9112:
    - empty lines before a request (2.2: should be passed over): h11 refuses them;
    - methods that nobody knows (3.1: any token): httptools refuses them, the guard answers 405;
    - HTTP/1.2 to 1.9 (2.3: as the highest minor version known): httptools refuses them;
    - a control character is refused here, so that neither can disagree about it (5.5).
    """
    try:
        request = parse(data)
    except Refused:
        return
    if request is None:
        return
    asked = (request.method, request.target)
    if not data.startswith(b"\r\n"):
        assert H11(data).seen[:1] == [asked]
    reference = HttpTools(data)
    known = request.method in {b"GET", b"HEAD", b"POST", b"OPTIONS", b"DELETE", b"CONNECT"}
    if known and b"HTTP/1.2" not in data and _is_url(request):
        assert reference.seen[:1] == [asked]


def _is_url(request):
    """Whether the target is one for llhttp as well, which looks at its method, host and port too."""
    return request.target.startswith((b"/", b"*", b"http://h/"))


def differs_on_purpose(data):
    """Whether *data* is refused here on purpose, though both references take it."""
    head, _, _ = data.partition(b"\r\n\r\n")
    line, *headers = head.split(b"\r\n")
    names = [header.partition(b":")[0].lower() for header in headers]
    return (
        line.endswith((b"HTTP/2.0", b"HTTP/0.9"))  # 2.3: another major version is 505
        or (b" *" in line and b" * " not in line)  # 3.2: no form of a target
        or (line.endswith(b"HTTP/1.0") and b"transfer-encoding" in names)  # 6.1: its framing is faulty
    )


@settings(max_examples=400)
@given(mutated())
def test_what_both_references_accept_is_accepted_here(data):
    """Nothing that h11 and httptools agree on is refused, but for what RFC 9112 wants refused."""
    first, second = H11(data), HttpTools(data)
    agreed = first.seen and second.seen and not (first.refuses or second.refuses)
    if agreed and whole(data) and not differs_on_purpose(data):
        assert is_request(data), data


@settings(max_examples=400)
@given(mutated())
def test_the_next_request_begins_where_the_references_see_it(data):
    """Where the guard stays in step with its peer, it sees the same requests on the connection as both references."""
    data += FOLLOWING if b"chunked" in data.lower() else b"ab" + NEXT if b": 2" in data else NEXT
    seen, refuses = ours(data)
    if refuses or len(seen) < 2 or data.startswith(b"\r\n") or b"\r\n\r\n\r\n" in data:  # h11 takes no empty lines
        return
    if b"HTTP/1.0" not in data:  # h11 ends the connection after such a request
        assert H11(data).seen[: len(seen)] == seen
    if all(method in {b"GET", b"HEAD", b"POST", b"OPTIONS", b"DELETE"} for method, _ in seen) and b"1.2" not in data:
        assert HttpTools(data).seen[: len(seen)] == seen


@given(mutated())
def test_pieces_are_the_same_as_the_whole(data):
    """A refusal while bytes trickle in is never taken back: the whole is refused too."""
    for end in range(len(data)):
        try:
            parse(data[:end])
        except Refused:
            with pytest.raises(Refused):
                parse(data)
            return
