"""A cache of the user's: whatever it does, it is answered in time, nothing is raised, and it is not asked in vain."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter

import pytest

import canary
from fakes import FakeClock
from loop import in_loop
from tasker_health.cache import Held
from tasker_health.cache.breaker import OPEN_SECONDS
from tasker_health.cache.contained import UNANSWERED, ContainedCache
from tasker_health.clock import SystemClock
from tasker_health.errors import CacheFault
from tasker_health.model import Reason

TIMEOUT_SECONDS = 0.1
PATIENCE_SECONDS = 30
IN_TIME_SECONDS = 2
"""Much longer than the deadline, for a busy machine; much shorter than a hang."""

QUESTIONS = {
    "get": lambda cache: cache.get("key"),
    "put": lambda cache: cache.put("key", b"x", 60),
    "acquire": lambda cache: cache.acquire("key", "me", 1),
    "release": lambda cache: cache.release("key", "me"),
}
NO_ANSWER = {"get": UNANSWERED, "put": False, "acquire": None, "release": None}
EACH_QUESTION = pytest.mark.parametrize("question", QUESTIONS)


class Scripted:
    """A cache that does what the test says, whatever it is asked."""

    name = "mine"
    coarse_seconds = 0.0

    def __init__(self, act) -> None:
        self._act = act
        self.asked = 0

    async def _ask(self, *_given: object):
        self.asked += 1
        return await self._act()

    get = put = acquire = release = close = _ask


class Plain(Scripted):
    """The same, forgetting that a question is a coroutine."""

    def _ask(self, *_given: object):
        self.asked += 1
        return self._act()

    get = put = acquire = release = close = _ask


def contained(cache, clock=None) -> ContainedCache:
    """Return *cache* as its users see it."""
    return ContainedCache(cache, timeout_seconds=TIMEOUT_SECONDS, clock=clock or SystemClock())


def raising(error: BaseException):
    """Return a coroutine function that raises *error*."""

    async def act():
        raise error

    return act


def answering(answer: object):
    """Return a coroutine function that answers *answer*."""

    async def act():
        return answer

    return act


async def hang():
    """Answer never."""
    await asyncio.Event().wait()


async def swallow():
    """Answer never, nor leave when told to."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if _ends:
                raise


_ends: list[bool] = []


class SpitefulError(Exception):
    """One that cannot even be printed."""

    @property
    def orig(self):
        """Raise."""
        raise RuntimeError

    def __str__(self) -> str:
        raise RuntimeError


ERRORS = [
    *(
        ValueError("no"),
        KeyError(),
        OSError(5, "no"),
        ConnectionRefusedError(111, "no"),
        TimeoutError(),
        SpitefulError(),
    ),
    *(SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError(), StopAsyncIteration()),
    *(CacheFault(reason) for reason in (Reason.TIMEOUT, Reason.READ_ONLY, Reason.ERROR, Reason.MISSING)),
]


@EACH_QUESTION
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", [Scripted, Plain])
@in_loop
async def test_whatever_it_raises_is_a_fault(question, error, kind):
    """Also what would end the application, also where a question is no coroutine; it is counted and told."""

    def plain():
        raise error

    cache = contained(kind(raising(error) if kind is Scripted else plain))
    assert await QUESTIONS[question](cache) is NO_ANSWER[question]
    assert cache.counts.requests == {(question, "failed"): 1}
    assert sum(cache.counts.faults.values()) == 1
    assert cache.trouble.reason is not None


@EACH_QUESTION
@pytest.mark.parametrize("act", [hang, swallow])
@in_loop
async def test_a_hang_costs_the_deadline(question, act):
    """Also of one that does not let itself be cancelled."""
    cache = contained(Scripted(act))
    _ends.clear()
    began = time.monotonic()
    assert await QUESTIONS[question](cache) is NO_ANSWER[question]
    assert TIMEOUT_SECONDS <= time.monotonic() - began < IN_TIME_SECONDS
    assert cache.counts.faults == {Reason.TIMEOUT: 1}
    _ends.append(True)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


RUBBISH = [
    *("words", b"bytes", 1, True, object(), (), (b"x",), (b"x", 1.0), [b"x", 1.0], {"value": b"x"}, math.nan),
    *(Held("words", 1.0), Held(None, 1.0), Held(bytearray(b"x"), 1.0), Held(memoryview(b"x"), 1.0), Held(7, 1.0)),
    *(Held(b"x", "1"), Held(b"x", None), Held(b"x", math.nan), Held(b"x", math.inf), Held(b"x", -math.inf)),
]


@pytest.mark.parametrize("rubbish", RUBBISH, ids=lambda rubbish: type(rubbish).__name__)
@in_loop
async def test_what_is_not_held_is_not_ours(rubbish):
    """Other types, a text for bytes, an age that is none: it is as if something else lay there."""
    cache = contained(Scripted(answering(rubbish)))
    answer = await cache.get("key")
    assert isinstance(answer, CacheFault)
    assert answer is not UNANSWERED
    assert answer.reason is Reason.INVALID
    assert cache.counts.faults == {Reason.INVALID: 1}
    assert (await cache.get("key")).reason is Reason.INVALID, "it has answered, and is asked again"


@pytest.mark.parametrize("held", [None, Held(b"", 0.0), Held(b"x", 5), Held(b"x", -0.5), Held(b"x", 1e9)], ids=repr)
@in_loop
async def test_what_is_held_is_handed_on(held):
    """As it is, also when the clock of the cache was set back."""
    assert await contained(Scripted(answering(held))).get("key") is held


@pytest.mark.parametrize(
    "rubbish", [None, 1, 0, "yes", object(), Held(b"", 0)], ids=lambda rubbish: type(rubbish).__name__
)
@in_loop
async def test_only_a_bool_is_a_lease(rubbish):
    """Everything else is true or false by chance: nobody can tell who has it."""
    cache = contained(Scripted(answering(rubbish)))
    assert await cache.acquire("key", "me", 1) is None
    assert cache.trouble.reason is Reason.INVALID


@in_loop
async def test_what_cannot_be_awaited_is_a_fault():
    """A function where a coroutine function should be."""
    cache = contained(Plain(lambda: Held(b"x", 0.0)))
    assert await cache.get("key") is UNANSWERED
    assert cache.counts.faults == {Reason.ERROR: 1}


@pytest.mark.parametrize("act", [hang, raising(ValueError("no")), raising(SystemExit(3))])
@in_loop
async def test_a_close_that_fails_hinders_nobody(act, monkeypatch):
    """The other connections of the application are to be closed too."""
    monkeypatch.setattr("tasker_health.cache.contained._CLOSE_SECONDS", TIMEOUT_SECONDS)
    began = time.monotonic()
    await contained(Scripted(act)).close()
    assert time.monotonic() - began < IN_TIME_SECONDS


class TestLeftAlone:
    """A cache that does not answer is not asked on each request."""

    @pytest.mark.parametrize(
        "reason",
        [
            *(Reason.TIMEOUT, Reason.REFUSED, Reason.UNREACHABLE),
            *(Reason.AUTHENTICATION_FAILED, Reason.TOO_MANY_CONNECTIONS),
        ],
    )
    @in_loop
    async def test_one_that_is_away_is_asked_once_in_a_while(self, reason):
        """A thousand questions in ten seconds reach it twice a second; the others are `skipped`."""
        clock = FakeClock()
        back_end = Scripted(raising(CacheFault(reason)))
        cache = contained(back_end, clock)
        for _ in range(1000):
            assert await cache.get("key") is UNANSWERED
            clock.move(0.01)
        assert 19 <= back_end.asked <= 21
        assert cache.counts.requests == {("get", "failed"): back_end.asked, ("get", "skipped"): 1000 - back_end.asked}

    @pytest.mark.parametrize("reason", [Reason.READ_ONLY, Reason.ERROR, Reason.INVALID, Reason.MISSING])
    @in_loop
    async def test_one_that_is_full_or_read_only_is_still_asked(self, reason):
        """It answers: what it holds can be read."""
        back_end = Scripted(raising(CacheFault(reason)))
        cache = contained(back_end, FakeClock())
        for _ in range(10):
            await cache.put("key", b"x", 60)
        assert back_end.asked == 10

    @in_loop
    async def test_of_many_one_makes_the_trial(self):
        """While it is under way nobody else asks."""
        clock, gate = FakeClock(), asyncio.Event()
        back_end = Scripted(raising(CacheFault(Reason.REFUSED)))
        cache = contained(back_end, clock)
        await cache.get("key")
        clock.move(OPEN_SECONDS)
        back_end._act = gate.wait
        askers = [asyncio.ensure_future(cache.acquire("key", "me", 1)) for _ in range(50)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert back_end.asked == 2
        gate.set()
        assert Counter(await asyncio.gather(*askers)) == {None: 49, True: 1}

    @in_loop
    async def test_a_trial_whose_asker_leaves_is_made_by_the_next_one(self):
        """Cancelled, or its event loop ended under it."""
        clock = FakeClock()
        back_end = Scripted(raising(CacheFault(Reason.REFUSED)))
        cache = contained(back_end, clock)
        await cache.get("key")
        clock.move(OPEN_SECONDS)
        back_end._act = hang
        task = asyncio.ensure_future(cache.get("key"))
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})
        dropped = cache.get("key")
        dropped.send(None)
        dropped.close()
        back_end._act = answering(None)
        assert await cache.get("key") is None

    @in_loop
    async def test_an_asker_that_leaves_ends_nobody_elses_trial(self):
        """One that has asked before the cache was away."""
        clock = FakeClock()
        back_end = Scripted(hang)
        cache = contained(back_end, clock)
        early = asyncio.ensure_future(cache.get("key"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        back_end._act = raising(CacheFault(Reason.REFUSED))
        await cache.get("key")
        clock.move(OPEN_SECONDS)
        back_end._act = hang
        trial = asyncio.ensure_future(cache.get("key"))
        await asyncio.sleep(0)
        early.cancel()
        await asyncio.wait({early})
        asked = back_end.asked
        assert await cache.get("key") is UNANSWERED
        assert back_end.asked == asked
        trial.cancel()
        await asyncio.wait({trial})

    @in_loop
    async def test_a_child_asks_at_once(self):
        """What its parent knows of the way there need not hold for it."""
        back_end = Scripted(raising(CacheFault(Reason.REFUSED)))
        cache = contained(back_end, FakeClock())
        await cache.get("key")
        cache.forget()
        await cache.get("key")
        assert back_end.asked == 2


@in_loop
async def test_one_that_swallows_every_cancellation_is_not_joined_by_many():
    """What hangs on for ever grows by one a trial at most: once in a second."""
    clock = FakeClock()
    _ends.clear()
    cache = contained(Scripted(swallow), clock)
    for _ in range(5):
        await asyncio.gather(*(cache.get("key") for _ in range(3)))
        clock.move(OPEN_SECONDS)
    assert cache._cache.asked <= 3 + 4
    _ends.append(True)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()


@in_loop
async def test_no_password_of_its_words_is_logged(caplog):
    """A cache of the user's may say where it is, with the password."""
    password = canary.secret("cache")
    url = f"redis://me:{password}@127.0.0.1:6379/0"
    cache = contained(Scripted(raising(ConnectionRefusedError(111, f"cannot connect to {url}"))))
    await cache.get("key")
    assert len(caplog.messages) == 1
    assert "://***@" in caplog.text
    assert password not in caplog.text
