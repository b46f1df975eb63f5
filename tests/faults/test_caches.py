"""A shared cache in trouble costs nothing but freshness: each back end, each trouble, its real server.

Some troubles of one back end are played side by side, each with a server or a proxy of its own, in one event loop: what
one of them does to that loop, all answers of the others show.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import uvicorn

from faults.cache_answer import STATUS_TIMEOUT_SECONDS, Outcome
from faults.cache_row import Row
from faults.cache_scene import CacheScene
from faults.cache_trouble import DOWN, HUNG, RESTARTED, SCENES, TROUBLES, Trouble
from server import free_port

PAIRS = [
    pytest.param(back_end, trouble, id=f"{back_end}-{trouble.name.replace(' ', '-')}")
    for back_end, troubles in TROUBLES.items()
    for trouble in troubles
]
Seen = tuple[Outcome, dict[str, int]]

AT_ONCE = 9
PROCESSES_OF_STATUS = 2
BACK_SECONDS = 2.0
SEEN_SECONDS = 2.0
SLACK_SECONDS = 0.3
SETTLING_SECONDS = 15
DESCRIPTORS_OF_ONE = 3  # its own, and two of the proxy
MACHINE_IS_SLOW = "timeout"
ASKED_A_SECOND = 20
ASKED_WHEN_AWAY = 6
"""Questions of one process to a cache that is away: those under way when it went, and one trial or two a second."""


@pytest.fixture(scope="module")
def played():
    """What was seen of each pair that has been played, and what leaked meanwhile."""
    return {}


@pytest.fixture
def seen(request, played, back_end, trouble) -> Seen:
    """What was seen of one pair, and what leaked; others of its back end, if asked for, are played with it.

    One that was too slow is played once more, alone: the others may have kept the machine busy.
    """
    pair = back_end, trouble.name
    if pair not in played:
        wanted = [item.callspec.params for item in request.session.items if item.fspath == request.node.fspath]
        troubles = [each["trouble"] for each in wanted if each["back_end"] == back_end]
        at = troubles.index(trouble) // AT_ONCE * AT_ONCE
        played.update(_seen(back_end, troubles[at : at + AT_ONCE], request))
    outcome, _ = played[pair]
    if outcome.error is not None or not _is_in_time(outcome):
        played.update(_seen(back_end, [trouble], request))
    return played[pair]


@pytest.mark.parametrize(("back_end", "trouble"), PAIRS)
def test_a_cache_in_trouble_costs_nothing_but_freshness(seen, back_end, trouble, record_property):
    """Answers in time and true; the check degraded, ready all the time; counted; left alone; used again in 2 s."""
    outcome, leaks = seen
    if outcome.error is not None:
        raise outcome.error
    report = _figures(outcome)
    record_property("figures", report)
    print(f"{back_end}: {trouble.name}: {report}")  # noqa: T201 -- seen with -s, and when it fails
    assert _is_in_time(outcome)
    assert not outcome.wrong, "\n".join(_told(outcome.wrong))
    _assert_check_is_right(outcome)
    _assert_is_left_alone(outcome)
    _assert_is_counted(outcome)
    assert leaks == {}


def _is_in_time(outcome: Outcome) -> bool:
    """Whether answers came in time, and the cache was used again in time."""
    is_back = outcome.back_seconds < BACK_SECONDS + SLACK_SECONDS
    return is_back and outcome.quantile_ms(0.99) < STATUS_TIMEOUT_SECONDS * 1000


def _seen(back_end: str, troubles: list[Trouble], request: pytest.FixtureRequest) -> dict[tuple[str, str], Seen]:
    """Return what is seen of *troubles*, played side by side."""
    failure = Outcome(troubles[0], error=AssertionError("it could not be played"))
    seen = {(back_end, trouble.name): (failure, {}) for trouble in troubles}
    try:
        with _scenes(back_end, troubles, request) as made:
            rows = [Row(f"{back_end}-{number}", *each) for number, each in enumerate(zip(made, troubles, strict=True))]
            leaks = asyncio.run(_play(rows))
    except Exception as error:
        failure.error = error
        return seen
    return {(back_end, row.outcome.trouble.name): (row.outcome, leaks) for row in rows}


@contextlib.contextmanager
def _scenes(back_end: str, troubles: list[Trouble], request: pytest.FixtureRequest) -> Iterator[list[CacheScene]]:
    """Give the scenes of *troubles*, made at the same time and ended at the end."""
    shared = request.getfixturevalue("postgres") if back_end == "postgresql" else None

    def make(trouble: Trouble) -> CacheScene:
        options = dict(trouble.options or {})
        if trouble.is_proxied:
            options["is_proxied"] = True
        if shared is not None and trouble.name not in {each.name for each in (DOWN, HUNG, RESTARTED)}:
            options["server"] = shared
        return SCENES[back_end](**options)

    # The servers live as long as the threads that have started them: see setpriv's --pdeathsig.
    with ThreadPoolExecutor(len(troubles)) as threads:
        making = [threads.submit(make, trouble) for trouble in troubles]
        try:
            yield [each.result() for each in making]
        finally:
            ending = [threads.submit(each.result().close) for each in making if each.exception() is None]
            for each in ending:
                each.result()


async def _play(rows: list[Row]) -> dict[str, int]:
    """Play *rows* side by side; return what leaked."""
    port = free_port()
    async with _served(rows, port), _lag_told_to([row.outcome for row in rows]):
        try:
            await _each(rows, lambda row: row.settle(port))
            before = await _held_when_well()
            await _each(rows, lambda row: row.be_used())
            await _each(rows, lambda row: row.disturb())
            leaks = await _leaks(rows, before)
        finally:
            await asyncio.gather(*(row.stop_asking() for row in rows))
    left = [await row.stop() for row in rows]
    await asyncio.sleep(0)  # the turn in which the tasks that were told to end do
    mine = len(asyncio.all_tasks()) - 1
    return leaks | ({"connections left": sum(left)} if any(left) else {}) | ({"tasks left": mine} if mine else {})


async def _each(rows, act) -> None:
    """Have each of *rows* act; what fails is told of its row, which takes no part any more."""

    async def attempt(row: Row) -> None:
        if row.outcome.error is None:
            try:
                await act(row)
            except Exception as error:
                row.outcome.error = error

    await asyncio.gather(*map(attempt, rows))


@contextlib.asynccontextmanager
async def _lag_told_to(outcomes: list[Outcome]):
    """Tell *outcomes* by how much the event loop was ever late."""

    async def watch() -> None:
        while True:
            due = time.monotonic() + 0.01
            await asyncio.sleep(0.01)
            late = time.monotonic() - due
            for outcome in outcomes:
                outcome.lag_seconds = max(outcome.lag_seconds, late)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


@contextlib.asynccontextmanager
async def _served(rows: list[Row], port: int):
    """Serve the applications of *rows*, each below its name."""
    apps = {row.name: row.app for row in rows}

    async def mounts(scope, receive, send):
        name = scope["path"].split("/")[1]
        await apps[name]({**scope, "root_path": f"/{name}"}, receive, send)

    server = uvicorn.Server(
        uvicorn.Config(mounts, port=port, lifespan="off", log_level="error", timeout_graceful_shutdown=1)
    )
    server.capture_signals = contextlib.nullcontext
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        server.should_exit = True
        await serving


async def _counted() -> dict[str, int]:
    """Return what this process holds; the threads of the test's own executor are not counted."""
    threads = [thread for thread in threading.enumerate() if not thread.name.startswith("asyncio_")]
    return {
        "threads": len(threads),
        "descriptors": sum(1 for _ in Path("/proc/self/fd").iterdir()),
        "tasks": len(asyncio.all_tasks()),
    }


async def _held_when_well() -> dict[str, int]:
    """Return the most that this process holds within a second: a slow machine may have cost connections."""
    most = await _counted()
    ends_at = time.monotonic() + 1
    while time.monotonic() < ends_at:
        await asyncio.sleep(0.05)
        most = {name: max(number, most[name]) for name, number in (await _counted()).items()}
    return most


async def _leaks(rows: list[Row], before: dict[str, int]) -> dict[str, int]:
    """Return what is more than before, and too much; what was given up may take a moment to end."""
    ends_at = time.monotonic() + SETTLING_SECONDS
    most = 1 + DESCRIPTORS_OF_ONE * sum(row.more_connections for row in rows)
    while True:
        now = await _counted()
        leaks = {name: now[name] - number for name, number in before.items() if now[name] > number + most}
        for row in rows:
            leaks |= await asyncio.to_thread(row.leaks)
        if not leaks or time.monotonic() > ends_at:
            return leaks
        await asyncio.sleep(0.1)


def _told(wrong) -> list[str]:
    """Return what was wrong, in few words: of each fault how often, and the first of its answers."""
    firsts = dict(reversed(wrong))
    return [f"{len([1 for each, _ in wrong if each == fault])} x {fault}: {firsts[fault].told()}" for fault in firsts]


def _assert_check_is_right(outcome: Outcome) -> None:
    """Ready all the time; degraded with a reason of the table from soon after the beginning to the end."""
    trouble, looks = outcome.trouble, outcome.looks
    assert all(look.is_ready for look in looks)
    assert {look.status for look in looks} <= {"ok", "degraded"}
    during = [look for look in looks if outcome.began < look.at < outcome.ended + outcome.back_seconds]
    seen = {look.reason for look in during if look.status == "degraded"}
    assert seen & set(trouble.reasons) or (trouble.may_be_unseen and not seen), looks
    assert seen <= {*trouble.reasons, *trouble.more_reasons, MACHINE_IS_SLOW}
    if not (trouble.flickers or trouble.is_over_at_once):
        for reader in {look.asked_of for look in looks}:
            under = [look for look in looks if look.asked_of == reader and outcome.began < look.at < outcome.ending]
            since = next(look.at for look in under if look.status == "degraded")
            assert since < outcome.began + SEEN_SECONDS
            assert all(look.status == "degraded" for look in under if look.at > since)


def _assert_is_left_alone(outcome: Outcome) -> None:
    """Whatever the trouble, the cache is not asked on each request; one that is away, not even at each renewal."""
    seconds = outcome.seconds + (outcome.back_seconds if outcome.trouble.is_over_at_once else 0)
    for reader, asked in outcome.asked.items():
        assert asked <= seconds * ASKED_A_SECOND + 10
        if outcome.trouble.is_away:
            assert asked <= ASKED_WHEN_AWAY + outcome.seconds * 2
            assert outcome.skipped[reader] > 0 or reader >= PROCESSES_OF_STATUS
    if outcome.accepted is not None and outcome.trouble.is_away:
        assert outcome.accepted <= len(outcome.asked) * (ASKED_WHEN_AWAY + outcome.seconds * 2)


def _assert_is_counted(outcome: Outcome) -> None:
    """Each process has counted why, as a fault or as an entry that it does not believe."""
    trouble = outcome.trouble
    reasons = {*trouble.reasons, *trouble.more_reasons, *trouble.refusals, MACHINE_IS_SLOW}
    for reader, shown in outcome.shown.items():
        looks_at_entries = reader < PROCESSES_OF_STATUS
        assert shown & reasons or trouble.may_be_unseen or (trouble.refusals and not looks_at_entries)


def _figures(outcome: Outcome) -> str:
    return (
        f"{len(outcome.answers)} answers, p99 {outcome.quantile_ms(0.99):.1f} ms, slowest"
        f" {outcome.quantile_ms(1):.1f} ms, back after {outcome.back_seconds:.2f} s of {outcome.seconds:.2f} s, asked"
        f" {sum(outcome.asked.values())}, skipped {sum(outcome.skipped.values())}, lag {outcome.lag_seconds:.3f} s"
    )
