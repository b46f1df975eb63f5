"""The source `dbos`: DBOS 3.x on SQLite and PostgreSQL, at a cost that does not grow with what ever happened.

What its tables tell (DBOS documentation, "System tables", and its schema as of migration 125):

* `workflow_status` is a task: ENQUEUED and DELAYED are pending, PENDING is running, SUCCESS completed, ERROR and
  MAX_RECOVERY_ATTEMPTS_EXCEEDED failed, CANCELLED cancelled.
* `operation_outputs` is a step; DBOS' own operations (`DBOS.sleep`, ...) and the starts of child workflows are not.
  The attempts of one step are the rows of one function name in one workflow, in the order of `function_id`.
* A failed attempt will be tried again when its workflow is alive and has recorded no later step. It is in backoff
  while a durable sleep recorded after it has not ended: such a row holds its wake time from its beginning.
* Retention may delete a task before its steps: those count in the average of steps, and in nothing else.
* A completion that lies ahead of the database's clock, because a worker's is ahead, is within the window.
* DBOS keeps no heartbeat. Whether a worker is dead is known by those of ours: without them `blocked` is `None`, and
  work that a dead worker left behind shows as `stuck`.
* A dead letter (MAX_RECOVERY_ATTEMPTS_EXCEEDED) has failed, and blocks nothing; `stuck` names it all the same.

DBOS changes tasks in place. Those that are alive are counted each time, by partial indexes of DBOS; those that have
ended, and steps, are kept in a tally (`tally.py`) by the times at which they were written (`postgresql.py`,
`sqlite.py`). That the two together are as many as there are tasks shows what the tally cannot see.
"""

from __future__ import annotations

from tasker_health.database import Database
from tasker_health.errors import ConfigurationError
from tasker_health.model import Facts
from tasker_health.settings import Settings, SourceSettings
from tasker_health.sources.dbos.reader import Reader, State, Wanted
from tasker_health.sources.dbos.tables import DIALECTS, KNOWN_VERSIONS, table_names
from tasker_health.sources.place import counting_at, database_at, url_of
from tasker_health.sources.tallied import TalliedSource
from tasker_health.work import Findings
from tasker_health.workers import Roster

__all__ = ["KNOWN_VERSIONS", "DbosSource", "source_of", "table_names"]

_ROSTER_SHARE = 0.25
"""So much of the time at most is spent on asking who works."""


class DbosSource(TalliedSource[State]):
    """Reads the tables of DBOS.

    Args:
        name: Its name in the answer.
        database: Where DBOS keeps its system tables, over a connection of this source's own.
        counting: The same over another connection, for counting everything; `None`: one is made.
        schema: PostgreSQL schema of the tables.
        window_seconds: Window of averages and ratios.
        stuck_after_seconds: A running task without a recorded change for so long is stuck.
        attempts_recorded: Whether every attempt is a step of its own; if not, the retry figures are `None`.
        full_count_timeout_seconds: Longest time of one full count.

    Attributes:
        roster: Who works; `None`: nobody can know.

    Raises:
        ConfigurationError: DBOS does not run on this kind of database.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        counting: Database | None = None,
        *,
        schema: str = "dbos",
        window_seconds: float = 3600,
        stuck_after_seconds: float = 900,
        attempts_recorded: bool = True,
        full_count_timeout_seconds: float = 300,
    ) -> None:
        if database.dialect not in DIALECTS:
            raise ConfigurationError(f"sources.{name}.url: DBOS runs on sqlite and postgresql, not {database.dialect}")
        if counting is None:
            url = database.url.render_as_string(hide_password=False)
            seconds = full_count_timeout_seconds
            counting = Database(url, statement_timeout_seconds=seconds, pool_size=1, checkout_timeout_seconds=seconds)
        wanted = Wanted(
            database.dialect,
            schema,
            window_ms=round(window_seconds * 1000),
            stuck_ms=round(stuck_after_seconds * 1000),
            retries=attempts_recorded,
        )
        self.roster: Roster | None = None
        self._dbos = Reader(wanted)
        super().__init__(
            name,
            database,
            counting,
            self._dbos,
            full_count_timeout_seconds=full_count_timeout_seconds,
        )

    async def read(self, deadline_seconds: float) -> Facts:
        """Return the facts of one snapshot. See `Source.read`."""
        await self._ask_who_works(deadline_seconds)
        return await super().read(deadline_seconds)

    async def stuck(self, deadline_seconds: float, most: int) -> Findings:
        """Return what stands still, and why; dead letters are told as `failed`. See `Explaining.stuck`."""
        await self._ask_who_works(deadline_seconds)
        return await self._database.run(
            lambda connection: self._dbos.explain(connection, deadline_seconds, most),
            deadline_seconds=deadline_seconds,
        )

    async def _ask_who_works(self, deadline_seconds: float) -> None:
        """Ask before the snapshot: whoever has taken work since is not known to be anything."""
        roster = self.roster
        self._dbos.workers = None if roster is None else await roster.read(_ROSTER_SHARE * deadline_seconds)


def source_of(name: str, wanted: SourceSettings, settings: Settings) -> DbosSource:
    """Return the source *name* that the settings ask for.

    Raises:
        ConfigurationError: There is no URL, it is not one, or DBOS does not run on this kind of database.
    """
    url = url_of(settings, name, wanted)
    return DbosSource(
        name,
        database_at(settings, url),
        counting_at(settings, wanted, url),
        schema=wanted.schema_name or "dbos",
        window_seconds=settings.health.metrics_window_seconds,
        stuck_after_seconds=settings.health.stuck_after_seconds,
        attempts_recorded=wanted.attempts_recorded,
        full_count_timeout_seconds=wanted.full_count_timeout_seconds,
    )
