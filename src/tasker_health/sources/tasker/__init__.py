"""The source `tasker`: Tasker's own tables in PostgreSQL, at a cost that does not grow with what ever happened.

A tally of everything up to the ids that are settled is kept in memory; each reading folds in what has become visible
since (`poll.py`), in one snapshot. Where that cannot be, everything is counted, and the facts say so. What each figure
means is in `docs/sources/tasker.md`; why the tally is exact, in `marks.py`.
"""

from __future__ import annotations

from pathlib import Path

from tasker_health.database import Database
from tasker_health.errors import ConfigurationError
from tasker_health.sources import Advice
from tasker_health.sources.tallied import TalliedSource
from tasker_health.sources.tasker.checkpoint import Checkpoint
from tasker_health.sources.tasker.indexes import missing
from tasker_health.sources.tasker.reader import Reader, State, Wanted
from tasker_health.sources.tasker.relations import KNOWN_VERSIONS

__all__ = ["KNOWN_VERSIONS", "TaskerSource", "Wanted"]


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
        super().__init__(
            name,
            database,
            counting,
            Reader(wanted),
            full_count_timeout_seconds=full_count_timeout_seconds,
            checkpoint=Checkpoint(checkpoint_file, wanted) if checkpoint_file is not None else None,
            verify=verify,
        )
        self._schema = wanted.schema

    async def advice(self, deadline_seconds: float) -> list[Advice]:
        """Return the indexes that would make counting everything faster, and are not there."""
        return await self._database.run(
            lambda connection: missing(connection, self._schema), deadline_seconds=deadline_seconds
        )
