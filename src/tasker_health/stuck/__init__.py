"""The room of what stands still: which tasks, why, since when, and what to do about each.

A cause is known from the owner of a task and a fresh heartbeat, and never from its age alone. Sources say what stands
still in their engines (`sources.Explaining`); what a dead worker of an engine without a source worked on is told from
its last heartbeat. Host, process and name of a worker are told to those only who may see details: names of hosts stand
in no anonymous answer.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET, Struct, UnsetType

from tasker_health.model import Reason
from tasker_health.work import Cause


class StuckItem(Struct, frozen=True, kw_only=True):
    """One task that stands still, as it is told; `None` is what cannot be known.

    Attributes:
        id: The engine's own.
        source: Whose task it is; `None`: its engine has no source here.
        engine: Such as `dbos`.
        name, queue, version, state: See `StuckTask`.
        cause: Why.
        since: Since when, by the clock of the engine's store.
        worker: Who has it; told to those only who may see details.
        what_to_do: In one sentence.
        confirmed: `False`: a dead worker's last heartbeat names it, and whether it still stands nobody could say.
    """

    id: str
    source: str | None
    engine: str | None
    name: str | None
    queue: str | None
    version: str | None
    state: str
    cause: Cause
    since: datetime | None
    what_to_do: str
    worker: str | UnsetType | None = UNSET
    confirmed: bool | UnsetType = UNSET


class DeadWorker(Struct, frozen=True, kw_only=True):
    """A worker that is dead now.

    Attributes:
        engine, version: What it worked for, and of which version it was.
        since: When its last heartbeat was written, by the clock of their store.
        running: Ids of what that named; `running_count` of them there were.
        id, host, pid: Who it was; told to those only who may see details.
    """

    engine: str
    version: str | None
    since: datetime
    running: list[str]
    running_count: int
    id: str | UnsetType = UNSET
    host: str | UnsetType = UNSET
    pid: int | UnsetType = UNSET


class WorkersNow(Struct, frozen=True, kw_only=True):
    """How many workers there are; `None`: heartbeats cannot be read, or nobody reads them.

    Attributes:
        alive, stalled, dead: By state; each worker is in one.
        dead_workers: Those with work first, then the newest; so many at most as tasks are told.
    """

    alive: int | None = None
    stalled: int | None = None
    dead: int | None = None
    dead_workers: list[DeadWorker] = []


class SourceAnswer(Struct, frozen=True, kw_only=True):
    """Whether a source said what stands still.

    Attributes:
        answered: Whether it did.
        reason: Why it did not; not there where it is of a kind that never says so.
    """

    answered: bool
    reason: Reason | UnsetType = UNSET


class StuckReport(Struct, frozen=True, kw_only=True):
    """What stands still, and why.

    Attributes:
        stuck: The surest cause first, then the oldest; `work.MOST_STUCK` at most.
        total: How many there are; `None`: a source could not say.
        truncated: Whether more are known than are told.
        causes: How many are known with each cause.
        workers: Who works.
        sources: Which sources have answered.
        timestamp: When they did.
    """

    stuck: list[StuckItem]
    total: int | None
    truncated: bool
    causes: dict[Cause, int]
    workers: WorkersNow
    sources: dict[str, SourceAnswer]
    timestamp: datetime
