"""The source `rq`: RQ 3 in a Redis or Valkey, at a cost that does not grow with its history.

What its keys tell is in `docs/engines/rq.md`. In short: a job is pending in a queue, deferred or scheduled, running
among the started, completed among the finished, failed and cancelled in the registries of those names. One script that
only reads sees one moment; of what is long it takes the length. What has ended is read once, while RQ keeps it.
"""

from __future__ import annotations

import asyncio
import os
import re

from msgspec import Struct

from tasker_health.errors import SettingsError, SourceFault
from tasker_health.model import Facts, Reason
from tasker_health.settings import Settings, SourceSettings
from tasker_health.sources.place import url_of
from tasker_health.sources.rq.alive import Alive
from tasker_health.sources.rq.ended import EndedJobs
from tasker_health.sources.rq.figures import facts_of
from tasker_health.sources.rq.look import Asker, Look
from tasker_health.work import Findings
from tasker_health.workers import Roster, Workers

__all__ = ["RqSource", "Wanted", "source_of"]

_ROSTER_SHARE = 0.25
"""So much of the time at most is spent on asking who works."""

_LONGEST_SECONDS = 60.0
_PREFIX = re.compile(r"[A-Za-z0-9_.:{}-]+")


class Wanted(Struct, frozen=True):
    """What is asked for.

    Attributes:
        prefix: Of RQ's keys.
        window_seconds: Of averages and ratios.
        stuck_after_seconds: Work without a change for so long is stuck.
    """

    prefix: str = "rq"
    window_seconds: float = 3600
    stuck_after_seconds: float = 900


class RqSource:
    """Reads the keys of RQ.

    Args:
        name: Its name in the answer.
        url: Of the Redis.
        wanted: What is read.

    Attributes:
        roster: Who works; `None`: only RQ's own records of workers tell.

    Raises:
        ConfigurationError: The URL is not one, or redis-py is not installed.
    """

    def __init__(self, name: str, url: str, wanted: Wanted) -> None:
        from tasker_health.cache.redis import redis_connection_at

        self.name = name
        self.roster: Roster | None = None
        self._wanted = wanted
        try:
            redis = redis_connection_at(url, timeout_seconds=_LONGEST_SECONDS)
        except SettingsError as error:
            raise SettingsError(f"sources.{name}.url", "***", error.allowed) from None
        self._asker = Asker(redis, wanted.prefix, wanted.window_seconds)
        self._ended = EndedJobs(wanted.window_seconds)
        self._turn: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def read(self, deadline_seconds: float) -> Facts:
        """Return the facts of one moment. See `Source.read`."""
        try:
            async with asyncio.timeout(deadline_seconds), self._lock():
                workers = await self._who_works(deadline_seconds)
                look = await self._asker.look()
                await self._ended.take(look, self._asker)
                return facts_of(look, self._alive(look, workers), self._ended, self._wanted.window_seconds)
        except TimeoutError:
            raise SourceFault(Reason.TIMEOUT, "Redis did not answer in time") from None

    async def stuck(self, deadline_seconds: float, most: int) -> Findings:
        """Return what stands still, and why. See `Explaining.stuck`."""
        try:
            async with asyncio.timeout(deadline_seconds):
                workers = await self._who_works(deadline_seconds)
                alive = self._alive(await self._asker.look(), workers)
        except TimeoutError:
            raise SourceFault(Reason.TIMEOUT, "Redis did not answer in time") from None
        return Findings(tasks=tuple(alive.tasks(most)), causes=alive.causes)

    async def close(self) -> None:
        """Close the connection."""
        await self._asker.close()

    def _alive(self, look: Look, workers: Workers | None) -> Alive:
        return Alive(look, workers, self._wanted.stuck_after_seconds, self._ended.longest_usual)

    async def _who_works(self, deadline_seconds: float) -> Workers | None:
        """Ask before the look: whoever has taken a job since is not known to be anything."""
        return None if self.roster is None else await self.roster.read(_ROSTER_SHARE * deadline_seconds)

    def _lock(self) -> asyncio.Lock:
        """Return what lets one reading at a time remember what has ended, in the loop that runs."""
        loop = asyncio.get_running_loop()
        if self._turn is None or self._loop is not loop:
            self._turn, self._loop = asyncio.Lock(), loop
        return self._turn


def source_of(name: str, wanted: SourceSettings, settings: Settings) -> RqSource:
    """Return the source *name* that the settings ask for.

    Raises:
        ConfigurationError: There is no URL, it is not one of Redis, or RQ cannot have what is set.
    """
    if wanted.schema_name is not None:
        raise SettingsError(
            f"sources.{name}.schema",
            repr(wanted.schema_name),
            "leave it out: RQ has none; its keys begin with RQ_KEY_PREFIX of the environment, or rq",
        )
    prefix = os.environ.get("RQ_KEY_PREFIX", "rq")
    if not _PREFIX.fullmatch(prefix):
        raise SettingsError("RQ_KEY_PREFIX", repr(prefix), "letters, digits and _ . : - { }, as RQ itself has it")
    return RqSource(
        name,
        url_of(settings, name, wanted),
        Wanted(prefix, settings.health.metrics_window_seconds, settings.health.stuck_after_seconds),
    )
