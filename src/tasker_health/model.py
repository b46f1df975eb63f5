"""The values that flow through Tasker Health: frozen, typed, encoded as the contract says.

Encoding is msgspec's: a `datetime` in UTC becomes RFC 3339 with `Z`, a field that is `UNSET` is left out,
`None` becomes `null` and means "cannot be known".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum

from msgspec import UNSET, Struct, UnsetType

from tasker_health.work import Blame, Cause, FlowReport, Outcome, QueueFlow, SloReport


class Reason(StrEnum):
    """Why a check is not `ok`: the closed list that may leave in an anonymous answer."""

    TIMEOUT = "timeout"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    AUTHENTICATION_FAILED = "authentication_failed"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    POOL_EXHAUSTED = "pool_exhausted"
    READ_ONLY = "read_only"
    MISSING = "missing"
    PENDING = "pending"
    AHEAD = "ahead"
    UNKNOWN_VERSION = "unknown_version"
    INVALID = "invalid"
    STALLED = "stalled"
    DRAINING = "draining"
    NOT_RUN = "not_run"
    ERROR = "error"


class CheckStatus(StrEnum):
    """How one check ended; `unknown` means that it has not run yet."""

    OK = "ok"
    DEGRADED = "degraded"
    ERROR = "error"
    UNKNOWN = "unknown"


class SystemStatus(StrEnum):
    """How the whole system is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class StatusReason(StrEnum):
    """Why the system is not `healthy`."""

    SOURCE_UNREADABLE = "source_unreadable"
    FACTS_STALE = "facts_stale"
    FAILURE_RATIO = "failure_ratio"
    BLOCKED_TASKS = "blocked_tasks"
    STUCK_TASKS = "stuck_tasks"
    NO_PROGRESS = "no_progress"
    CONNECTIONS = "connections"
    NO_SOURCE = "no_source"
    ERROR_BUDGET = "error_budget"


_SEVERITY = {SystemStatus.HEALTHY: 0, SystemStatus.DEGRADED: 1, SystemStatus.UNHEALTHY: 2}


def worst(statuses: Iterable[SystemStatus]) -> SystemStatus:
    """Return the worst of *statuses*; `healthy` when there are none."""
    return max(statuses, key=_SEVERITY.__getitem__, default=SystemStatus.HEALTHY)


class CheckResult(Struct, frozen=True, kw_only=True):
    """What one check found; `reason` is there whenever `status` is not `ok`."""

    status: CheckStatus
    response_time_ms: int | UnsetType = UNSET
    reason: Reason | UnsetType = UNSET


class Liveness(Struct, frozen=True, kw_only=True):
    """Whether this process should be left running."""

    alive: bool
    timestamp: datetime
    service: str
    reason: str | UnsetType = UNSET
    stalled_seconds: float | UnsetType = UNSET


class Readiness(Struct, frozen=True, kw_only=True):
    """Whether this process should get traffic now."""

    ready: bool
    failed_checks: list[str] | UnsetType = UNSET
    degraded_checks: list[str] | UnsetType = UNSET
    checks: dict[str, CheckResult]
    timestamp: datetime


class Startup(Struct, frozen=True, kw_only=True):
    """Whether this process has finished starting."""

    started: bool
    waiting_for: list[str] | UnsetType = UNSET
    timestamp: datetime


class SystemHealth(Struct, frozen=True, kw_only=True):
    """How many tasks there are in each state; `None` is a figure that cannot be known."""

    overall_status: SystemStatus
    total_tasks: int | None = None
    pending_tasks: int | None = None
    running_tasks: int | None = None
    completed_tasks: int | None = None
    failed_tasks: int | None = None
    cancelled_tasks: int | None = None
    other_tasks: int | None = None
    blocked_tasks: int | None = None
    stuck_tasks: int | None = None
    retry_queue_size: int | None = None
    in_backoff: int | None = None


class PerformanceMetrics(Struct, frozen=True, kw_only=True):
    """How fast and how well tasks and steps ended within the window."""

    avg_task_completion_time_ms: int | None = None
    avg_step_completion_time_ms: int | None = None
    retry_success_rate: float | None = None
    failure_ratio: float | None = None
    settled_tasks: int | None = None


class Connections(Struct, frozen=True, kw_only=True):
    """How many connections the database server has open, of how many that it allows."""

    active_connections: int | None = None
    maximum_connections: int | None = None
    connection_ratio: float | None = None


class Durations(Struct, frozen=True):
    """How many things took how long altogether, in milliseconds; sums add up over sources, averages do not."""

    count: int
    total_ms: int


class CountingMethod(StrEnum):
    """How the tasks of a source are counted."""

    TALLY = "tally"
    FULL_COUNT = "full_count"


class Facts(Struct, frozen=True, kw_only=True):
    """What one source knows at one moment; `None` is what it cannot know.

    Attributes:
        pending, running, completed, failed, cancelled, other: Tasks by state; every task is in exactly one.
        blocked, stuck: Tasks of `pending` and `running` that cannot move, and that have not moved for long.
        retry_queue: Failed steps that will be tried again; `in_backoff` of them are not due yet.
        task_time, step_time: Of tasks and steps completed within the window.
        window_completed, window_failed: Tasks that ended within the window.
        retries_settled, retries_succeeded: Steps that had failed before and settled within the window.
        tasks_by_state, steps_by_state: By the engine's own names of states.
        oldest_pending_seconds: How long the oldest pending task has been waiting.
        groups: Tasks by state for each name of a group, where that was asked for.
        method: How they were counted, where there is more than one way.
        drift: By how much the latest verification found a tally wrong; it must be 0.
        age_seconds: How old they were already when they were answered.
        causes: How many tasks stand still for each cause that this source can see; see `work.Findings`.
        flow: How work flows through the whole engine; `queues`: through each of its queues.
        outcomes: How work ended, minute by minute, in the last `work.OUTCOME_MINUTES`.
    """

    pending: int
    running: int
    completed: int
    failed: int
    cancelled: int
    other: int
    blocked: int | None
    stuck: int | None
    retry_queue: int | None
    in_backoff: int | None
    task_time: Durations | None
    step_time: Durations | None
    window_completed: int | None
    window_failed: int | None
    retries_settled: int | None
    retries_succeeded: int | None
    connections: Connections = Connections()
    tasks_by_state: dict[str, int] | None = None
    steps_by_state: dict[str, int] | None = None
    oldest_pending_seconds: int | None = None
    groups: Mapping[str, Mapping[str, int]] | None = None
    method: CountingMethod | None = None
    drift: int | None = None
    age_seconds: float = 0
    causes: Mapping[Cause, int] | None = None
    flow: QueueFlow | None = None
    queues: Mapping[str, QueueFlow] | None = None
    outcomes: tuple[Outcome, ...] | None = None

    @property
    def total(self) -> int:
        """Every task known."""
        return self.pending + self.running + self.completed + self.failed + self.cancelled + self.other


class CacheInfo(Struct, frozen=True, kw_only=True):
    """Where this very response comes from."""

    cached: bool
    cache_expires_at: datetime | None
    age_seconds: int
    stale: bool | UnsetType = UNSET


class SourceReport(Struct, frozen=True, kw_only=True):
    """The figures of one source, read at `timestamp`."""

    status: SystemStatus
    timestamp: datetime
    reasons: list[StatusReason]
    system_health: SystemHealth
    performance_metrics: PerformanceMetrics
    reason: Reason | UnsetType = UNSET
    """Why the source could not be read the last time it was tried."""
    tasks_by_state: dict[str, int] | UnsetType = UNSET
    steps_by_state: dict[str, int] | UnsetType = UNSET
    oldest_pending_seconds: int | UnsetType | None = UNSET
    groups: Mapping[str, Mapping[str, int]] | UnsetType = UNSET
    method: CountingMethod | UnsetType = UNSET
    drift: int | UnsetType = UNSET
    causes: Mapping[Cause, int] | UnsetType = UNSET
    """How many tasks stand still for each cause that the source can see; not there where it can see none."""
    flow: FlowReport | UnsetType = UNSET
    queues: Mapping[str, FlowReport] | UnsetType = UNSET
    blame: list[Blame] | UnsetType = UNSET
    """What fails, the worst first; not there where nothing has failed lately, or that is not known."""


class WorkerCounts(Struct, frozen=True, kw_only=True):
    """How many workers there are, by their heartbeats; see `workers.WorkerState`."""

    alive: int = 0
    stalled: int = 0
    dead: int = 0


class WorkerSummary(WorkerCounts, frozen=True, kw_only=True):
    """How many there are of all engines together, and of each."""

    by_engine: dict[str, WorkerCounts]


class StatusReport(Struct, frozen=True, kw_only=True):
    """How the whole system is."""

    status: SystemStatus
    reasons: list[StatusReason]
    system_health: SystemHealth
    performance_metrics: PerformanceMetrics
    database: Connections
    sources: dict[str, SourceReport]
    timestamp: datetime
    cache_info: CacheInfo
    slos: dict[str, SloReport] | UnsetType = UNSET
    """How each objective is met; not there where there is none."""
    workers: WorkerSummary | UnsetType | None = UNSET
    """Who works; `None`: it cannot be known now; not there where nobody writes or reads heartbeats."""


class SourceDetail(Struct, frozen=True, kw_only=True):
    """What this process knows of one source beyond the figures; it may name hosts and users.

    Attributes:
        error: What its database or driver said when it could not be read the last time; `None`: it could be.
        read_time_ms: How long the last reading took.
    """

    error: str | None
    read_time_ms: int | None


class DetailedStatusReport(StatusReport, frozen=True, kw_only=True):
    """The same for somebody known who has the permission: text that stands in no anonymous answer."""

    details: dict[str, SourceDetail]


class Problem(Struct, frozen=True, kw_only=True):
    """The body of every answer that is not a report: 401, 403, 404, 405 and 500."""

    error: str
    message: str
