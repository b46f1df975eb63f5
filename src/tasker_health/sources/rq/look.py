"""One look at RQ's keys, decoded; and how it is asked for, within a deadline."""

from __future__ import annotations

import asyncio
import math
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from tasker_health.cache.redis import RedisCache
from tasker_health.errors import CacheFault, SourceFault
from tasker_health.model import Reason
from tasker_health.sources.rq.scripts import ENDED, FIRST_JOBS, LOOK, MOST_ENDED, MOST_JOBS, MOST_QUEUES

STATUSES = frozenset(
    {
        *("created", "queued", "finished", "failed", "started", "deferred", "scheduled", "stopped", "canceled"),
        *("rate_limited", "ready_to_enqueue"),
    }
)
"""Those of RQ 3; the empty one is a job that has been deleted meanwhile."""

KNOWN_MAJOR = "3"


class Job(Struct, frozen=True, array_like=True, gc=False):
    """What a job's hash tells; an empty string is what it does not have."""

    status: str
    created_at: str
    enqueued_at: str
    started_at: str
    ended_at: str
    worker_name: str
    function: str
    repeats_left: str
    number_of_retries: str


class Queue(Struct, frozen=True, array_like=True, gc=False):
    """How many jobs each list and registry of a queue has; of those that have ended, without what has expired."""

    name: str
    queued: int
    started: int
    deferred: int
    scheduled: int
    due: int
    ready: int
    finished: int
    failed: int
    canceled: int


class Waiting(Struct, frozen=True, array_like=True):
    """A job that waits, or was cancelled within the window.

    Attributes:
        score: In seconds since the epoch: when it is due, since when it is deferred, or when it was cancelled.
        mark: Deferred: whether it waits for nobody who could still end well. Else: whether it is among the finished,
            too: it is to be repeated.
    """

    id: str
    queue: str
    score: str
    mark: int
    job: Job


class Started(Struct, frozen=True, array_like=True):
    """An execution in a queue's registry of those that have begun.

    Attributes:
        lease: Until when it is promised to be worked on.
        execution: Its id.
        lives: Whether RQ's own record of its worker is there.
        mark: As of `Waiting`.
    """

    id: str
    queue: str
    lease: str
    execution: str
    lives: int
    mark: int
    job: Job


class EndedId(Struct, frozen=True, array_like=True, gc=False):
    """An entry of a registry of those that have ended: `finished` or `failed`, and when it expires."""

    id: str
    queue: str
    kind: str
    score: str


class RqWorker(Struct, frozen=True, array_like=True, gc=False):
    """What RQ itself keeps of a worker; all is empty when its record has expired."""

    name: str
    last_heartbeat: str
    death: str
    queues: str
    version: str

    @property
    def lives(self) -> bool:
        """Whether its record is there and it has not said goodbye."""
        return bool(self.last_heartbeat) and not self.death


class Look(Struct, frozen=True):
    """Everything at one moment; a list of jobs is complete where it is as long as the queues say."""

    now: float
    is_suspended: bool
    limited: int
    queues: list[Queue]
    queued: list[Waiting]
    taken: list[Waiting]
    scheduled: list[Waiting]
    deferred: list[Waiting]
    canceled: list[Waiting]
    started: list[Started]
    ended: list[EndedId]
    workers: list[RqWorker]


_KINDS = (Queue, *[Waiting] * 5, Started, EndedId, RqWorker)


class Asker:
    """Asks over one connection.

    Args:
        redis: The connection, of its own.
        prefix: Of RQ's keys.
        window_seconds: So far back it is told what was cancelled.
    """

    def __init__(self, redis: RedisCache, prefix: str, window_seconds: float) -> None:
        self._redis = redis
        self._window_seconds = window_seconds
        self._prefix = prefix
        self._decoders = [msgspec.json.Decoder(list[kind]) for kind in _KINDS]  # type: ignore[valid-type]
        self._jobs = msgspec.json.Decoder(list[Job])

    async def look(self) -> Look:
        """Return what there is.

        Raises:
            SourceFault: Redis did not answer, or what it has is not RQ's as it is known.
        """
        limits = (MOST_JOBS, FIRST_JOBS, MOST_QUEUES, MOST_ENDED, self._window_seconds)
        match await self._ask(LOOK, *map(str, limits)):
            case [bytes(now), int(suspended), int(limited), *parts] if len(parts) == len(_KINDS):
                decoded: list[Any] = []
                for decoder, part in zip(self._decoders, parts, strict=True):
                    decoded.append(_decoded(decoder, part))
                    await asyncio.sleep(0)  # others have a turn
                look = Look(float(now), bool(suspended), limited, *decoded)
                guard_version(look)
                return look
        raise SourceFault(Reason.INVALID, "what answers is no Redis")

    async def jobs(self, ids: list[str]) -> list[Job]:
        """Return the jobs *ids*, in their order.

        Raises:
            SourceFault: As `look`.
        """
        jobs: list[Job] = _decoded(self._jobs, await self._ask(ENDED, *ids))
        if len(jobs) != len(ids):
            raise SourceFault(Reason.INVALID, "what answers is no Redis")
        return jobs

    async def close(self) -> None:
        """Close the connection."""
        await self._redis.close()

    async def _ask(self, script: str, *words: str) -> Any:
        try:
            return await self._redis.ask(lambda connection: connection.ask("EVAL", script, 0, self._prefix, *words))
        except CacheFault as fault:
            raise SourceFault(fault.reason, str(fault)) from None


def guard_version(look: Look) -> None:
    """Go on only if what is there was written by an RQ that is known.

    Raises:
        SourceFault: It was not.
    """
    versions = {each.version.partition(".")[0] for each in look.workers if each.lives}
    if versions - {KNOWN_MAJOR}:
        raise SourceFault(Reason.UNKNOWN_VERSION, f"workers of RQ {sorted(versions)} are there; known is {KNOWN_MAJOR}")
    if any(not each.execution for each in look.started):
        raise SourceFault(Reason.UNKNOWN_VERSION, "jobs that run have no executions, as in RQ 1")
    jobs = (each.job for several in (look.queued, look.scheduled, look.deferred, look.started) for each in several)
    unknown = {job.status for job in jobs if job.status} - STATUSES
    if unknown:
        raise SourceFault(Reason.UNKNOWN_VERSION, f"jobs are in states that RQ {KNOWN_MAJOR} does not have")


def seconds_of(text: str) -> float | None:
    """Return the moment that RQ writes as *text*, in seconds since the epoch; `None`: it is empty, or no moment."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found.timestamp() if found.tzinfo is not None else None


def score_of(text: str) -> float:
    """Return a score of a sorted set; what never expires is infinity, which some write as a negative number."""
    try:
        score = float(text)
    except ValueError:
        return math.inf
    return score if score >= 0 else math.inf


def _decoded(decoder: Any, part: Any) -> Any:
    try:
        return decoder.decode(part)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
        raise SourceFault(Reason.UNKNOWN_VERSION, f"RQ's keys hold what is not known: {type(error).__name__}") from None
