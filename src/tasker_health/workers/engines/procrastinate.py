"""Joins a worker of Procrastinate 3.10: each run of `run_worker` or `run_worker_async` of one app is one life.

What runs is told by a worker middleware, which Procrastinate offers for that. When a worker begins it tells nobody:
`run_worker_async` of the app in hand is wrapped, and the one method with which it makes its worker.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from tasker_health.errors import ConfigurationError
from tasker_health.workers.attachment import Identity, Life, Work
from tasker_health.workers.record import WorkRecord

_MIDDLEWARE, _MAKES = "worker_middleware", "_worker"
_LOOK_SECONDS = 0.01
_CONNECT_SECONDS, _STATEMENT_MS = 3, 2000
_MOST_WAITING = 1000

# As `procrastinate_fetch_job_v2` chooses; a job that another one holds by its lock could not be taken.
_WAITING = """
SELECT count(*) FROM (
    SELECT 1 FROM procrastinate_jobs j
    WHERE j.status = 'todo' AND (%(queues)s::text[] IS NULL OR j.queue_name = ANY(%(queues)s::text[]))
        AND (j.scheduled_at IS NULL OR j.scheduled_at <= now())
        AND (j.lock IS NULL OR NOT EXISTS (
            SELECT 1 FROM procrastinate_jobs o WHERE o.lock = j.lock AND (
                o.status = 'doing' OR (o.status = 'todo' AND (
                    o.priority > j.priority OR (o.priority = j.priority AND o.id < j.id)
                ))
            )
        ))
    LIMIT %(most)s
) ready
"""


class ProcrastinateAttachment:
    """Tells when workers of *app* begin and end in this process, and what they work on.

    Raises:
        ConfigurationError: The app has not what is needed here: it is not of Procrastinate 3.10.
    """

    engine = "procrastinate"

    def __init__(self, app: Any) -> None:
        if not _is_known(app):
            raise ConfigurationError(
                "health.worker: this app is none of a Procrastinate that is known; install procrastinate 3.10"
            )
        self._app = app
        self._record = WorkRecord()
        self._worker: Any = None
        self._begins: Callable[[], None] = _nothing

    def attach(self, life: Life) -> None:
        """Have *life* begin and end with each worker of the app."""
        app, makes, runs = self._app, getattr(self._app, _MAKES), self._app.run_worker_async

        def make(**options: Any) -> Any:
            ours = [self._around, *(options.get(_MIDDLEWARE) or app.worker_defaults.get(_MIDDLEWARE) or ())]
            self._worker = makes(**{**options, _MIDDLEWARE: ours})
            return self._worker

        async def run(**options: Any) -> None:
            self._worker = None
            has_begun = False

            def begin() -> None:
                nonlocal has_begun
                if not has_begun:
                    has_begun = True
                    life.begin(asyncio.get_running_loop())

            self._begins = begin
            beginning = asyncio.create_task(self._begin_in_time())
            try:
                await runs(**options)
            finally:
                self._begins = _nothing
                beginning.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait({beginning})
                if has_begun:
                    life.end()

        setattr(app, _MAKES, make)
        app.run_worker_async = run

    def identity(self) -> Identity:
        """Return the worker's id in `procrastinate_workers`, and its queues."""
        worker = self._worker
        if worker is None:
            return Identity()
        owner = worker.worker_id
        return Identity(
            queues=tuple(worker.queues or ()),
            owner_id=None if owner is None else str(owner),
        )

    def observe(self) -> Work:
        """Return what it works on."""
        return self._record.work()

    def waiting(self) -> int | None:
        """Return how many jobs it could take now, `_MOST_WAITING` at most; `None`: the database does not say."""
        try:
            return self._ask()
        except Exception:  # noqa: BLE001 -- whatever a driver, a pool or a server says: it cannot be known
            return None

    def _ask(self) -> int | None:
        import psycopg

        pool = self._app.connector.pool
        worker = self._worker
        if worker is None:
            return None
        options = {**(pool.kwargs or {}), "connect_timeout": _CONNECT_SECONDS, "autocommit": True}
        with psycopg.connect(pool.conninfo, **options) as connection:
            connection.execute(f"SET statement_timeout = {_STATEMENT_MS}")
            values = {"queues": list(worker.queues) if worker.queues else None, "most": _MOST_WAITING}
            found = connection.execute(_WAITING, values).fetchone()
        return None if found is None else int(found[0] if not isinstance(found, dict) else found["count"])

    async def _begin_in_time(self) -> None:
        """Begin when the worker has its id: what a beat says of its owner is asked once."""
        while self._worker is None or self._worker.worker_id is None:  # noqa: ASYNC110 -- it tells nobody
            await asyncio.sleep(_LOOK_SECONDS)
        self._begins()

    async def _around(self, call_next: Callable[[], Awaitable[Any]], context: Any, _worker: Any) -> Any:
        """Note the beginning and the end of a job; whoever is aborted has not done it well.

        The first job may compute in the loop, which then turns no more: the life has begun before it.
        """
        self._begins()
        job, key = context.job, object()
        self._record.begin(key, str(job.id), job.task_name, job.queue)
        failed = True
        try:
            result = await call_next()
            failed = False
        finally:
            self._record.end(key, failed=failed)
        return result


def _nothing() -> None:
    """Do nothing."""


def attachment_of(it: Any) -> ProcrastinateAttachment:
    """Return what joins the app *it*.

    Raises:
        ConfigurationError: It is not an app of a Procrastinate that is known.
    """
    return ProcrastinateAttachment(it)


def _is_known(app: Any) -> bool:
    """Return whether everything is there that is used here."""
    if not all(callable(getattr(app, name, None)) for name in (_MAKES, "run_worker_async")):
        return False
    from procrastinate import worker

    return _MIDDLEWARE in worker.Worker.__init__.__annotations__ and hasattr(app, "worker_defaults")
