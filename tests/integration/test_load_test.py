"""The load test against servers that stall, hang, die, lie, flood and drip: each is told for what it is, and ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import threading
import time

import pytest

from certificates import Authority
from faulty_proxy import FaultyProxy
from server import free_port, wait_until
from tasker_health.cli.load_test import command
from tasker_health.cli.load_test.asking import LARGEST_ANSWER
from tasker_health.cli.load_test.command import Order
from tasker_health.cli.load_test.marks import MARKS, Terms
from tasker_health.cli.load_test.plan import Plan
from tasker_health.cli.load_test.target import Base
from tasker_health.cli.trust import Trust
from tasker_health.errors import ConfigurationError

PATIENCE_SECONDS = 60
AT_EASE = Terms(tuple(mark._replace(limit_ms=60_000) for mark in MARKS))
"""On a machine that does other work besides, how fast is no property under test."""

BODIES = {
    "live": b'{"alive": true}',
    "ready": b'{"ready": true, "checks": {}}',
    "status": b'{"status": "healthy", "cache_info": {"cached": true}}',
}


def answer(body, code="200 OK", more=""):
    """Return an answer over HTTP/1.1."""
    return f"HTTP/1.1 {code}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


class Scripted:
    """A server of the tests' own, in a thread. It answers well, until `behave` is something else.

    Attributes:
        behave: A coroutine of a path and a writer; what it returns is whether the connection goes on.
        port: Where it listens.
        heads: What was asked, the whole head of each.
        connections: How many were opened.
    """

    def __init__(self, context=None):
        self.heads, self.connections, self.behave = [], 0, None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._tasks = set()
        started = asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self._server = asyncio.run_coroutine_threadsafe(started, self._loop).result(PATIENCE_SECONDS)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        self.connections += 1
        self._tasks.add(asyncio.current_task())
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await self._exchange(reader, writer):
                pass
        self._tasks.discard(asyncio.current_task())
        writer.transport.abort()

    async def _exchange(self, reader, writer):
        first = await reader.readexactly(1)
        if first == b"\x16":  # a greeting of TLS, which has no end of lines
            writer.write(answer(b"", "400 Bad Request"))
            return False
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        path = head.split()[1].rpartition("/")[2]
        if self.behave is not None:
            goes_on = await self.behave(path, writer)
        else:
            writer.write(answer(BODIES[path]))
            goes_on = True
        await writer.drain()
        return goes_on

    def hold(self, seconds):
        """Do nothing at all for *seconds*: every connection waits."""
        self._loop.call_soon_threadsafe(time.sleep, seconds)

    def close(self):
        """End it and every connection."""

        async def end():
            self._server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(PATIENCE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self._loop.close()


@pytest.fixture
def server():
    """A server that answers well."""
    scripted = Scripted()
    yield scripted
    scripted.close()


def base(port, *, secure=False):
    """Return where it stands."""
    return Base(secure, "127.0.0.1", port, "/tasker/health")


@pytest.fixture
def measure(capsys):
    """Carry out a plan; answers the exit code and the figures."""

    def go(port, plan, **options):
        options = {"terms": AT_EASE, "form": "json", **options}
        code = command.load_test(Order(options.pop("base", base(port)), plan, **options))
        return code, json.loads(capsys.readouterr().out)

    return go


def plan(**options):
    """Return a short run on `live` alone, with changes."""
    return Plan(**{"endpoints": ("live",), "rate": 100, "seconds": 0.3, "timeout_seconds": 2, **options})


def after_the_first(count, behave):
    """Return a behaviour that is good *count* times, the question before the run included, then *behave*."""
    asked = []

    async def behaviour(path, writer):
        asked.append(path)
        if len(asked) > count:
            return await behave(path, writer)
        writer.write(answer(BODIES[path]))
        return True

    return behaviour


def test_one_stall_of_a_second_is_late_for_all_who_were_due(server, measure):
    """Open loop: some ninety of a hundred and fifty wait 100 ms and more; a closed loop has its askers wait once."""

    def stall_when(count):
        wait_until(lambda: len(server.heads) >= count, "the run is under way")
        server.hold(1.0)

    def run(shape):
        stalling = threading.Thread(target=stall_when, args=[len(server.heads) + 20])
        stalling.start()
        code, figures = measure(server.port, shape)
        stalling.join(PATIENCE_SECONDS)
        assert code == 0
        return figures["endpoints"]["live"]

    opened = run(plan(seconds=1.5, timeout_seconds=30))
    assert opened["requests"] == 150
    late = sum(count for count, bound in zip(opened["histogram"][12:], range(99), strict=False) if count)
    assert late >= 75, "over 120 ms"
    assert opened["latency_ms"]["p90"] > 500
    closed = run(plan(rate=None, concurrency=1, seconds=1.5, timeout_seconds=30))
    assert sum(closed["histogram"][14:]) <= 5, "over 500 ms"
    assert closed["latency_ms"]["max"] > 900


def test_all_three_are_asked_and_told_apart(server, measure):
    """What was cached is a mark of its own; connections are used again, or opened for each."""
    code, figures = measure(server.port, plan(endpoints=("live", "ready", "status"), rate=50))
    assert (code, server.connections < 20) == (0, True)
    assert {name: each["requests"] for name, each in figures["endpoints"].items()} == dict.fromkeys(BODIES, 15)
    assert figures["endpoints"]["status"]["cached"]["requests"] == 15
    assert {mark["name"] for mark in figures["marks"] if mark["outcome"] == "unknown"} == {"status.uncached"}
    before = server.connections
    measure(server.port, plan(rate=None, concurrency=3, requests=10, seconds=None, kept_alive=False))
    assert server.connections - before == 12, "ten, one before that, and one that only looks who is there"


def test_credentials_go_to_status_alone_and_no_report_has_them(server, capsys, tmp_path):
    """Live and ready ask for none; what was given stands nowhere."""
    order = Order(
        base(server.port),
        plan(endpoints=("live", "status"), rate=20),
        AT_EASE,
        credentials={"Authorization": "Bearer of-nobody"},
        form="html",
        output=tmp_path / "report.html",
    )
    assert command.load_test(order) == 0
    with_them = [head.split()[1].rpartition("/")[2] for head in server.heads if "of-nobody" in head]
    assert set(with_them) == {"status"}
    assert "of-nobody" not in (tmp_path / "report.html").read_text() + capsys.readouterr().out + repr(order)


def test_a_name_is_resolved_once_and_the_address_that_was_looked_at_is_asked(server, measure, monkeypatch):
    """Whatever it means a moment later: the second answer would be another machine's."""
    answers = iter(["127.0.0.1", "192.0.2.1", "192.0.2.1"])

    def resolve(_host, port, **_options):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), port))]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    there = Base(False, "shop.example", server.port, "/tasker/health")
    code, figures = measure(0, plan(), base=there)
    assert (code, figures["endpoints"]["live"]["good"]) == (0, 30)
    assert next(answers) == "192.0.2.1"
    assert {"Host: shop.example:" + str(server.port) in head for head in server.heads} == {True}


async def _hang(_path, _writer):
    await asyncio.sleep(PATIENCE_SECONDS)


async def _garbage(_path, writer):
    writer.write(b"\x00\xff not http at all \r\n\r\n" * 20)


async def _flood(_path, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n")
    for _ in range(1600):
        writer.write(b"x" * 65536)
        await writer.drain()


async def _drip(_path, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n")
    for _ in range(600):
        writer.write(b"x")
        await asyncio.sleep(0.1)


async def _headers_without_end(_path, writer):
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(100_000):
        writer.write(f"X-{number}: {'y' * 500}\r\n".encode())
        await writer.drain()


async def _half(_path, writer):
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{}")


async def _nothing(_path, _writer):
    return False


async def _other(_path, writer):
    writer.write(answer(b"<h1>It works!</h1>"))
    return True


async def _redirect(_path, writer):
    writer.write(answer(b"", "302 Found", "Location: http://192.0.2.1/\r\n"))
    return True


async def _error(_path, writer):
    writer.write(answer(b"{}", "500 Internal Server Error"))
    return True


async def _unhealthy(path, writer):
    writer.write(answer(BODIES[path], "503 Service Unavailable"))
    return True


async def _closing(path, writer):
    writer.write(answer(BODIES[path], more="Connection: close\r\n"))


async def _compressed(_path, writer):
    writer.write(answer(b"\x1f\x8b" + bytes(40), more="Content-Encoding: gzip\r\n"))
    return True


@pytest.mark.parametrize(
    ("behave", "fault", "codes"),
    [
        (_hang, "timeout", {}),
        (_garbage, "garbage", {}),
        (_flood, "too_large", {"200"}),
        (_drip, "timeout", {}),
        (_headers_without_end, "garbage", {}),
        (_half, "broken_off", {}),
        (_nothing, "broken_off", {}),
        (_other, "not_ours", {"200"}),
        (_redirect, "code", {"302"}),
        (_error, "code", {"500"}),
        (_compressed, "not_ours", {"200"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_fault_of_a_server_has_its_word_and_is_exit_code_1(server, measure, behave, fault, codes):
    """What comes after good answers; it counts with the time that it took, and ends with the patience."""
    server.behave = after_the_first(6, behave)
    code, figures = measure(server.port, plan(rate=30, timeout_seconds=0.4))
    found = figures["endpoints"]["live"]
    assert code == 1
    assert (found["requests"], found["good"]) == (9, 5)
    assert (found["faults"], set(found["codes"]) - {"200"}) == ({fault: 4}, set(codes) - {"200"})
    if fault == "timeout":
        assert figures["slowest"][0]["latency_ms"] >= 399
    assert figures["client"]["loop_lag_max_ms"] < PATIENCE_SECONDS * 1000
    assert LARGEST_ANSWER < 100 << 20


def test_an_unhealthy_answer_is_a_true_one(server, measure):
    """503 of ready is counted apart and is no fault; 503 of live is one: the process is wedged."""
    server.behave = _unhealthy
    code, figures = measure(server.port, plan(endpoints=("ready",)))
    assert (code, figures["endpoints"]["ready"]["unhealthy"], figures["endpoints"]["ready"]["faults"]) == (0, 30, {})
    code, figures = measure(server.port, plan(endpoints=("live",)))
    assert (code, figures["endpoints"]["live"]["faults"]) == (1, {"code": 30})


def test_a_server_that_closes_each_connection_is_no_fault(server, measure):
    """It costs a connection each time, and that is in the latency."""
    server.behave = _closing
    code, figures = measure(server.port, plan())
    assert (code, figures["endpoints"]["live"]["good"]) == (0, 30)


@pytest.mark.parametrize("mode", ["refuse", "reset", "blackhole", "cut"])
def test_a_server_that_dies_and_comes_back_is_asked_on(server, measure, mode):
    """Faults while it is away, good answers before and afterwards."""
    with FaultyProxy(server.port) as proxy:

        def die_and_come_back():
            wait_until(lambda: len(server.heads) > 10, "the run is under way")
            proxy.set(mode)
            ends_at = time.monotonic() + 0.2
            wait_until(lambda: time.monotonic() > ends_at, "it was away for a while")
            proxy.set("pass")

        dying = threading.Thread(target=die_and_come_back)
        dying.start()
        _, figures = measure(proxy.port, plan(seconds=0.5))
        dying.join(PATIENCE_SECONDS)
    found = figures["endpoints"]["live"]
    assert found["requests"] == 50
    assert found["good"] > 10
    if mode == "blackhole":
        assert found["latency_ms"]["max"] > 100
    else:
        assert set(found["faults"]) <= {"refused", "broken_off", "garbage"}
        assert found["faults"]


def test_who_is_not_there_is_one_line_and_nothing_is_asked(server):
    """Refused, not HTTP, not ours, or asking for credentials: there is nothing to be measured, and that is code 2."""
    with pytest.raises(ConfigurationError, match="connection refused; is the server started"):
        command.load_test(Order(base(free_port()), plan(), AT_EASE))
    with pytest.raises(ConfigurationError, match="does not speak TLS"):
        command.load_test(Order(base(server.port, secure=True), plan(), AT_EASE))
    server.behave = _garbage
    with pytest.raises(ConfigurationError, match="does not speak HTTP"):
        command.load_test(Order(base(server.port), plan(), AT_EASE))
    server.behave = _redirect
    with pytest.raises(ConfigurationError, match="answers 302"):
        command.load_test(Order(base(server.port), plan(), AT_EASE))


def test_another_machine_is_refused_before_anything_is_sent():
    """One line, with the words that whoever owns it says."""
    with pytest.raises(ConfigurationError, match=r"192\.0\.2\.1 is not this machine.*--i-own-this-host"):
        command.load_test(Order(Base(False, "192.0.2.1", 80, "/tasker/health"), plan(), AT_EASE))


def test_a_report_that_cannot_be_written_is_told_before_the_run(server, tmp_path):
    """Not after an hour of it; a file that was there is left as it was when the run does not begin."""
    with pytest.raises(ConfigurationError, match="--output"):
        command.load_test(Order(base(server.port), plan(), AT_EASE, output=tmp_path / "no" / "report"))
    assert server.heads == []
    (tmp_path / "report").write_text("the last one")
    with pytest.raises(ConfigurationError, match="refused"):
        command.load_test(Order(base(free_port()), plan(), AT_EASE, output=tmp_path / "report"))
    assert (tmp_path / "report").read_text() == "the last one"


def test_https_is_verified_unless_told_otherwise(tmp_path, measure):
    """By the file of whom to trust, by the name; or by nobody."""
    authority = Authority()
    certificate, key = authority.pair("shop.example").write(tmp_path)
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    scripted = Scripted(context)
    there = base(scripted.port, secure=True)
    try:
        with pytest.raises(ConfigurationError, match="its certificate is refused"):
            command.load_test(Order(there, plan(), AT_EASE))
        trust = Trust(str(tmp_path / "ca.pem"), "other.example")
        with pytest.raises(ConfigurationError, match="its certificate is refused"):
            command.load_test(Order(there, plan(), AT_EASE, trust))
        with pytest.raises(ConfigurationError, match="no certificate as PEM"):
            command.load_test(Order(there, plan(), AT_EASE, Trust(key)))
        for trust in (Trust(str(tmp_path / "ca.pem"), "shop.example"), Trust(insecure=True)):
            code, figures = measure(0, plan(), base=there, trust=trust)
            assert (code, figures["endpoints"]["live"]["good"]) == (0, 30)
    finally:
        scripted.close()
