"""Who works, for everybody in this process who asks: read from the ledger once in half a period, and judged.

A worker is dead when its newest beat is older than two and a half of its periods, by the clock of the store. Some beats
look old that are not, and that is held against nobody:

* The store was away, so that nobody could write. Those who go on say so in their next beat (`gap_seconds`), and while
  one of them does, or this process could not read just before, nobody else is called dead yet.
* Nobody at all has a fresh beat: all are dead, or the store is just back. Who beats no more when it is looked at again
  a period later is dead: while somebody asks now and then, this process looks every half period by itself.
* The store's clock was set back: beats that lie ahead of it are as old as the time since they were first seen here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from tasker_health.clock import Clock
from tasker_health.errors import LedgerFault
from tasker_health.model import Reason
from tasker_health.single_flight import RunEndedError, SingleFlight
from tasker_health.workers import DEAD_AFTER_BEATS, Beat, Ledger, Seen, Worker, Workers, WorkerState

_FIRST_SECONDS = 0.5
"""So long who glances waits for the very first reading."""

_STALE_PERIODS = 3
"""A reading that is older than so many periods says nothing any more."""


_ASKED_SECONDS = 120.0
"""So long after somebody has asked, heartbeats are still read every half period."""

log = logging.getLogger(__name__)

_SETTLES_BEATS = 1.2
"""Where it is not sure that the store took beats all the time, a worker has so many of its periods to beat again."""


class LedgerRoster:
    """Reads and judges.

    Args:
        ledger: Where the beats are; it belongs to the roster from now on.
        heartbeat_seconds: Readings are kept for half of it.
        clock: Measures the time between readings.

    Attributes:
        fault: Why the last reading failed; `None`: it did not.
        on_death, on_return: Are told who is dead, once, and who is back.
    """

    def __init__(self, ledger: Ledger, *, heartbeat_seconds: float, clock: Clock) -> None:
        self.ledger = ledger
        self.fault: Reason | None = None
        self.on_death: Callable[[Worker], None] = _told_nobody
        self.on_return: Callable[[Worker], None] = _told_nobody
        self._heartbeat_seconds = heartbeat_seconds
        self._keep_seconds = heartbeat_seconds / 2
        # Two readings that are further apart than this have a gap between them.
        self._gap_seconds = 6 * heartbeat_seconds
        self._clock = clock
        self._reading: SingleFlight[Workers] = SingleFlight(self._read)
        self._newest: Workers | None = None
        self._read_at = 0.0
        self._asked_at = self._blind_until = 0.0
        self._next_look: asyncio.TimerHandle | None = None
        self._first_seen: dict[str, tuple[float, float]] = {}
        self._dead: set[str] = set()

    async def read(self, deadline_seconds: float) -> Workers | None:
        """Return everybody; `None`: they cannot be known now. See `Roster.read`."""
        self._asked_at = self._clock.monotonic()
        if self._newest is not None and self._clock.monotonic() - self._read_at < self._keep_seconds:
            return self._newest
        try:
            return await self._reading(deadline_seconds)
        except (RunEndedError, TimeoutError):
            self._note(Reason.TIMEOUT, f"no answer within {deadline_seconds:.3f} s")
        except LedgerFault as fault:
            self._note(fault.reason, str(fault))
        return None

    async def glance(self) -> Workers | None:
        """Return who works by the last reading that is not too old, while a new one is under way; waits hardly ever."""
        if self._newest is None and self.fault is None:
            return await self.read(_FIRST_SECONDS)
        self._asked_at = self._clock.monotonic()
        age = self._asked_at - self._read_at
        if age >= self._keep_seconds:
            self._reading.start()
        return self._newest if self.fault is None and age < _STALE_PERIODS * self._heartbeat_seconds else None

    def forget(self) -> None:
        """Leave what is being read to the process that this one was forked from."""
        self._reading.forget()
        self._next_look = None

    async def close(self) -> None:
        """End the reading under way and give up the connection."""
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        await self._reading.cancel()
        self._newest = None
        await self.ledger.close()

    async def _read(self) -> Workers:
        if self._next_look is None:
            self._look_on()
        try:
            seen = await self.ledger.read()
        except LedgerFault as fault:
            if fault.reason is not Reason.MISSING:
                raise
            seen = ()  # nobody has ever begun
        now = self._clock.monotonic()
        if now - self._read_at > self._gap_seconds:
            self._first_seen = {}  # what happened meanwhile nobody here has seen
        fresh = [each.beat for each in seen if each.age_seconds <= _limit(each.beat)]
        is_sure = now >= self._blind_until and any(each.gap_seconds <= _limit(each) for each in fresh)
        is_sure = is_sure and not any(each.gap_seconds > _limit(each) for each in fresh)
        workers = Workers(tuple(self._judged(each, now, is_sure=is_sure) for each in seen))
        self._newest, self._read_at = workers, now
        self._first_seen = {each.beat.worker_id: self._first_seen[each.beat.worker_id] for each in workers.all}
        self._note(None, "")
        self._tell(workers)
        return workers

    def _judged(self, seen: Seen, now: float, *, is_sure: bool) -> Worker:
        beat = seen.beat
        at, first_seen = self._first_seen.get(beat.worker_id, (None, now))
        if at != seen.at:
            first_seen = now
        self._first_seen[beat.worker_id] = seen.at, first_seen
        watched_seconds = now - first_seen
        age = max(seen.age_seconds, watched_seconds)
        is_known = is_sure or beat.worker_id in self._dead or watched_seconds >= _SETTLES_BEATS * beat.period_seconds
        if age > _limit(beat) and is_known:
            state = WorkerState.DEAD
        else:
            state = WorkerState.STALLED if beat.stalled else WorkerState.ALIVE
        return Worker(beat, seen.at, age, state)

    def _look_on(self) -> None:
        """Look again by itself for as long as somebody asks now and then: who dies is seen, whenever that is."""
        if self._clock.monotonic() - self._asked_at < _ASKED_SECONDS:
            self._next_look = asyncio.get_running_loop().call_later(self._keep_seconds, self._on_time)

    def _on_time(self) -> None:
        self._next_look = None
        if self._clock.monotonic() - self._read_at >= self._keep_seconds:
            self._reading.start()
        else:
            self._look_on()

    def _tell(self, workers: Workers) -> None:
        dead = {each.beat.worker_id: each for each in workers.dead()}
        for worker in workers.all:
            name = worker.beat.worker_id
            if name in dead and name not in self._dead:
                log.warning(
                    "worker %s of %s is dead: no heartbeat for %.0f s; it worked on %d tasks",
                    *(name, worker.beat.engine, worker.age_seconds, worker.beat.running_count),
                )
                self.on_death(worker)
            elif name in self._dead and name not in dead:
                log.info("worker %s of %s is back", name, worker.beat.engine)
                self.on_return(worker)
        self._dead = set(dead)

    def _note(self, fault: Reason | None, detail: str) -> None:
        if fault is not self.fault:
            if fault is None:
                log.warning("heartbeats: readable again")
            else:
                log.warning("heartbeats: cannot be read (%s): %s", fault, detail)
        if fault is not None:
            # What happens meanwhile nobody here sees.
            self._first_seen = {}
            self._blind_until = self._clock.monotonic() + _SETTLES_BEATS * self._heartbeat_seconds
        self.fault = fault


def _limit(beat: Beat) -> float:
    """Return from which age on a beat is too old."""
    return DEAD_AFTER_BEATS * beat.period_seconds


def _told_nobody(_worker: Worker) -> None:
    """Tell nobody."""
