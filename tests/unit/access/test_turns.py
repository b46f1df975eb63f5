"""Turns at slow work: few at once, and never all of them for those who fail."""

from __future__ import annotations

import asyncio

import pytest

from fakes import FakeClock
from loop import in_loop
from tasker_health.access.turns import MOST_AT_ONCE, BusyError, Turns


async def soon(awaitable):
    """Return what *awaitable* answers, or `None` when it has to wait."""
    task = asyncio.ensure_future(awaitable)
    for _ in range(20):
        await asyncio.sleep(0)
    if task.done():
        return task.result()
    task.cancel()
    await asyncio.wait([task])
    return None


@in_loop
async def test_no_more_have_a_turn_at_once_than_are_meant_to():
    """A third waits until one of the two is closed, even if it leaves and comes again."""
    turns = Turns()
    held = [await turns.turn(f"192.0.2.{number}") for number in range(MOST_AT_ONCE)]
    assert await soon(turns.turn("192.0.2.9")) is None
    held[0].close()
    assert await soon(turns.turn("192.0.2.9")) is not None


@in_loop
async def test_one_address_has_one_turn_at_a_time():
    """However often it asks; the other turn is free for others."""
    turns = Turns()
    first = await turns.turn("192.0.2.1")
    assert await soon(turns.turn("192.0.2.1")) is None
    other = await soon(turns.turn("192.0.2.2"))
    assert other is not None
    other.close()
    first.close()
    assert await soon(turns.turn("192.0.2.1")) is not None


@in_loop
async def test_all_who_failed_lately_have_one_turn_among_them():
    """A thousand addresses that fail leave a turn for one that did not; after a minute they are as others."""
    clock = FakeClock()
    turns = Turns(clock)
    for number in range(1000):
        turns.failed(f"203.0.113.{number}")
    first = await turns.turn("203.0.113.1")
    assert await soon(turns.turn("203.0.113.2")) is None
    honest = await soon(turns.turn("192.0.2.1"))
    assert honest is not None
    honest.close()
    clock.move(61)
    assert not turns.suspects("203.0.113.2")
    assert await soon(turns.turn("203.0.113.2")) is not None
    first.close()


@in_loop
async def test_too_many_of_one_address_are_turned_away_at_once():
    """Nobody keeps more than some requests of one address in memory; others are not touched by it."""
    turns = Turns()
    held = await turns.turn("192.0.2.1")
    waiting = [asyncio.ensure_future(turns.turn("192.0.2.1")) for _ in range(15)]
    await asyncio.sleep(0)
    with pytest.raises(BusyError):
        await turns.turn("192.0.2.1")
    assert await soon(turns.turn("192.0.2.2")) is not None
    for each in waiting:
        each.cancel()
    await asyncio.wait(waiting)
    held.close()


@in_loop
async def test_nothing_is_kept_of_those_who_left():
    """Neither a turn nor a place in the queue, whether they had it or gave up."""
    turns = Turns()
    turns.failed("192.0.2.1")
    held = [await turns.turn("192.0.2.1"), await turns.turn("192.0.2.2")]
    for address in ("192.0.2.1", "192.0.2.2", "192.0.2.3"):
        assert await soon(turns.turn(address)) is None
    for each in held:
        each.close()
    assert not turns._queues
    for address in ("192.0.2.1", "192.0.2.3"):
        assert await soon(turns.turn(address)) is not None


def test_suspects_are_bounded():
    """Of more than some thousand addresses, those that failed longest ago are forgotten."""
    turns = Turns()
    for number in range(5000):
        turns.failed(str(number))
    assert len(turns._failed_at) == 4096
    assert turns.suspects("4999")
    assert not turns.suspects("0")


def test_turns_outlive_their_event_loop():
    """What an earlier loop has left behind, held or waited for, keeps nobody out on the next one."""
    turns = Turns()

    async def leave_all_taken():
        for number in range(MOST_AT_ONCE):
            await turns.turn(f"192.0.2.{number}")
        assert await soon(turns.turn("192.0.2.9")) is None

    async def begin_anew():
        held = [await soon(turns.turn(f"192.0.2.{number}")) for number in range(MOST_AT_ONCE)]
        assert None not in held
        assert await soon(turns.turn("192.0.2.9")) is None

    asyncio.run(leave_all_taken())
    asyncio.run(begin_anew())
