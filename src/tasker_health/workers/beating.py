"""A worker's heartbeat: written every few seconds by a thread of its process, whatever its own loop does meanwhile."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import Callable
from typing import NamedTuple

from msgspec.structs import replace

from tasker_health.clock import Clock
from tasker_health.deadline import in_thread
from tasker_health.errors import LedgerFault
from tasker_health.model import Reason
from tasker_health.reasons import reason_of, words_of
from tasker_health.workers import Beat, Ledger
from tasker_health.workers.attachment import Attachment, Identity, Work
from tasker_health.workers.stall import StallWatch

log = logging.getLogger(__name__)

_LONGEST = 200
"""Of what others have named, so much is told."""

_JITTER = 0.05
"""By this share beats come sooner or later: workers that were started together do not write together for ever."""


class Said(NamedTuple):
    """What the user has said of the worker; it goes before what the engine tells."""

    name: str | None = None
    queues: tuple[str, ...] | None = None
    version: str | None = None


class Beating:
    """Beats on the running event loop, which is a thread's of its own.

    Args:
        ledger: Where; `None`: nowhere, and only the stall is watched.
        attachment: Tells who the worker is and what it does.
        said: What the user has said.
        period_seconds: How often.
        stall: Tells when the worker is wedged.
        lag: Answers for how long the worker's event loop has not turned; 0 where it has none.
        clock: Measures.

    Attributes:
        on_stall: Is told at each beat for how many seconds the worker has been wedged; 0: it is not.
        dropped: Beats that the store did not take.
    """

    def __init__(
        self,
        ledger: Ledger | None,
        attachment: Attachment,
        said: Said,
        *,
        period_seconds: float,
        stall: StallWatch,
        lag: Callable[[], float],
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._attachment = attachment
        self._said = said
        self._period_seconds = period_seconds
        self._stall = stall
        self._lag = lag
        self._clock = clock
        self._began_at = self._taken_at = clock.monotonic()
        self._waiting: asyncio.Future[int | None] | None = None
        self._fault: Reason | None = None
        self._is_stalled = False
        self._id: str | None = None
        self.on_stall: Callable[[float], None] = _told_nobody
        self.dropped: int = 0

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            await self.beat()
            spread = 1 + _JITTER * (2 * random.random() - 1)  # noqa: S311 -- no secret
            await asyncio.sleep(self._period_seconds * spread)

    async def beat(self) -> None:
        """Write one beat; a store that does not take it is told once, and the work goes on."""
        work = self._attachment.observe()
        stalled_seconds = self._stall.look(work, await self._ready_work(work))
        self._note_stall(stalled_seconds)
        if self._ledger is None:
            return
        now = self._clock.monotonic()
        try:
            await self._ledger.beat(self._beat_of(work, stalled_seconds, now))
        except LedgerFault as fault:
            self.dropped += 1
            self._note(fault.reason, str(fault))
        except Exception as error:  # noqa: BLE001 -- a ledger of the user's may raise anything
            self.dropped += 1
            self._note(reason_of(error), words_of(error))
        else:
            self._taken_at = now
            self._note(None, "")

    async def leave(self) -> None:
        """Take the beat away, if the store answers."""
        if self._ledger is None or self._id is None:
            return
        try:
            await self._ledger.leave(self._id)
        except Exception as error:  # noqa: BLE001 -- as above; whoever reads the beats will say that it is dead
            log.warning("worker %s: it could not be said that it ends (%s)", self._id, reason_of(error))
        await self._ledger.close()

    def _beat_of(self, work: Work, stalled_seconds: float, now: float) -> Beat:
        who = self._identity()
        self._id = who.worker_id or ""
        return Beat(
            worker_id=self._id,
            engine=self._attachment.engine,
            host=socket.gethostname()[:_LONGEST],
            pid=os.getpid(),
            version=who.version,
            queues=who.queues,
            running=tuple(replace(each, id=_cut(each.id), name=_cut(each.name)) for each in work.running),
            running_count=work.running_count,
            done=work.done,
            failed=work.failed,
            lag_seconds=round(max(work.lag_seconds, self._lag()), 3),
            idle_seconds=round(work.idle_seconds, 3),
            stalled=stalled_seconds > 0,
            period_seconds=self._period_seconds,
            up_seconds=round(now - self._began_at, 3),
            gap_seconds=round(now - self._taken_at, 3),
            owner_id=who.owner_id,
        )

    def _identity(self) -> Identity:
        """Return who the worker is, as the user has said it before what the engine tells."""
        told, said = self._attachment.identity(), self._said
        place = f"{socket.gethostname()}:{os.getpid()}"
        name = f"{said.name}@{place}" if said.name else told.worker_id or f"{self._attachment.engine}@{place}"
        queues = told.queues if said.queues is None else said.queues
        version = said.version or told.version
        return Identity(
            worker_id=_cut(name),
            version=None if version is None else _cut(version),
            queues=tuple(_cut(each) for each in queues),
            owner_id=told.owner_id,
        )

    async def _ready_work(self, work: Work) -> int | None:
        """Return how much a worker could take now; `None`: it is busy, or it cannot be known.

        One who has not answered is not asked again until he has; asking costs a thread for as long.
        """
        if not self._stall.is_idle(work):
            return None
        if self._waiting is None:
            try:
                self._waiting = in_thread(self._attachment.waiting, "waiting")
            except (TimeoutError, RuntimeError):
                return None
        done, _ = await asyncio.wait({self._waiting}, timeout=self._period_seconds / 2)
        if not done:
            return None
        answer, self._waiting = self._waiting, None
        try:
            return answer.result()
        except Exception as error:  # noqa: BLE001 -- the user's own may raise anything
            log.debug("what waits cannot be known: %s", words_of(error))
            return None

    def _note_stall(self, stalled_seconds: float) -> None:
        is_stalled = stalled_seconds > 0
        if is_stalled != self._is_stalled:
            self._is_stalled = is_stalled
            if is_stalled:
                log.error("this worker has taken no work for %.0f s, though some waits for it", stalled_seconds)
            else:
                log.warning("this worker takes work again")
        self.on_stall(stalled_seconds)

    def _note(self, fault: Reason | None, detail: str) -> None:
        if fault is not self._fault:
            if fault is None:
                log.warning("heartbeats are taken again; %d were not", self.dropped)
            else:
                log.warning("heartbeats are not taken (%s): %s; the work goes on", fault, detail)
        self._fault = fault


def _cut(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in str(text)[:_LONGEST])


def _told_nobody(_stalled_seconds: float) -> None:
    """Tell nobody."""
