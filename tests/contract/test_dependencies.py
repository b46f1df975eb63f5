"""The contract of checks of dependencies, held by every kind against its real server."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contract.dependency_backend import (
    WRONG,
    AsyncEngineBackend,
    DatabaseBackend,
    DependencyBackend,
    EngineBackend,
    HttpBackend,
    KafkaBackend,
    RabbitMqBackend,
    RedisBackend,
    S3Backend,
    Shared,
)
from dependencies import held
from faulty_proxy import FaultyProxy
from loop import in_loop
from tasker_health.clock import SystemClock
from tasker_health.errors import CheckFailed
from tasker_health.model import CheckStatus, Reason
from tasker_health.runner import Runner

KINDS: dict[str, Callable[[Shared], DependencyBackend]] = {
    "redis": RedisBackend,
    "rabbitmq": RabbitMqBackend,
    "kafka": KafkaBackend,
    "s3": S3Backend,
    "http": HttpBackend,
    "database": DatabaseBackend,
    "engine": EngineBackend,
    "async-engine": AsyncEngineBackend,
}
PATIENCE_SECONDS = 30
HUNG_SECONDS = 0.15
"""Deadline of a question that will not be answered."""


@pytest.fixture(scope="module", params=KINDS)
def backend(request, dependencies) -> DependencyBackend:
    """A dependency that is well."""
    return KINDS[request.param](dependencies)


@pytest.fixture
def proxy(backend) -> Iterator[FaultyProxy]:
    """A path to it that fails on demand."""
    with FaultyProxy(backend.server.port) as between:
        yield between


async def fault_of(check) -> CheckFailed:
    """Return what *check* fails with."""
    with pytest.raises(Exception) as raised:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await check()
    assert hasattr(raised.value, "reason"), repr(raised.value)
    return raised.value


async def nothing_left(port: int, threads: int, sockets: int = 0) -> None:
    """Pass as soon as no more than *sockets* to *port* are open, and no task or thread beyond *threads* goes on."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while held(port) > sockets or len(asyncio.all_tasks()) > 1 or threading.active_count() > threads:
        left = [task.get_name() for task in asyncio.all_tasks()], threading.enumerate(), held(port)
        assert time.monotonic() < ends_at, left
        await asyncio.sleep(0.01)


async def until_well(runner: Runner) -> None:
    """Pass when *runner* says so; a driver that blocks goes on first where it was."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while (result := await ran(runner)) != (CheckStatus.OK, None):
        assert time.monotonic() < ends_at, result
        await asyncio.sleep(0.01)


async def ran(runner: Runner, seconds: float = PATIENCE_SECONDS):
    """Return the status and the reason that *runner* tells of its only check."""
    (result,) = (await runner.run(seconds)).values()
    return result.status, result.reason or None


@in_loop
async def test_well_is_well_on_one_connection(backend, proxy):
    """Run after run, on one connection at most at a time; closed, it leaves nothing and may be asked again."""
    threads = threading.active_count()
    check = backend.check(proxy.port)
    for _ in range(4):
        await check()
        assert held(proxy.port) <= 1
    assert proxy.accepted == (1 if backend.keeps else 4)
    await check.close()
    await nothing_left(proxy.port, threads)
    await check()
    await check.close()
    await nothing_left(proxy.port, threads)


@in_loop
async def test_refused_is_refused_and_back_is_back(backend, proxy):
    """Nobody listens: `refused`; the next run after somebody does is well."""
    threads = threading.active_count()
    check = backend.check(proxy.port)
    proxy.set("refuse")
    for _ in range(2):
        assert (await fault_of(check)).reason is Reason.REFUSED
    proxy.set("pass")
    await check()
    proxy.set("refuse")
    assert (await fault_of(check)).reason in {Reason.REFUSED, Reason.UNREACHABLE}
    proxy.set("pass")
    await check()
    await check.close()
    await nothing_left(proxy.port, threads)


@in_loop
async def test_a_connection_that_was_lost_in_between_is_no_fault(backend, proxy):
    """The server has restarted between two runs: it is there, and that is what was asked."""
    check = backend.check(proxy.port)
    await check()
    proxy.set("reset")
    proxy.set("pass")
    await check()
    await check.close()


@pytest.mark.parametrize("mode", ["blackhole", "trickle"])
@pytest.mark.parametrize("when", ["first", "later"])
@in_loop
async def test_what_hangs_costs_its_deadline_and_leaves_nothing(backend, proxy, mode, when):
    """Accepted and silent, or by drops: `timeout` in time, no socket, task or thread stays, and well is well again."""
    threads = threading.active_count()
    runner = Runner([backend.check(proxy.port)], SystemClock())
    if when == "later":
        assert await ran(runner) == (CheckStatus.OK, None)
    proxy.set(mode, delay_seconds=1)
    for _ in range(2):
        began = time.monotonic()
        assert await ran(runner, HUNG_SECONDS) == (CheckStatus.ERROR, Reason.TIMEOUT)
        assert time.monotonic() - began < HUNG_SECONDS + 5
        await nothing_left(proxy.port, threads + backend.blocks, sockets=backend.blocks)
    proxy.set("pass")
    if backend.blocks:
        await until_well(runner)
    assert await ran(runner) == (CheckStatus.OK, None)
    await runner.stop()
    await nothing_left(proxy.port, threads)


@pytest.mark.parametrize("mode", ["reset", "cut"])
@in_loop
async def test_a_connection_that_breaks_is_a_fault(backend, proxy, mode):
    """Whatever was sent of the answer."""
    threads = threading.active_count()
    check = backend.check(proxy.port)
    proxy.set(mode)
    assert (await fault_of(check)).reason in {Reason.UNREACHABLE, Reason.INVALID}
    await check.close()
    await nothing_left(proxy.port, threads)


@in_loop
async def test_a_wrong_password_is_told(backend):
    """`authentication_failed`, without the password."""
    if not backend.refuses:
        return
    check = backend.check(password=WRONG)
    fault = await fault_of(check)
    assert fault.reason is Reason.AUTHENTICATION_FAILED
    assert WRONG not in str(fault)
    await check.close()


@in_loop
async def test_what_is_not_there_is_missing(backend):
    """The server answers; the database, the queue, the topic, the bucket or the path is not there; nothing is made."""
    threads = threading.active_count()
    check = backend.check(thing="nowhere")
    for _ in range(2):
        assert (await fault_of(check)).reason is Reason.MISSING
    await check.close()
    await nothing_left(backend.server.port, threads)


class Stranger:
    """Listens, says the same to everybody without end, and hears nothing. A context manager."""

    def __init__(self, words: bytes, *, endless: bool) -> None:
        self._words, self._endless = words, endless
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._socket.close()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            pass
        self._thread.join(PATIENCE_SECONDS)

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            connection.settimeout(PATIENCE_SECONDS)
            with connection, contextlib.suppress(OSError):
                connection.sendall(self._words)
                while self._endless:
                    connection.sendall(self._words)
                while connection.recv(65536):
                    pass


GARBAGE = {
    "text": (b"220 mail.example ESMTP ready\r\n" * 3, False),
    "ones": (b"\xff" * 65536, True),
    "length": (b"\x7f\xff\xff\x00" * 16384, True),
    "header": (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 65000, True),
}


def resident_bytes() -> int:
    """Return how much memory this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("words", GARBAGE)
@in_loop
async def test_what_speaks_another_protocol_is_not_well(backend, words):
    """However much it says: a fault in time, and no more of it is kept than an answer can be."""
    threads = threading.active_count()
    said, endless = GARBAGE[words]
    with Stranger(said, endless=endless) as stranger:
        runner = Runner([backend.check(stranger.port)], SystemClock())
        before = resident_bytes()
        status, reason = await ran(runner, 0.5)
        assert (status, reason) != (CheckStatus.OK, None)
        assert reason in {Reason.INVALID, Reason.UNREACHABLE, Reason.TIMEOUT, Reason.ERROR}
        assert resident_bytes() - before < 100_000_000
        await runner.stop()
        await nothing_left(stranger.port, threads + 1 + backend.blocks, sockets=backend.blocks)


def test_it_goes_on_in_another_event_loop(backend, proxy):
    """Closed or not: what was open is closed there, and opened anew here."""
    check = backend.check(proxy.port)

    async def once():
        await check()

    async def close():
        await check()
        await check.close()
        await nothing_left(proxy.port, threading.active_count())

    for each in (once, once, close, close):
        asyncio.run(each())
    assert held(proxy.port) == 0


@in_loop
async def test_a_server_that_stands_still_and_goes_on(backend):
    """SIGSTOP: `timeout`, with nothing left; SIGCONT: well."""
    threads = threading.active_count()
    runner = Runner([backend.check()], SystemClock())
    assert await ran(runner) == (CheckStatus.OK, None)
    others = held(backend.server.port)
    backend.server.pause()
    try:
        for _ in range(2):
            assert await ran(runner, HUNG_SECONDS) == (CheckStatus.ERROR, Reason.TIMEOUT)
    finally:
        backend.server.resume()
    assert others <= 1
    if backend.blocks:
        await until_well(runner)
    else:
        await nothing_left(backend.server.port, threads)
    assert await ran(runner) == (CheckStatus.OK, None)
    await runner.stop()


_SCENE = """
import asyncio, json, os, sys
from contract.dependency_backend import Recipe
from dependencies import held

recipe, port, keeps = json.loads(sys.stdin.read())
check = Recipe(*recipe).cook()
loop = asyncio.new_event_loop()
loop.run_until_complete(check())
own = held(port)
assert own == keeps, own
child = os.fork()
if child == 0:
    async def play():
        await check()
        assert held(port) == 2 * keeps, held(port)
        await check.close()
        while held(port) > keeps:
            await asyncio.sleep(0.01)
    asyncio.run(play())
    os._exit(7)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7, status
assert held(port) == own
loop.run_until_complete(check())
assert held(port) == own
async def end():
    await check.close()
    while held(port):
        await asyncio.sleep(0.01)
loop.run_until_complete(end())
loop.close()
print("well")
"""


def test_a_child_leaves_the_connection_to_its_parent(backend, proxy):
    """A process that was forked opens one of its own and ends that alone; the parent goes on with the one it had."""
    recipe = backend.recipe(proxy.port, backend.server.password, None)
    done = subprocess.run(
        [sys.executable, "-c", _SCENE],
        input=json.dumps([recipe, proxy.port, int(backend.keeps)]),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS * 4,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr
    assert proxy.accepted == (2 if backend.keeps else 3)


@in_loop
async def test_a_server_that_died_and_is_back(backend):
    """Killed: `refused`; started again: well at the next run."""
    check = backend.check()
    await check()
    backend.server.kill()
    try:
        assert (await fault_of(check)).reason in {Reason.REFUSED, Reason.UNREACHABLE}
        assert (await fault_of(check)).reason is Reason.REFUSED
    finally:
        backend.server.start()
    await check()
    await check.close()


def test_every_kind_is_in_the_suite():
    """A kind that the settings know and this suite does not fails here."""
    from tasker_health.checks.dependencies.chosen import MAKERS

    assert set(MAKERS) <= set(KINDS)
