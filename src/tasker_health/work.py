"""The values of work beyond its states: why it stands still, how it flows, how it ended and who is to blame.

They are said by sources and by heartbeats of workers, and told in the status, at `/health/stuck` and as metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

MOST_STUCK = 100
"""So many tasks that stand still are named at once; all of them are counted."""

OUTCOME_MINUTES = 15
"""So far back a source tells how work has ended, minute by minute: what a reader misses meanwhile is not known."""

MOST_OUTCOMES = 50
"""So many kinds of work (handler, queue and version) are told apart in each minute; the rest is `other`."""


class Cause(StrEnum):
    """Why a task stands still, the surest first: a task that has two is told with the first."""

    WORKER_DEAD = "worker_dead"
    LEASE_EXPIRED = "lease_expired"
    NO_WORKER_OF_VERSION = "no_worker_of_version"
    NO_WORKER = "no_worker"
    RETRIES_EXHAUSTED = "retries_exhausted"
    WAITING_FOR_PARENT = "waiting_for_parent"
    LOCKED = "locked"
    PAUSED = "paused"
    NOT_TAKEN = "not_taken"
    RUNNING_LONG = "running_long"
    NO_PROGRESS = "no_progress"


BLOCKING = frozenset(
    {
        *(Cause.WORKER_DEAD, Cause.LEASE_EXPIRED, Cause.NO_WORKER_OF_VERSION, Cause.NO_WORKER),
        *(Cause.RETRIES_EXHAUSTED, Cause.WAITING_FOR_PARENT, Cause.LOCKED, Cause.PAUSED),
    }
)
"""Those with which a task cannot move by itself: it is `blocked`. With the others it may yet move: it is `stuck`."""


class StuckTask(Struct, frozen=True, kw_only=True):
    """One task that stands still.

    Attributes:
        id: The engine's own.
        cause: Why.
        state: `pending` or `running`; `failed`: a dead letter, which has ended and is named all the same.
        name: Of its handler or workflow.
        queue, version: Which it is in, and of which version of the application it is.
        worker: Id of the worker that has it.
        since: Since when it stands still, in seconds since the epoch by the clock of the engine's store.
    """

    id: str
    cause: Cause
    state: str
    name: str | None = None
    queue: str | None = None
    version: str | None = None
    worker: str | None = None
    since: float | None = None


class Findings(Struct, frozen=True, kw_only=True):
    """What stands still in one engine at one moment.

    Attributes:
        tasks: The oldest of each cause, `MOST_STUCK` at most.
        causes: How many there are with each cause; a cause that the source cannot see is not there.
    """

    tasks: tuple[StuckTask, ...] = ()
    causes: Mapping[Cause, int] = {}


class Outcome(Struct, frozen=True):
    """How work of one kind ended within one minute; cancelled work is not counted.

    Attributes:
        minute: Minutes since the epoch by the engine's clock.
        handler, queue, version: What ended; `None`: cannot be known, or there is none.
        completed, failed: How many.
    """

    minute: int
    handler: str | None
    queue: str | None
    version: str | None
    completed: int
    failed: int


class QueueFlow(Struct, frozen=True, kw_only=True):
    """How work flows through one queue, or through all of them; `None` is what cannot be known.

    Attributes:
        arrived: Tasks accepted within the window.
        ended: Tasks completed, failed or cancelled within the window.
        ready: Tasks that a worker could take now, and none has.
        oldest_ready_seconds: How long the oldest of those has been ready.
    """

    arrived: int | None = None
    ended: int | None = None
    ready: int | None = None
    oldest_ready_seconds: int | None = None


class FlowReport(Struct, frozen=True, kw_only=True):
    """How work flows, as it is told; `None` is what cannot be known.

    Attributes:
        arrivals_per_minute, completions_per_minute: Tasks accepted, and ended in whatever way, over the window.
        ready_tasks: Tasks that a worker could take now, and none has.
        oldest_ready_seconds: How long the oldest of those has been ready.
        seconds_to_drain: When none of them will be left, if it goes on so; `None` also where it never will.
        drains: Whether it will: more work ends than arrives, or none is ready.
    """

    arrivals_per_minute: float | None = None
    completions_per_minute: float | None = None
    ready_tasks: int | None = None
    oldest_ready_seconds: int | None = None
    seconds_to_drain: int | None = None
    drains: bool | None = None


class Blame(Struct, frozen=True, kw_only=True):
    """What fails: one kind of work within the last `OUTCOME_MINUTES`.

    Attributes:
        handler, queue, version: Which; `None`: cannot be known, or there is none.
        failed: How often it has failed.
        settled: How often it has ended well or in error.
        since: The minute since which at least half of what ended of it in each minute has failed; `None`: in the newest
            one less did.
    """

    handler: str | None
    queue: str | None
    version: str | None
    failed: int
    settled: int
    since: datetime | None


class Urgency(StrEnum):
    """How soon somebody is to know: one who is woken, or one who looks in the morning."""

    PAGE = "page"
    TICKET = "ticket"


class SloReport(Struct, frozen=True, kw_only=True):
    """How an objective is met.

    Attributes:
        objective: Share of the work that is to end well.
        burn_rates: How fast the failures that are borne are used up, by window; 1 uses them up just at the end of the
            period. `None`: not enough of the window was seen.
        budget_left: Share of the failures borne in the whole period that is left, below 0 when there were more; `None`:
            not enough of the period was seen.
        firing: How urgent it is; `None`: not at all.
        since: Since when.
        known_since: From when on anything was seen; `None`: nothing yet.
    """

    objective: float
    burn_rates: dict[str, float | None]
    budget_left: float | None
    firing: Urgency | None
    since: datetime | None
    known_since: datetime | None
