"""The source `tasker`: Tasker's own tables in PostgreSQL, at a cost that does not grow with what ever happened.

A tally of everything up to the ids that are settled is kept in memory; each reading folds in what has become visible
since (`poll.py`), in one snapshot. Where that cannot be, everything is counted, and the facts say so. What each figure
means is in `docs/engines/tasker.md`; why the tally is exact, in `marks.py`.
"""

from __future__ import annotations

from pathlib import Path

from tasker_health.database import Database
from tasker_health.errors import ConfigurationError
from tasker_health.settings import Settings, SourceSettings
from tasker_health.sources import Advice
from tasker_health.sources.place import counting_at, database_at, url_of
from tasker_health.sources.tallied import TalliedSource
from tasker_health.sources.tasker.checkpoint import Checkpoint
from tasker_health.sources.tasker.indexes import missing
from tasker_health.sources.tasker.reader import Reader, State, Wanted
from tasker_health.sources.tasker.relations import KNOWN_VERSIONS
from tasker_health.work import Findings
from tasker_health.workers import Roster

__all__ = ["KNOWN_VERSIONS", "TaskerSource", "Wanted", "source_of"]


class TaskerSource(TalliedSource[State]):
    """Reads the tables of Tasker.

    Args:
        name: Its name in the answer.
        database: Where they are, over a connection of this source's own.
        counting: The same over another connection, for counting everything, which may take long.
        wanted: What is read.
        full_count_timeout_seconds: Longest time of one full count.
        checkpoint_file: Where the tally waits while nothing runs; `None`: nowhere.
        verify: Whether the tally is verified in the background from time to time, without a suspicion.

    Attributes:
        roster: Not asked: workers of Tasker are not Python, and no heartbeat of ours is theirs.

    Raises:
        ConfigurationError: Tasker does not run on this kind of database.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        counting: Database,
        wanted: Wanted,
        *,
        full_count_timeout_seconds: float = 300,
        checkpoint_file: Path | None = None,
        verify: bool = True,
    ) -> None:
        if database.dialect != "postgresql":
            raise ConfigurationError(f"sources.{name}.url: Tasker runs on postgresql, not {database.dialect}")
        self.roster: Roster | None = None
        self._tasker = Reader(wanted)
        super().__init__(
            name,
            database,
            counting,
            self._tasker,
            full_count_timeout_seconds=full_count_timeout_seconds,
            checkpoint=Checkpoint(checkpoint_file, wanted) if checkpoint_file is not None else None,
            verify=verify,
        )
        self._schema = wanted.schema

    async def stuck(self, deadline_seconds: float, most: int) -> Findings:
        """Return what stands still, and why. See `Explaining.stuck`."""
        state = self._state
        return await self._database.run(
            lambda connection: self._tasker.explain(connection, state, deadline_seconds, most),
            deadline_seconds=deadline_seconds,
        )

    async def advice(self, deadline_seconds: float) -> list[Advice]:
        """Return the indexes that would make counting everything faster, and are not there."""
        return await self._database.run(
            lambda connection: missing(connection, self._schema), deadline_seconds=deadline_seconds
        )


def source_of(name: str, wanted: SourceSettings, settings: Settings) -> TaskerSource:
    """Return the source *name* that the settings ask for.

    Raises:
        ConfigurationError: There is no URL, it is not one, or Tasker does not run on this kind of database.
    """
    url = url_of(settings, name, wanted)
    return TaskerSource(
        name,
        database_at(settings, url),
        counting_at(settings, wanted, url),
        Wanted(
            schema=wanted.schema_name or "public",
            window_seconds=settings.health.metrics_window_seconds,
            stuck_after_seconds=settings.health.stuck_after_seconds,
            breakdown=wanted.breakdown,
            most_groups=wanted.most_groups,
        ),
        full_count_timeout_seconds=wanted.full_count_timeout_seconds,
        checkpoint_file=Path(wanted.checkpoint_file) if wanted.checkpoint_file else None,
        verify=wanted.verify,
    )
