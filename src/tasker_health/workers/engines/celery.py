"""Joins a worker of Celery 5: its consumer's process, whatever pool runs the tasks.

By Celery's signals it is told when a worker begins and ends here (Celery documentation, "Signals", `worker_ready` and
`worker_shutdown`): both come in the consumer's process, never in a child of its pool. What runs stands in
`celery.worker.state` there, as `inspect active` tells it, but it is read in place: nothing is asked through the broker.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from tasker_health.errors import ConfigurationError
from tasker_health.workers import MOST_RUNNING, RunningTask
from tasker_health.workers.attachment import Identity, Life, Work

_STOPPED = frozenset("TtZXx")
"""States of a process that runs nothing any more, or not now (proc(5), field 3 of stat)."""

_BROKER_SECONDS = 2.0
_NEEDED = ("active_requests", "reserved_requests", "all_total_count")


class CeleryAttachment:
    """Tells when a worker of *app* begins and ends in this process, and what it works on."""

    engine = "celery"

    def __init__(self, app: Any) -> None:
        self._app = app
        self._hostname: str | None = None
        self._busy_at = time.monotonic()

    def attach(self, life: Life) -> None:
        """Have *life* begin when a worker is ready, and end when it shuts down in good order."""
        from celery import signals

        def begin(sender: Any = None, **_more: Any) -> None:
            self._hostname = getattr(sender, "hostname", None)
            self._busy_at = time.monotonic()
            life.begin()

        def end(**_more: Any) -> None:
            life.end()

        # Weak references, as Celery keeps them otherwise, would end here.
        signals.worker_ready.connect(begin, weak=False)
        signals.worker_shutdown.connect(end, weak=False)

    def identity(self) -> Identity:
        """Return the node's name, which results tell as who ran them, and the queues that it consumes."""
        name = self._hostname
        return Identity(
            worker_id=None if name is None else f"{name}:{os.getpid()}",
            queues=tuple(self._queues()),
            owner_id=name,
        )

    def observe(self) -> Work:
        """Return what the pool runs; a task whose process is stopped or gone is halted."""
        from celery.worker import state

        now, monotonic = time.time(), time.monotonic()
        active = sorted(_copied(state.active_requests), key=lambda each: each.time_start or now)
        if active:
            self._busy_at = monotonic
        return Work(
            running=tuple(_running(each, now) for each in active[:MOST_RUNNING]),
            running_count=len(active),
            done=max(0, state.all_total_count[0] - len(active)),
            idle_seconds=0.0 if active else monotonic - self._busy_at,
        )

    def waiting(self) -> int | None:
        """Return how many messages are ready in its queues, and in its own hands unbegun; `None`: not known."""
        from celery.worker import state

        held = set(_copied(state.reserved_requests)) - set(_copied(state.active_requests))
        try:
            with self._app.connection_for_read(connect_timeout=_BROKER_SECONDS) as connection:
                connection.ensure_connection(max_retries=1, timeout=_BROKER_SECONDS)
                channel = connection.default_channel
                return len(held) + sum(_depth(channel, name) for name in self._queues())
        except Exception:  # noqa: BLE001 -- whatever a broker's client says: it cannot be known
            return None

    def _queues(self) -> list[str]:
        return [str(name) for name in self._app.amqp.queues.consume_from]


def attachment_of(it: Any) -> CeleryAttachment:
    """Return what joins the app *it*.

    Raises:
        ConfigurationError: It is not an app of a Celery that is known.
    """
    from celery.worker import state

    if not hasattr(it, "connection_for_read") or not all(hasattr(state, name) for name in _NEEDED):
        raise ConfigurationError("health.worker: this is no app of a Celery that is known; hand over that of Celery 5")
    return CeleryAttachment(it)


def _running(request: Any, now: float) -> RunningTask:
    info = request.delivery_info or {}
    pid = request.worker_pid
    return RunningTask(
        request.id,
        request.name,
        info.get("routing_key"),
        max(0.0, now - (request.time_start or now)),
        halted=pid not in {None, os.getpid()} and _is_halted(pid),
    )


def _is_halted(pid: int) -> bool:
    """Return whether the process *pid* is stopped, a zombie or gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return True
    return stat.rpartition(")")[2].split()[0] in _STOPPED


def _depth(channel: Any, queue: str) -> int:
    return int(channel.queue_declare(queue=queue, passive=True).message_count)


def _copied(requests: Any) -> list[Any]:
    """Return what is in a set that Celery's own threads change meanwhile."""
    for _ in range(3):
        try:
            return list(requests)
        except RuntimeError:
            continue
    return []
