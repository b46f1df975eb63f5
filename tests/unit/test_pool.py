"""Who gets the next free line: the one used last first, a new one only when all are busy, and never for ever."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from tasker_health import pool as pools
from tasker_health.errors import DatabaseFault
from tasker_health.model import Reason
from tasker_health.pool import IDLE_SECONDS, Pool

PATIENCE = 30


class FakeLine:
    """A line that knows how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    async def close(self) -> None:
        """Count the calls."""
        self.closed += 1


def soon():
    """Return a time that a test does not reach."""
    return asyncio.get_running_loop().time() + PATIENCE


def test_who_asks_one_thing_at_a_time_has_one_line():
    """However many there may be."""

    async def play():
        pool = Pool(FakeLine, 5, PATIENCE)
        for _ in range(20):
            pool.give_back(await pool.take(soon()))
        return len(pool.lines)

    assert asyncio.run(play()) == 1


def test_the_line_used_last_is_taken_first():
    """So that one has the questions, and the others become idle."""

    async def play():
        pool = Pool(FakeLine, 3, PATIENCE)
        first, second, third = [await pool.take(soon()) for _ in range(3)]
        for line in (third, first, second):
            pool.give_back(line)
        return [await pool.take(soon()) for _ in range(3)], [second, first, third]

    taken, expected = asyncio.run(play())
    assert taken == expected


def test_no_more_lines_than_allowed_and_who_came_first_goes_first():
    """The third of two waits, and gets what is given back first."""

    async def play():
        pool = Pool(FakeLine, 2, PATIENCE)
        one, _two = await pool.take(soon()), await pool.take(soon())
        waiting = [asyncio.ensure_future(pool.take(soon())) for _ in range(2)]
        await asyncio.sleep(0)
        begun = [each.done() for each in waiting]
        pool.give_back(one)
        got = await waiting[0]
        late = waiting[1].done()
        waiting[1].cancel()
        return begun, got is one, late, len(pool.lines)

    assert asyncio.run(play()) == ([False, False], True, False, 2)


@pytest.mark.parametrize(
    ("checkout_seconds", "deadline_seconds", "reason"),
    [(0.02, PATIENCE, Reason.POOL_EXHAUSTED), (PATIENCE, 0.02, Reason.TIMEOUT), (0.02, 0.02, Reason.TIMEOUT)],
)
def test_who_waits_in_vain_is_told_what_ended_it(checkout_seconds, deadline_seconds, reason):
    """`pool_exhausted` by the checkout time-out, `timeout` by the deadline of the question; then it goes on."""

    async def play():
        pool = Pool(FakeLine, 1, checkout_seconds)
        loop = asyncio.get_running_loop()
        held = await pool.take(soon())
        with pytest.raises(DatabaseFault) as fault:
            await pool.take(loop.time() + min(deadline_seconds, PATIENCE))
        pool.give_back(held)
        return fault.value.reason, await pool.take(soon()) is held

    assert asyncio.run(play()) == (reason, True)


def test_a_waiting_asker_that_leaves_takes_no_place():
    """Cancelled while it waits, and in the moment in which it would have got one."""

    async def play():
        pool = Pool(FakeLine, 1, PATIENCE)
        held = await pool.take(soon())
        for gives_back in (False, True):
            waiting = asyncio.ensure_future(pool.take(soon()))
            await asyncio.sleep(0)
            if gives_back:
                pool.give_back(held)
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting
        async with asyncio.timeout(PATIENCE):
            return await pool.take(soon()) is held

    assert asyncio.run(play()) is True


def test_lines_beyond_one_that_nobody_needs_are_closed(monkeypatch):
    """After a while, when another question ends; the one in use stays; a new one is made when it is needed again."""
    now = [1000.0]
    monkeypatch.setattr(pools.time, "monotonic", lambda: now[0])

    async def play():
        pool = Pool(FakeLine, 3, PATIENCE)
        lines = [await pool.take(soon()) for _ in range(3)]
        for line in lines:
            pool.give_back(line)
        now[0] += IDLE_SECONDS - 1
        pool.give_back(await pool.take(soon()))
        kept = len(pool.lines)
        now[0] += 2
        pool.give_back(await pool.take(soon()))
        left = list(pool.lines)
        await pool.close()
        again = [await pool.take(soon()) for _ in range(3)]
        return kept, left == [lines[2]], [line.closed for line in lines], len(set(again))

    assert asyncio.run(play()) == (3, True, [1, 1, 1], 3)


def test_a_line_that_is_alone_is_never_closed_for_being_idle(monkeypatch):
    """The next question after a quiet night finds its connection."""
    now = [1000.0]
    monkeypatch.setattr(pools.time, "monotonic", lambda: now[0])

    async def play():
        pool = Pool(FakeLine, 3, PATIENCE)
        line = await pool.take(soon())
        pool.give_back(line)
        now[0] += 100 * IDLE_SECONDS
        pool.give_back(await pool.take(soon()))
        return pool.lines == [line], line.closed

    assert asyncio.run(play()) == (True, 0)


def test_a_pool_tells_how_it_is_used():
    """How many there may be, are open and busy, and who waits: also when they have given up."""

    async def play():
        pool = Pool(FakeLine, 1, PATIENCE)
        seen = [pool.figures]
        line = await pool.take(soon())
        waiting = asyncio.ensure_future(pool.take(soon()))
        await asyncio.sleep(0)
        seen.append(pool.figures)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        pool.give_back(line)
        return [tuple(each) for each in [*seen, pool.figures]]

    assert asyncio.run(play()) == [(1, 0, 0, 0), (1, 1, 1, 1), (1, 1, 0, 0)]
