"""The quorum of readiness: what fails for every replica at once takes none of them out.

A replica that is not ready sends its work to the others. When a dependency that all of them share has failed, there are
no others: a Service without any endpoint answers nothing at all, not even what needs no database. So the replicas tell
each other, in the shared cache, which critical checks fail; where enough of them say the same, they stay ready, and
list the check as degraded.

It fails safe: whoever has heard nothing lately, from fewer than two replicas, or without a shared cache, is not ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
from typing import Annotated, NamedTuple

from msgspec import UNSET, Meta, Struct
from msgspec.structs import replace

from tasker_health.cache.document import SharedDocument
from tasker_health.cache.shared import SharedCache
from tasker_health.clock import Clock
from tasker_health.deadline import within
from tasker_health.model import CheckStatus, Readiness
from tasker_health.reasons import reason_of, words_of
from tasker_health.settings import Settings

log = logging.getLogger(__name__)

MOST_REPLICAS = 500
_MOST_CHECKS = 100

FRESH_SECONDS = 15.0
"""So long a replica counts after it has said something."""

_WELL_SECONDS, _FAILING_SECONDS = 5.0, 1.0
"""How often a replica says how it is."""

_LEAST_REPLICAS = 2
"""One alone is no quorum, whatever its share."""

_OWN = frozenset({"configuration", "event_loop", "server"})
"""Checks of this very process: no other one can have the same trouble."""

_LEASE = "turn"
_CLOSE_SECONDS = 1
_LOOK_SECONDS, _MOST_LOOKS = 0.02, 25

_Seconds = Annotated[float, Meta(ge=0, le=FRESH_SECONDS)]
_Names = Annotated[list[Annotated[str, Meta(max_length=64)]], Meta(max_length=_MOST_CHECKS)]


class Voice(Struct, array_like=True, forbid_unknown_fields=True):
    """What one replica says: how long ago, when it was written, and which critical checks fail."""

    seconds: _Seconds
    failing: _Names


class Told(Struct, forbid_unknown_fields=True):
    """What the fleet says."""

    replicas: Annotated[dict[Annotated[str, Meta(max_length=16)], Voice], Meta(max_length=MOST_REPLICAS)]


class _Heard(NamedTuple):
    """What a replica has said, and when by our monotonic clock."""

    at: float
    failing: frozenset[str]


class Quorum:
    """One process' part in it.

    Args:
        settings: Which share of the replicas has to fail.
        shared: Where they tell each other.
        clock: Measures how long ago something was said.
    """

    def __init__(self, settings: Settings, shared: SharedCache, clock: Clock) -> None:
        self._share = settings.health.readiness_quorum
        self._document: SharedDocument[Told] = shared.document("quorum", Told)
        self._clock = clock
        self._lease_seconds = 1.0 + 5 * settings.cache.timeout_seconds
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._is_blind = self._is_leaving = False
        self._me = ""
        self._heard: dict[str, _Heard] = {}
        self._failing: frozenset[str] = frozenset()
        self._begin()

    def start(self) -> None:
        """Begin on the running event loop; where it has begun already, or is off, nothing."""
        if self._task is None and self._share is not None and self._document.is_shared:
            self._changed = asyncio.Event()
            self._task = asyncio.get_running_loop().create_task(self._turn_for_ever())

    async def stop(self) -> None:
        """End, and say no more; where the cache does not answer soon, the others forget this process by themselves."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait({task}, timeout=_CLOSE_SECONDS)
        self._is_leaving = True
        with contextlib.suppress(Exception):
            await within(self.turn(), _CLOSE_SECONDS)
        self._is_leaving = False

    def forget(self) -> None:
        """Be another replica in a process that was forked."""
        self._task = None
        self._document.forget()
        self._begin()

    def agree(self, report: Readiness) -> Readiness:
        """Return *report*, ready when what fails here fails for enough of all replicas; waits for nobody."""
        failing = frozenset() if report.failed_checks is UNSET else frozenset(report.failed_checks)
        if failing != self._failing:
            self._failing = failing
            self._changed.set()
        if not failing or not all(self._is_shared_trouble(name, report) for name in failing):
            return report
        degraded = [name for name, result in report.checks.items() if result.status is not CheckStatus.OK]
        return replace(report, ready=True, failed_checks=UNSET, degraded_checks=degraded)

    async def turn(self) -> None:
        """Hear what the others say, and say how it is here, as nobody else does meanwhile."""
        if not await self._await_turn():
            await self._hear()
            return
        try:
            if await self._hear():
                await self._document.save(Told(self._voices()), FRESH_SECONDS)
        finally:
            if (task := asyncio.current_task()) is not None and not task.cancelling():
                await self._document.release(_LEASE)

    async def _await_turn(self) -> bool:
        """Return whether it is our turn; `False`: others have it for too long, or nobody can tell."""
        for _ in range(_MOST_LOOKS):
            granted = await self._document.acquire(_LEASE, self._lease_seconds)
            if granted is not False:
                return bool(granted)
            await asyncio.sleep(_LOOK_SECONDS * (0.5 + random.random()))  # noqa: S311 -- no secret
        return False

    def _begin(self) -> None:
        self._me = secrets.token_hex(8)
        self._heard = {}
        self._failing = frozenset()

    def _is_shared_trouble(self, name: str, report: Readiness) -> bool:
        """Return whether the check *name* fails for enough of those who were heard lately."""
        result = report.checks.get(name)
        if self._share is None or name in _OWN or result is None or result.status is not CheckStatus.ERROR:
            return False
        since = self._clock.monotonic() - FRESH_SECONDS
        others = [heard.failing for who, heard in self._heard.items() if who != self._me and heard.at >= since]
        all_of_them = [*others, self._failing]
        agree = sum(name in failing for failing in all_of_them)
        return len(all_of_them) >= _LEAST_REPLICAS and agree >= max(self._share * len(all_of_them), _LEAST_REPLICAS)

    async def _hear(self) -> bool:
        """Take what the document says for all that is said; return whether the cache has answered."""
        loaded = await self._document.load(_is_possible)
        told = {} if loaded.document is None else loaded.document.replicas
        if loaded.is_answered:
            now = self._clock.monotonic() - loaded.age_seconds
            self._heard = {who: _Heard(now - each.seconds, frozenset(each.failing)) for who, each in told.items()}
        return loaded.is_answered

    def _voices(self) -> dict[str, Voice]:
        now = self._clock.monotonic()
        self._heard.pop(self._me, None)
        if not self._is_leaving:
            self._heard[self._me] = _Heard(now, self._failing)
        fresh = sorted(((who, each) for who, each in self._heard.items() if now - each.at < FRESH_SECONDS), key=_newest)
        self._heard = dict(fresh[:MOST_REPLICAS])
        return {
            who: Voice(max(0.0, now - each.at), sorted(each.failing)[:_MOST_CHECKS])
            for who, each in self._heard.items()
        }

    async def _turn_for_ever(self) -> None:
        while True:
            self._changed.clear()
            try:
                await self.turn()
            except Exception as error:  # noqa: BLE001 -- a cache of the user's may raise anything
                if not self._is_blind:
                    log.warning("readiness quorum: nobody is heard (%s): %s", reason_of(error), words_of(error))
                self._is_blind = True
            else:
                self._is_blind = False
            period = _FAILING_SECONDS if self._failing else _WELL_SECONDS
            try:
                # A fleet that fails together does not write together.
                await asyncio.wait_for(self._changed.wait(), period * (0.75 + 0.5 * random.random()))  # noqa: S311
            except TimeoutError:
                continue
            await asyncio.sleep(_LOOK_SECONDS * random.random() * 5)  # noqa: S311 -- no secret


def _newest(each: tuple[str, _Heard]) -> float:
    return -each[1].at


def _is_possible(_told: Told) -> bool:
    return True
