"""A worker of an engine, or a loop of one's own: its heartbeat and its guard, from when it begins until it ends."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from tasker_health.clock import Clock
from tasker_health.deadline import leave_to_parent
from tasker_health.errors import ConfigurationError
from tasker_health.lifecycle import Lifecycle
from tasker_health.loop_thread import LoopThread
from tasker_health.monitor import Monitor
from tasker_health.settings import Settings
from tasker_health.workers.attachment import Attachment
from tasker_health.workers.beating import Beating, Said
from tasker_health.workers.chosen import chosen_ledger
from tasker_health.workers.engines import attachment_of
from tasker_health.workers.engines.plain import PlainAttachment
from tasker_health.workers.stall import StallWatch

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 3.0
"""Longest wait for a goodbye; beyond it the worker ends without."""


class WorkerHandle:
    """A worker, from when its engine says that it begins; what `health.worker()` returns.

    Args:
        settings: How often it beats, and where.
        attachment: Joins the engine.
        said: What the user has said of it.
        lifecycle: Starts and stops the guard.
        monitor: Answers liveness in this process.
        clock: Measures.

    Attributes:
        guard_url: Where its guard answers; empty where there is none, or it has not begun.
    """

    def __init__(
        self,
        settings: Settings,
        attachment: Attachment,
        said: Said,
        lifecycle: Lifecycle,
        monitor: Callable[[], Monitor],
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._attachment = attachment
        self._said = said
        self._lifecycle = lifecycle
        self._monitor = monitor
        self._clock = clock
        self._lock = threading.Lock()
        self._thread: LoopThread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._beating: Beating | None = None
        self._beats: asyncio.Task[Any] | None = None
        self._has_guard = False
        self.guard_url: str = ""
        _all.add(self)

    def begin(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Start the guard and beat from now on; once it has begun, nothing. See `Life.begin`."""
        with self._lock:
            if self._thread is not None:
                return
            thread = loop is None
            self.guard_url = self._open_guard(thread=thread)
            self._thread, self._loop = LoopThread(), loop
            self._start_guard(thread=thread)
            settings, monotonic = self._settings, self._clock.monotonic
            self._beating = Beating(
                chosen_ledger(settings),
                self._attachment,
                self._said,
                period_seconds=settings.workers.heartbeat_seconds,
                stall=StallWatch(settings.health.worker_stall_seconds, monotonic),
                lag=self._lag if loop is not None else float,
                clock=self._clock,
            )
            self._beating.on_stall = self._on_stall
            self._thread.post(partial(self._beat_for_ever, self._beating))

    def end(self) -> None:
        """Take the beat away and end the guard; before it has begun, nothing. See `Life.end`."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            beating, self._beating = self._beating, None
            with contextlib.suppress(TimeoutError, RuntimeError):
                thread.post(partial(self._goodbye, beating)).result(_PATIENCE_SECONDS)
            if self._loop is not None and not self._loop.is_closed():
                with contextlib.suppress(RuntimeError):
                    asyncio.run_coroutine_threadsafe(self._lifecycle.stop(), self._loop)
            thread.end()

    def stop(self) -> None:
        """The same, for a loop of one's own."""
        self.end()

    def task(self, id: str, name: str, queue: str | None = None) -> AbstractContextManager[None]:  # noqa: A002
        """Return a context in which the task *id* runs; an exception that leaves it is a failure.

        Raises:
            ConfigurationError: An engine tells what runs.
        """
        if not isinstance(self._attachment, PlainAttachment):
            raise ConfigurationError(f"worker.task: {self._attachment.engine} tells by itself what runs; leave it out")
        return self._attachment.task(id, name, queue)

    def forget(self) -> None:
        """Leave everything to the process that this one was forked from; a worker may begin here anew."""
        self._lock = threading.Lock()
        if self._thread is None:
            return
        leave_to_parent((self._thread, self._beating, self._beats, self._loop))
        self._thread = self._beating = self._beats = self._loop = None
        if self._has_guard:
            self._lifecycle.forget()
        self._has_guard = False

    def _open_guard(self, *, thread: bool) -> str:
        try:
            return self._lifecycle.open_guard(thread=thread)
        except ConfigurationError as error:
            # A worker that works must not end for want of a port: who probes it will say that nobody answers there.
            log.error("this worker has no guard: %s", error)  # noqa: TRY400 -- the line says it all
            return ""

    def _start_guard(self, *, thread: bool) -> None:
        self._has_guard = bool(self.guard_url)
        if not self._has_guard:
            return
        start = partial(self._lifecycle.start_guard, thread=thread)
        if self._loop is not None:
            asyncio.run_coroutine_threadsafe(start(), self._loop)
        elif self._thread is not None:
            self._thread.post(start)

    async def _beat_for_ever(self, beating: Beating) -> None:
        self._beats = asyncio.current_task()
        await beating.run()

    async def _goodbye(self, beating: Beating | None) -> None:
        beats, self._beats = self._beats, None
        if beats is not None:
            beats.cancel()
            await asyncio.wait({beats})
        if beating is not None:
            await beating.leave()
        if self._loop is None and self._has_guard:
            await self._lifecycle.stop()

    def _lag(self) -> float:
        guarded = self._lifecycle.guarded
        return guarded.heartbeat.late_seconds if guarded is not None else 0.0

    def _on_stall(self, stalled_seconds: float) -> None:
        self._monitor().starved_seconds = lambda: stalled_seconds
        guarded = self._lifecycle.guarded
        if guarded is not None:
            guarded.starve(stalled_seconds)


def working(
    settings: Settings,
    it: Any,
    said: Said,
    waiting: Callable[[], int | None] | None,
    lifecycle: Lifecycle,
    monitor: Callable[[], Monitor],
    clock: Clock,
) -> WorkerHandle:
    """Return the worker of *it*, which beats from when its engine says that it begins.

    Raises:
        ConfigurationError: It is of no engine that is known, or the ledger cannot be one.
    """
    attachment: Attachment
    if it is None:
        attachment = PlainAttachment(waiting)
    else:
        attachment = attachment_of(it) if waiting is None else UserWaiting(attachment_of(it), waiting)
    if chosen_ledger(settings) is None:
        log.warning("this worker writes no heartbeat: neither workers.url nor database.url is set")
    handle = WorkerHandle(settings, attachment, said, lifecycle, monitor, clock)
    attachment.attach(handle)
    return handle


def settings_of_worker(settings: Settings) -> Settings:
    """Return *settings* for a process that works: with a guard, which is told of readiness once in a heartbeat."""
    settings = settings.guarded_by_default()
    age = max(settings.health.readiness_max_age_seconds, settings.workers.heartbeat_seconds)
    return settings.model_copy(update={"health": settings.health.model_copy(update={"readiness_max_age_seconds": age})})


class UserWaiting:
    """An attachment whose waiting work the user counts himself.

    Args:
        attachment: Tells everything else.
        waiting: Counts.
    """

    def __init__(self, attachment: Attachment, waiting: Callable[[], int | None]) -> None:
        self.waiting: Callable[[], int | None] = waiting
        self.engine: str = attachment.engine
        self.attach = attachment.attach
        self.identity = attachment.identity
        self.observe = attachment.observe


_all: weakref.WeakSet[WorkerHandle] = weakref.WeakSet()


def _forget_all() -> None:
    for handle in list(_all):
        handle.forget()


def _end_all() -> None:
    for handle in list(_all):
        handle.end()


os.register_at_fork(after_in_child=_forget_all)
atexit.register(_end_all)
