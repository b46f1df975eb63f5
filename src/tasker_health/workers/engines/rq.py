"""Joins a worker of RQ 3: an instance, or a class that `rq worker --worker-class` makes them of.

Each run of `work()` is one life. RQ offers no hooks for what runs; `execute_job` is what its own kinds of workers
override, and `perform_job` what says how a job has ended. Those three are wrapped. A forked work horse runs the last:
it counts in memory that is shared with its worker. One that was spawned cannot, so all of its jobs count as done.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec.structs import replace

from tasker_health.errors import ConfigurationError
from tasker_health.workers.attachment import Identity, Life, Work
from tasker_health.workers.process import is_halted
from tasker_health.workers.record import WorkRecord
from tasker_health.workers.rq_description import function_of

_NEEDED = ("work", "execute_job", "perform_job", "queue_names", "queue_keys", "horse_pid")
_REDIS_SECONDS = 2.0
_NUMBER = struct.Struct("q")


class RqAttachment:
    """Tells when *workers*, one or those of a class, begin and end in this process, and what they work on."""

    engine = "rq"

    def __init__(self, workers: Any) -> None:
        self._workers = workers
        self._record = WorkRecord()
        self._worker: Any = None
        self._well: mmap.mmap | None = None
        self._pid = 0

    def attach(self, life: Life) -> None:
        """Have *life* begin and end with each run of `work()`."""

        def work(worker: Any, runs: Callable[..., Any], *given: Any, **options: Any) -> Any:
            self._worker, self._pid = worker, os.getpid()
            self._well = None if _spawns(worker) else mmap.mmap(-1, _NUMBER.size)
            self._record.forget()
            life.begin()
            try:
                return runs(*given, **options)
            finally:
                life.end()

        def execute(_worker: Any, runs: Callable[..., Any], job: Any, queue: Any) -> Any:
            key = object()
            self._record.begin(key, job.id, function_of(job.description) or "unknown", queue.name)
            try:
                return runs(job, queue)
            finally:
                self._record.end(key)

        def perform(_worker: Any, runs: Callable[..., Any], *given: Any, **options: Any) -> Any:
            is_well = runs(*given, **options)
            if is_well and self._well is not None:
                self._well[:] = _NUMBER.pack(self._ended_well() + 1)
            return is_well

        _wrap(self._workers, "work", work)
        _wrap(self._workers, "execute_job", execute)
        _wrap(self._workers, "perform_job", perform)

    def identity(self) -> Identity:
        """Return the worker's name in RQ's own tables, and its queues."""
        worker = self._worker
        if worker is None:
            return Identity()
        return Identity(
            worker_id=f"{worker.name}:{self._pid}", queues=tuple(worker.queue_names()), owner_id=worker.name
        )

    def observe(self) -> Work:
        """Return what it works on; a job whose horse is stopped or gone is halted."""
        work = self._record.work()
        horse = self._worker.horse_pid if self._worker is not None else 0
        if work.running and horse and is_halted(horse):
            work = replace(work, running=tuple(replace(each, halted=True) for each in work.running))
        if self._well is None:
            return work
        # A horse counts a moment before its worker sees it end.
        well = min(self._ended_well(), work.done)
        return replace(work, done=well, failed=work.done - well)

    def waiting(self) -> int | None:
        """Return how many jobs its queues hold, 0 while workers are suspended; `None`: Redis does not say."""
        worker = self._worker
        if worker is None:
            return None
        try:
            return _asked(worker)
        except Exception:  # noqa: BLE001 -- whatever a client says: it cannot be known
            return None

    def _ended_well(self) -> int:
        return 0 if self._well is None else int(_NUMBER.unpack(self._well[:])[0])


def attachment_of(it: Any) -> RqAttachment:
    """Return what joins *it*, a worker or a class of workers.

    Raises:
        ConfigurationError: It is no worker of an RQ that is known.
    """
    if not all(hasattr(it, name) for name in _NEEDED):
        raise ConfigurationError(
            "health.worker: this is no worker of an RQ that is known; hand over a worker of RQ 3, or its class"
        )
    return RqAttachment(it)


def _wrap(workers: Any, name: str, around: Callable[..., Any]) -> None:
    runs = getattr(workers, name)
    if isinstance(workers, type):

        def of_class(worker: Any, *given: Any, **options: Any) -> Any:
            return around(worker, partial(runs, worker), *given, **options)

        setattr(workers, name, of_class)
    else:
        setattr(workers, name, partial(around, workers, runs))


def _spawns(worker: Any) -> bool:
    """Return whether its work horses share no memory with it."""
    from rq.worker import SpawnWorker

    return isinstance(worker, SpawnWorker)


def _asked(worker: Any) -> int:
    """Return what waits, over a connection like the worker's own, which may be waiting for a job."""
    from redis import ConnectionPool, Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
    from rq.suspension import WORKERS_SUSPENDED

    pool = worker.connection.connection_pool
    options = {
        **pool.connection_kwargs,
        "socket_timeout": _REDIS_SECONDS,
        "socket_connect_timeout": _REDIS_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }
    with Redis(connection_pool=ConnectionPool(connection_class=pool.connection_class, **options)) as redis:
        with redis.pipeline(transaction=False) as asked:
            asked.exists(WORKERS_SUSPENDED)
            for key in worker.queue_keys():
                asked.llen(key)
            suspended, *lengths = asked.execute()
        redis.connection_pool.disconnect()
    return 0 if suspended else sum(map(int, lengths))
