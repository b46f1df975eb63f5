"""Requests and answers on one connection, without one: however bytes are cut, the answers are the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_health.guard.exchange import Exchange
from tasker_health.guard.http import Refused

HEAD = b"%s /tasker/health/%s HTTP/1.1\r\nHost: a\r\n"
GET = HEAD % (b"GET", b"live") + b"\r\n"


class Counted:
    """Stands in for the answers: tells which request it was asked, and remembers what it is told to."""

    def __init__(self):
        self.remembered = {}

    def answer(self, request):
        """Answer *request*."""
        return b"<%s %s>" % (request.method, request.target)

    def refusal(self, refused):
        """Answer what is none."""
        return b"<%d>" % refused.code

    def remember(self, data, answer):
        """Remember *answer*."""
        self.remembered[data] = answer


def answers_to(pieces):
    """Return all that is answered to *pieces*, and whether the connection ends then."""
    exchange, answers, out = Exchange(0), Counted(), b""
    for piece in pieces:
        if not exchange.ends:
            exchange.receive(piece)
        while True:
            exchange.proceed(answers)
            if not exchange.out:
                break
            out += exchange.out
            exchange.out = b""
    return out, exchange.ends


part = st.sampled_from(
    (
        GET,
        GET * 3,
        HEAD % (b"HEAD", b"ready") + b"\r\n",
        HEAD % (b"POST", b"live") + b"Content-Length: 10\r\n\r\n0123456789",
        HEAD % (b"PUT", b"live") + b"Content-Length: %d\r\n\r\n" % len(GET) + GET,
        HEAD % (b"GET", b"live") + b"Connection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        HEAD % (b"POST", b"live") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\r\n",
        b"GET / HTTP/1.1\n",
        b"G",
    )
)


@given(st.lists(part, max_size=6), st.data())
def test_how_bytes_are_cut_changes_nothing(parts, data):
    """In one piece, byte by byte or in between, the same requests are answered."""
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=10)))
    pieces = [whole[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    expected = answers_to([whole])
    assert answers_to(pieces) == expected
    assert answers_to([whole[at : at + 1] for at in range(len(whole))]) == expected


def test_bodies_are_never_answered():
    """What is passed over as a body is no request, whatever it looks like; what follows it is."""
    body = HEAD % (b"PUT", b"live") + b"Content-Length: %d\r\n\r\n" % len(GET) + GET
    assert answers_to([body * 2 + GET])[0].count(b"<GET") == 1
    assert answers_to([body * 2 + GET])[0].count(b"<PUT") == 2


def test_only_whole_requests_are_remembered():
    """One that came alone, has no body and keeps the connection: the same bytes ask the same."""
    for data, remembered in (
        (GET, {GET}),
        (GET + GET, {GET}),
        (GET[:-1], set()),
        (HEAD % (b"GET", b"live") + b"Connection: close\r\n\r\n", set()),
        (HEAD % (b"POST", b"live") + b"Content-Length: 1\r\n\r\nx", set()),
        (b"\r\n" + GET, {b"\r\n" + GET}),
    ):
        exchange, answers = Exchange(0), Counted()
        exchange.receive(data)
        exchange.proceed(answers)
        assert answers.remembered.keys() == remembered


def test_answers_wait_for_room():
    """Requests are not answered on and on while nobody takes the answers."""
    exchange, answers = Exchange(0), Counted()
    exchange.receive(GET * 10000)
    exchange.proceed(answers)
    assert 64 * 1024 <= len(exchange.out) < 65 * 1024
    before = exchange.out
    exchange.proceed(answers)
    assert exchange.out == before


@pytest.mark.parametrize(
    ("data", "ends", "has_unread"),
    [
        (GET, False, False),
        (HEAD % (b"GET", b"live") + b"Connection: close\r\n\r\n", True, False),
        (HEAD % (b"GET", b"live") + b"Connection: close\r\n\r\n" + GET, True, True),
        (HEAD % (b"GET", b"live") + b"Connection: close\r\nContent-Length: 5\r\n\r\n", True, True),
        (HEAD % (b"GET", b"live") + b"Transfer-Encoding: chunked\r\n\r\n", True, True),
        (b"nonsense\r\n\r\n", True, True),
    ],
)
def test_the_end_is_gentle_where_more_may_come(data, ends, has_unread):
    """A sender that may still be sending must not lose its answer to a reset."""
    exchange = Exchange(0)
    exchange.receive(data)
    exchange.proceed(Counted())
    assert (exchange.ends, exchange.has_unread) == (ends, has_unread)


def test_it_is_over_when_nothing_is_unfinished():
    """Not while a request, its body or an answer is incomplete."""
    exchange, answers = Exchange(0), Counted()
    assert exchange.is_over
    exchange.receive(GET[:5])
    assert not exchange.is_over
    exchange.receive(GET[5:-2] + b"Content-Length: 2\r\n\r\n")
    exchange.proceed(answers)
    assert (exchange.out, exchange.is_over) == (b"", False)
    exchange.receive(b"xy")
    exchange.proceed(answers)
    assert (exchange.out, exchange.is_over) == (b"<GET /tasker/health/live>", False)
    exchange.out = b""
    assert exchange.is_over


def test_a_refusal_ends_what_was_waited_for():
    """After it neither head nor body is waited for."""
    exchange, answers = Exchange(0), Counted()
    exchange.receive(GET[:-2] + b"Content-Length: 2\r\n\r\nx")
    exchange.proceed(answers)
    exchange.refuse(answers, Refused(408, "late"))
    exchange.proceed(answers)
    assert (exchange.out, exchange.ends) == (b"<408>", True)
