"""The room of workers: who works, on what, and whether it still lives.

A worker writes one beat every few seconds; whoever asks reads the newest beat of each. The rules:

* The thing that must be alive writes it: the worker's own process. Its thread for that writes whatever the worker's
  loop does meanwhile, and says for how long that has not turned: who computes for ten minutes is busy, not dead.
* How old a beat is says the clock of the store. What a worker measures itself it tells as durations, so that a clock
  that is wrong by a minute changes nothing.
* A worker that ends in good order takes its row away. One whose beats stop is dead; one that beats again is not.
* A beat is one write, never waits for the work, and is dropped when the store is away: the work goes on.
* Whoever cannot read the beats knows nothing of any worker, and says so: nobody is dead.

Add a store by one file with a `Ledger`, and its place in the shared suite; an engine by one file in `engines/`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple, Protocol

from msgspec import Struct

ENGINES = frozenset({"plain", "celery", "procrastinate", "dbos", "rq", "dramatiq", "temporal"})
"""Those that can be joined."""

MOST_RUNNING = 64
"""So many tasks a beat names; all are counted."""

MOST_WORKERS = 10_000
"""So many beats are read at once."""

DEAD_AFTER_BEATS = 2.5
"""A worker is dead when its newest beat is older than so many of its periods: two are missing, and the third is late.
Whoever looks every half period so knows of it within three."""


class RunningTask(Struct, frozen=True, array_like=True, gc=False):
    """What a worker works on. In a ledger it is a list, so a new attribute stands last and has a default.

    Attributes:
        id: The engine's own.
        name: Of the handler.
        queue: Where it came from; `None`: not known.
        seconds: For how long it has been running.
        halted: Whether the process that runs it is stopped or gone, though the worker that started it lives.
    """

    id: str
    name: str
    queue: str | None
    seconds: float
    halted: bool = False


class Beat(Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """What a worker says of itself. In a ledger it is a list, so a new attribute stands last and has a default.

    Attributes:
        worker_id: Its name, unique in the ledger.
        engine: `celery`, `procrastinate`, ...; `plain` for a loop of one's own.
        host, pid: Where it runs.
        version: Of the application that it runs; `None`: not said.
        queues: Which it takes work from; none: not known, or all.
        running: What it works on, the longest first, `MOST_RUNNING` at most.
        running_count: How many that are.
        done, failed: How many it has ended well, and in error, since it began.
        lag_seconds: For how long its loop has not turned, or its last turn took.
        idle_seconds: How long ago it took work last, or began; 0 while it works.
        stalled: Whether it takes no work although some waits for it, or its loop does not turn.
        period_seconds: Beats come so often.
        up_seconds: How long ago it began.
        gap_seconds: How long before this beat its last one was taken: more than its period where the store was away.
        owner_id: What the engine calls it in its own tables, such as DBOS' executor id; `None`: as `worker_id`.
    """

    worker_id: str
    engine: str
    host: str
    pid: int
    version: str | None = None
    queues: tuple[str, ...] = ()
    running: tuple[RunningTask, ...] = ()
    running_count: int = 0
    done: int = 0
    failed: int = 0
    lag_seconds: float = 0.0
    idle_seconds: float = 0.0
    stalled: bool = False
    period_seconds: float
    up_seconds: float = 0.0
    gap_seconds: float = 0.0
    owner_id: str | None = None


class Seen(NamedTuple):
    """A beat in the ledger.

    Attributes:
        beat: What it says.
        at: When it was written, in seconds since the epoch by the clock of the store.
        age_seconds: How long ago that is, by the same clock.
    """

    beat: Beat
    at: float
    age_seconds: float


class Ledger(Protocol):
    """Where beats are kept: the newest of each worker.

    Attributes:
        name: `postgresql`, `mariadb`, `sqlite`, `redis`, ...
    """

    name: str

    async def beat(self, beat: Beat) -> None:
        """Put *beat* in the place of its worker's last one, with the store's time.

        Raises:
            LedgerFault: The store did not take it.
        """

    async def leave(self, worker_id: str) -> None:
        """Take the worker's beat away: it ends in good order.

        Raises:
            LedgerFault: The store did not answer.
        """

    async def read(self) -> Sequence[Seen]:
        """Return the newest beat of each worker, at most `MOST_WORKERS`, the newest first.

        Raises:
            LedgerFault: The store did not answer; `reason` says why. `MISSING`: nothing was ever written there.
        """

    async def close(self) -> None:
        """Give up connections; a later question opens new ones."""


class WorkerState(StrEnum):
    """Whether a worker does its work."""

    ALIVE = "alive"
    STALLED = "stalled"
    DEAD = "dead"


class Worker(NamedTuple):
    """A worker as the ledger shows it.

    Attributes:
        beat: Its newest one.
        at: When that was written, in seconds since the epoch by the clock of the store.
        age_seconds: How long ago that was.
        state: What follows from both.
    """

    beat: Beat
    at: float
    age_seconds: float
    state: WorkerState

    @property
    def owner_id(self) -> str:
        """What the engine calls it."""
        return self.beat.owner_id or self.beat.worker_id


class Workers(Struct, frozen=True):
    """Everybody who has a beat in the ledger, at one moment.

    Attributes:
        all: The newest beat first.
    """

    all: tuple[Worker, ...] = ()

    def of(self, engine: str) -> list[Worker]:
        """Return those of *engine*."""
        return [each for each in self.all if each.beat.engine == engine]

    def dead(self, engine: str | None = None) -> list[Worker]:
        """Return those that are dead, of *engine* or of all."""
        return [each for each in self.all if each.state is WorkerState.DEAD and engine in {None, each.beat.engine}]

    def serves(self, engine: str, queue: str | None = None, version: str | None = None) -> bool | None:
        """Return whether somebody alive takes work of *engine* from *queue* in *version*; `None`: cannot be known.

        It cannot where no worker of that engine was ever seen: those who work may have no heartbeat. A worker that
        names no queue takes from all of them; one that names no version may be of any.
        """
        known = self.of(engine)
        if not known:
            return None
        return any(
            each.state is not WorkerState.DEAD
            and (queue is None or not each.beat.queues or queue in each.beat.queues)
            and (version is None or each.beat.version is None or version == each.beat.version)
            for each in known
        )


class Roster(Protocol):
    """Answers who works, to whoever asks in this process: one reading of the ledger serves them all."""

    async def read(self, deadline_seconds: float) -> Workers | None:
        """Return everybody, from a reading that is at most half a period old; `None`: they cannot be known now."""

    async def glance(self) -> Workers | None:
        """Return everybody by the last reading that is not too old, while a new one is under way; waits hardly ever."""

    def forget(self) -> None:
        """Leave what is being read to the process that this one was forked from."""

    async def close(self) -> None:
        """Give up connections."""
