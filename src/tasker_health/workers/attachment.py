"""What joins the worker of an engine to its heartbeat: who it is, when it begins and ends, and what it works on."""

from __future__ import annotations

import asyncio
from typing import Protocol

from msgspec import Struct

from tasker_health.workers import RunningTask


class Work(Struct, frozen=True, kw_only=True):
    """What a worker works on at one moment; see `Beat`."""

    running: tuple[RunningTask, ...] = ()
    running_count: int = 0
    done: int = 0
    failed: int = 0
    idle_seconds: float = 0.0
    lag_seconds: float = 0.0


class Identity(Struct, frozen=True, kw_only=True):
    """Who a worker is; see `Beat`.

    Attributes:
        worker_id: `None`: it has no name of its own, and is called after engine, host and process.
        version, queues, owner_id: As in a beat; what the user has said goes before.
    """

    worker_id: str | None = None
    version: str | None = None
    queues: tuple[str, ...] = ()
    owner_id: str | None = None


class Life(Protocol):
    """What an attachment is handed: the life of the worker that it is attached to. Any thread may call."""

    def begin(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Say that a worker begins in this process: its heartbeat starts, and the guard.

        Args:
            loop: The worker's own event loop, whose turns are then watched; `None`: it has none, or tells its turns
                itself by `Work.lag_seconds`.
        """

    def end(self) -> None:
        """Say that it ends in good order: its beat is taken away."""


class Attachment(Protocol):
    """Joins one engine.

    An engine's module in `engines/` has `attachment_of(it)`, which takes what the user hands to `health.worker`: the
    engine's application, broker, worker or client.

    Attributes:
        engine: Name of the engine, as the settings of sources have it; `plain` for none.
    """

    engine: str

    def attach(self, life: Life) -> None:
        """Have the engine say when a worker begins and ends in this process.

        It may be called where none ever does: the application is imported by whoever sends work, too. An engine without
        hooks for that begins at once.
        """

    def identity(self) -> Identity:
        """Return who the worker is; asked when it has begun."""

    def observe(self) -> Work:
        """Return what it works on. Called every few seconds in a thread of ours: it neither waits nor raises."""

    def waiting(self) -> int | None:
        """Return how much work a worker like this one could take now and none has; `None`: cannot be known now.

        What is not due, held by a lock, or beyond a limit of concurrency could not be taken. Called in a thread of
        ours, where it may wait for a broker: one that is away, slow or refuses is `None`, and never 0.
        """
