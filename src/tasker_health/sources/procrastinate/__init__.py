"""The source `procrastinate`: Procrastinate 3.4 to 3.10 on PostgreSQL, at a cost that does not grow with its history.

What its tables tell is in `docs/engines/procrastinate.md`. In short:

* `procrastinate_jobs` is a task: `todo` is pending, or running where it was tried before (it has begun, has not ended,
  and waits in the retry queue); `doing` is running, `succeeded` completed, `failed` and `aborted` failed, `cancelled`
  cancelled. Each attempt is a step.
* `procrastinate_events` is a log that is only added to: when jobs were deferred, started, retried and ended. It is
  folded by ids that are settled (`marks.py`); every end counts, also that of a job that was retried by hand afterwards.
* What is alive is counted each time, by partial indexes of Procrastinate. That it and what has ended are as many as
  there are jobs shows what no event tells.
"""

from __future__ import annotations

from tasker_health.database import Database
from tasker_health.errors import ConfigurationError
from tasker_health.model import Facts
from tasker_health.settings import Settings, SourceSettings
from tasker_health.sources.place import counting_at, database_at, url_of
from tasker_health.sources.procrastinate.reader import Reader, State, Wanted
from tasker_health.sources.tallied import TalliedSource
from tasker_health.work import Findings
from tasker_health.workers import Roster

__all__ = ["ProcrastinateSource", "Wanted", "source_of"]

_ROSTER_SHARE = 0.25
"""So much of the time at most is spent on asking who works."""


class ProcrastinateSource(TalliedSource[State]):
    """Reads the tables of Procrastinate.

    Args:
        name: Its name in the answer.
        database: Where they are, over a connection of this source's own.
        counting: The same over another connection, for counting everything, which may take long.
        wanted: What is read.
        full_count_timeout_seconds: Longest time of one full count.
        verify: Whether the tally is verified in the background from time to time.

    Attributes:
        roster: Who works; `None`: only Procrastinate's own heartbeats tell.

    Raises:
        ConfigurationError: Procrastinate does not run on this kind of database.
    """

    def __init__(
        self,
        name: str,
        database: Database,
        counting: Database,
        wanted: Wanted,
        *,
        full_count_timeout_seconds: float = 300,
        verify: bool = True,
    ) -> None:
        if database.dialect != "postgresql":
            raise ConfigurationError(f"sources.{name}.url: Procrastinate runs on postgresql, not {database.dialect}")
        self.roster: Roster | None = None
        self._procrastinate = Reader(wanted)
        super().__init__(
            name,
            database,
            counting,
            self._procrastinate,
            full_count_timeout_seconds=full_count_timeout_seconds,
            verify=verify,
        )

    async def read(self, deadline_seconds: float) -> Facts:
        """Return the facts of one snapshot. See `Source.read`."""
        await self._ask_who_works(deadline_seconds)
        return await super().read(deadline_seconds)

    async def stuck(self, deadline_seconds: float, most: int) -> Findings:
        """Return what stands still, and why. See `Explaining.stuck`."""
        await self._ask_who_works(deadline_seconds)
        state = self._state
        return await self._database.run(
            lambda connection: self._procrastinate.explain(connection, state, deadline_seconds, most),
            deadline_seconds=deadline_seconds,
        )

    async def _ask_who_works(self, deadline_seconds: float) -> None:
        """Ask before the snapshot: whoever has taken a job since is not known to be anything."""
        roster = self.roster
        self._procrastinate.workers = None if roster is None else await roster.read(_ROSTER_SHARE * deadline_seconds)


def source_of(name: str, wanted: SourceSettings, settings: Settings) -> ProcrastinateSource:
    """Return the source *name* that the settings ask for.

    Raises:
        ConfigurationError: There is no URL, it is not one, or Procrastinate does not run on this kind of database.
    """
    url = url_of(settings, name, wanted)
    return ProcrastinateSource(
        name,
        database_at(settings, url),
        counting_at(settings, wanted, url),
        Wanted(
            schema=wanted.schema_name or "public",
            window_seconds=settings.health.metrics_window_seconds,
            stuck_after_seconds=settings.health.stuck_after_seconds,
        ),
        full_count_timeout_seconds=wanted.full_count_timeout_seconds,
        verify=wanted.verify,
    )
