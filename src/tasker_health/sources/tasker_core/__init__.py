"""The source `tasker_core`: the newer Tasker, written in Rust, on PostgreSQL.

Its own function `get_system_health_counts()` counts tasks and steps by state; what stands still, flows and has ended is
read beside it, in one snapshot. What each figure means is in `docs/engines/tasker-core.md`. The function looks at every
task there is: it is asked for a twentieth of the time at most, and the figures say how old they are (`tallied.py`).
Nobody tells workers of tasker-core by a heartbeat: who is dead is not known.
"""

from __future__ import annotations

import math
import time

from tasker_health.database import Database
from tasker_health.errors import ConfigurationError, DatabaseFault, SourceFault
from tasker_health.model import Facts, Reason
from tasker_health.settings import Settings, SourceSettings
from tasker_health.sources.place import counting_at, database_at, url_of
from tasker_health.sources.tallied import TalliedSource
from tasker_health.sources.tasker_core.reader import Reader, Wanted
from tasker_health.work import Findings
from tasker_health.workers import Roster

__all__ = ["TaskerCoreSource", "Wanted", "source_of"]

_QUICK_SECONDS = 0.1
"""A count that takes no longer is made for each reading."""


class TaskerCoreSource(TalliedSource[None]):
    """Reads the tables of tasker-core.

    Args:
        name: Its name in the answer.
        database: Where they are, over a connection of this source's own.
        counting: The same over another connection, for counting everything, which may take long.
        wanted: What is read.
        full_count_timeout_seconds: Longest time of one full count.

    Attributes:
        roster: Not asked.

    Raises:
        ConfigurationError: tasker-core does not run on this kind of database.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        counting: Database,
        wanted: Wanted,
        *,
        full_count_timeout_seconds: float = 300,
    ) -> None:
        if database.dialect != "postgresql":
            raise ConfigurationError(f"sources.{name}.url: tasker-core runs on postgresql, not {database.dialect}")
        self.roster: Roster | None = None
        self._tasker = Reader(wanted)
        self._lasted_seconds = 0.0
        super().__init__(
            name,
            database,
            counting,
            self._tasker,
            full_count_timeout_seconds=full_count_timeout_seconds,
            verify=False,
        )

    async def read(self, deadline_seconds: float) -> Facts:
        """Return the facts of one snapshot; where counting takes long, the latest with their age. See `Source.read`."""
        if self._lasted_seconds > _QUICK_SECONDS:
            facts = await super().read(deadline_seconds)
            self._lasted_seconds = self._count_seconds
            return facts
        began, self._lasted_seconds = time.monotonic(), math.inf
        try:
            counted = await self._database.run(
                lambda connection: self._tasker.count(connection, deadline_seconds), deadline_seconds=deadline_seconds
            )
        except DatabaseFault as fault:
            if fault.reason is not Reason.TIMEOUT:
                self._lasted_seconds = 0.0
            raise
        except SourceFault:
            self._lasted_seconds = 0.0
            raise
        self._lasted_seconds = time.monotonic() - began
        self._latest = began, counted.facts
        return counted.facts

    async def stuck(self, deadline_seconds: float, most: int) -> Findings:
        """Return what stands still, and why. See `Explaining.stuck`."""
        return await self._database.run(
            lambda connection: self._tasker.explain(connection, deadline_seconds, most),
            deadline_seconds=deadline_seconds,
        )


def source_of(name: str, wanted: SourceSettings, settings: Settings) -> TaskerCoreSource:
    """Return the source *name* that the settings ask for.

    Raises:
        ConfigurationError: There is no URL, it is not one, or tasker-core does not run on this kind of database.
    """
    url = url_of(settings, name, wanted)
    return TaskerCoreSource(
        name,
        database_at(settings, url),
        counting_at(settings, wanted, url),
        Wanted(
            schema=wanted.schema_name or "tasker",
            window_seconds=settings.health.metrics_window_seconds,
            stuck_after_seconds=settings.health.stuck_after_seconds,
        ),
        full_count_timeout_seconds=wanted.full_count_timeout_seconds,
    )
