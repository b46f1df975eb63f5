"""What is made of a server's answers, whatever it answers."""

import dataclasses
import threading
import time

import pytest
from msgspec.structs import replace
from rich.text import Text

import canary
from fakes import facts_of
from loop import in_loop
from tasker_health.cli.top.asking import Asking
from tasker_health.cli.top.exchange import LARGEST_ANSWER
from tasker_health.cli.top.sections import headline, sections_of
from tasker_health.cli.top.snapshot import Trouble
from tasker_health.cli.top.target import Target
from tasker_health.model import Reason
from unit.cli.top.answering import encoded, http, ready_of, report_of

STATUS, READY = encoded(report_of(facts_of())), encoded(ready_of())


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def asking(server, patience_seconds=20.0, authorization=None):
    """Return what asks *server*."""
    return Asking(Target("127.0.0.1", server.port, "/tasker/health", authorization=authorization), patience_seconds)


async def asked(server, **options):
    """Return one round at *server*; it can be shown, in lines that cannot steer a terminal."""
    one = asking(server, **options)
    try:
        snapshot = await one.ask()
    finally:
        one.close()
    lines = [line for section in sections_of(snapshot, 40) for line in section.lines]
    for line in (*lines, headline(snapshot, 1), Text(snapshot.words)):
        assert line.plain.isprintable(), line.plain
        assert len(line.plain) < 500
    return snapshot


@in_loop
async def test_everything_is_asked_on_one_connection(answering):
    """Round after round; a history that is not there is none."""
    server = answering(status=STATUS, ready=READY)
    one = asking(server)
    first, second = await one.ask(), await one.ask()
    one.close()
    assert first.status == second.status == report_of(facts_of())
    assert (first.ready, first.history, first.trouble) == (ready_of(), None, None)
    assert server.connections == 1
    assert [each.split()[1].rpartition("/")[2] for each in server.asked] == [
        "status",
        "ready",
        "history",
        "status",
        "ready",
    ]


@in_loop
async def test_a_closed_connection_is_opened_anew(answering):
    """Servers close what is idle; nobody is told."""
    server = answering(status=http(STATUS.partition(b"\r\n\r\n")[2], headers="Connection: close\r\n"), ready=READY)
    one = asking(server)
    assert [(await one.ask()).trouble for _ in range(3)] == [None] * 3
    one.close()


@in_loop
async def test_what_lets_in_is_sent_and_shown_to_nobody(answering):
    """The header goes with each question, and is not in what Python shows of the target."""
    secret = canary.secret("bearer")
    server = answering(status=STATUS, ready=READY)
    await asked(server, authorization=f"Bearer {secret}")
    assert all(f"Authorization: Bearer {secret}\r\n" in each for each in server.asked)
    assert secret not in repr(Target("h", 1, "/", authorization=secret))


def problem(status, message):
    """Return a refusal."""
    return encoded({"error": "E", "message": message}, status)


@pytest.mark.parametrize(
    ("answer", "trouble", "words"),
    [
        (problem(401, "No \x1b[2J\u202e credentials"), Trouble.REFUSED, "--token -"),
        (problem(403, "no"), Trouble.REFUSED, "tasker.health_status:index"),
        (problem(429, "no"), Trouble.REFUSED, "wait"),
        (problem(404, "no"), Trouble.STRANGE, "is this the address"),
        (problem(500, "no"), Trouble.STRANGE, "see the log"),
        (http("", 302, "Location: http://127.0.0.1:1/\r\n"), Trouble.STRANGE, "never redirects"),
        (http("<html>"), Trouble.STRANGE, "does not speak JSON"),
        (http('{"x":' + "[" * 100_000), Trouble.STRANGE, "does not speak JSON"),
        (http(b"\xff\xfe"), Trouble.STRANGE, "does not speak JSON"),
        (encoded({"status": "\x1b]0;x\x07" * 1000}), Trouble.STRANGE, "of another form"),
        (encoded([1]), Trouble.STRANGE, "of another form"),
        (encoded({"error": 1, "message": {"a": 1}}, 403), Trouble.REFUSED, "403"),
        (b"SSH-2.0-OpenSSH_9\r\n\r\n" * 9, Trouble.DISCONNECTED, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n", Trouble.DISCONNECTED, "does not speak HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}", Trouble.DISCONNECTED, "broke off"),
        (b"", Trouble.DISCONNECTED, "broke off"),
        (CHUNKED + b"-2\r\n{}\r\n0\r\n\r\n", Trouble.DISCONNECTED, "broke off"),
        (CHUNKED + b"x\r\n{}", Trouble.DISCONNECTED, "broke off"),
        (CHUNKED + b"5\r\n{}", Trouble.DISCONNECTED, "broke off"),
    ],
)
@in_loop
async def test_strange_answers_are_one_clear_line(answering, answer, trouble, words):
    """Each says what is wrong and what to do, and none is obeyed."""

    def say(connection):
        connection.sendall(answer)

    snapshot = await asked(answering(status=say, ready=READY))
    assert (snapshot.status, snapshot.trouble) == (None, trouble)
    assert words in snapshot.words


@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n", CHUNKED + b"-1\r\n", CHUNKED + b"ffffffff\r\n"]
)
@in_loop
async def test_an_endless_body_is_cut(answering, head):
    """Neither memory nor time goes with it, whatever length is claimed."""
    sent = 0

    def flood(connection):
        nonlocal sent
        connection.sendall(head)
        while sent < 100 << 20:
            sent += connection.send(b"[" * 65536)

    snapshot = await asked(answering(status=flood, ready=READY))
    assert snapshot.trouble is Trouble.DISCONNECTED
    assert "more than 8 MiB" in snapshot.words
    assert sent < 3 * LARGEST_ANSWER


@in_loop
async def test_who_drips_costs_the_patience_and_no_thread(answering):
    """A byte now and then is not taken for an answer, and what waited for it is let go."""
    server = answering(ready=READY)

    def drip(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not server.ended.wait(0.02):
            connection.sendall(b" ")

    server.answers["status"] = drip
    before = time.monotonic()
    snapshot = await asked(server, patience_seconds=0.3)
    assert time.monotonic() - before < 20
    assert snapshot.trouble is Trouble.DISCONNECTED
    assert "no answer within 0.3 s" in snapshot.words
    for thread in threading.enumerate():
        if thread.name == "tasker-health-top":
            thread.join(20)
            assert not thread.is_alive()


@in_loop
async def test_a_history_that_hangs_takes_nothing_else_away(answering):
    """The status is shown all the same."""
    server = answering(status=STATUS, ready=READY)
    server.answers["history"] = lambda _: server.ended.wait(30)
    snapshot = await asked(server, patience_seconds=5)
    assert (snapshot.trouble, snapshot.history) == (None, None)
    assert snapshot.status is not None


@in_loop
async def test_nobody_there_is_said():
    """With what to look at."""
    one = Asking(Target("127.0.0.1", 1, "/tasker/health"), 20.0)
    snapshot = await one.ask()
    assert snapshot.trouble is Trouble.DISCONNECTED
    assert "Connection refused" in snapshot.words


@in_loop
async def test_a_name_that_no_host_has_is_said():
    """It is not even looked up."""
    snapshot = await Asking(Target("a..b", 80, "/tasker/health"), 20.0).ask()
    assert snapshot.trouble is Trouble.DISCONNECTED
    assert "no host has such a name" in snapshot.words


@pytest.mark.parametrize("age", [10**400, -(10**400)])
@in_loop
async def test_an_age_that_no_figures_have_is_shown(answering, age):
    """No number of seconds is too many for a line."""
    snapshot = await asked(answering(status=encoded(report_of(facts_of(), age_seconds=0)), ready=READY))
    info = replace(snapshot.status.cache_info, age_seconds=age)
    odd = dataclasses.replace(snapshot, status=replace(snapshot.status, cache_info=info))
    assert "ago" in headline(odd, 1.5).plain
    assert any(section.name == "age" for section in sections_of(odd, 80, 1.5))


@in_loop
async def test_hostile_names_and_figures_are_shown_and_not_obeyed(answering):
    """Markup, control characters, names of 10 kB, figures beyond all bounds, a hundred checks."""
    document = {
        "ready": False,
        "checks": {
            f"{name}{n}": {"status": "error", "reason": "timeout", "response_time_ms": 10**15}
            for n in range(60)
            for name in ("[bold red]x[/", "\x1b[2J\x07", "\u202eevil\n", "n" * 10_000)
        },
        "timestamp": "2026-11-23T12:00:00Z",
    }
    report = report_of(facts_of(pending=2**63 - 1), fault=Reason.TIMEOUT)
    snapshot = await asked(answering(status=encoded(report, 503), ready=encoded(document, 503)))
    text = "\n".join(line.plain for section in sections_of(snapshot, 80) for line in section.lines)
    assert "[bold red]x[/0" in text
    assert "and 140 more" in text
    assert "too many" in text
