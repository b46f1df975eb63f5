"""Several processes behind one port: a scrape reaches one of them, which tells what all of them have counted.

Where `PROMETHEUS_MULTIPROC_DIR` is set, as for prometheus-client itself, each process leaves its counts in that folder.
Its own are told as they were written: so nothing that was told is lost when a process is killed, and no counter goes
back.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

from tasker_health.deadline import in_thread, within
from tasker_health.exporters import ProcessSnapshot
from tasker_health.exporters.process import figures
from tasker_health.exporters.shared_folder import Record, SharedFolder
from tasker_health.exporters.together import Combined, figures_at_once, figures_of
from tasker_health.reasons import words_of
from tasker_health.settings import Settings
from tasker_health.single_flight import RunEndedError, SingleFlight

log = logging.getLogger(__name__)

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

_THREAD = "siblings"
_PERIOD_SECONDS = 1.0
_GOODBYE_SECONDS = 1.0
_PATIENCE_SECONDS = 2.0
"""Longest wait for the disk; then what was read last is told again."""


class Siblings:
    """The part of one process in what is told together.

    Args:
        folder: Where all of them leave their counts.
        take: Answers what this process knows of itself.
    """

    def __init__(self, folder: SharedFolder, take: Callable[[], ProcessSnapshot]) -> None:
        self._folder = folder
        self._take = take
        self._task: asyncio.Task[None] | None = None
        self._last: Combined | None = None
        self._is_in_trouble = False
        self._begin_anew({})

    def start(self) -> None:
        """Begin on the running event loop; where it has begun already, nothing."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._write_for_ever())

    async def stop(self) -> None:
        """End, and leave the last counts; it may be started again, and is another process then to those who read."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await self._gather.cancel()
        before = self._before
        record = await self._record(ended=True)
        await self._contained(within(self._in_thread(record), _GOODBYE_SECONDS))
        self._begin_anew({key: value + before.get(key, 0) for key, value in record.counts.items()})

    def forget(self) -> None:
        """Begin anew in a process that was forked: what was counted before is its parent's."""
        self._task = None
        self._gather.forget()
        self._begin_anew(figures_at_once(figures(self._take())).counts)

    async def combined(self) -> Combined | None:
        """Return what all have counted; `None`: it cannot be known, and nothing of it was ever read."""

        async def gather() -> None:
            self._last = await self._gather(_PATIENCE_SECONDS)

        await self._contained(gather())
        return self._last

    def _begin_anew(self, before: Mapping[str, float]) -> None:
        """Write into another file from now on, and nothing of what was counted *before*."""
        self._before = before
        self._process = os.getpid()
        self._name = self._folder.file_of(self._process, secrets.token_hex(6))
        self._lock = threading.Lock()
        self._turn = self._turn_written = 0
        self._gather: SingleFlight[Combined] = SingleFlight(self._write_and_read)

    async def _write_for_ever(self) -> None:
        await self.combined()  # which also clears up after those who have ended
        while True:
            await asyncio.sleep(_PERIOD_SECONDS)
            await self._contained(self._in_thread(await self._record()))

    async def _write_and_read(self) -> Combined:
        record = await self._record()
        await self._in_thread(record)
        return await in_thread(partial(self._folder.combined, self._name, record), _THREAD)

    async def _record(self, *, ended: bool = False) -> Record:
        if self._process != os.getpid():  # made before a fork, and begun after it: gunicorn --preload
            self._begin_anew(self._before)
        own = await figures_of(figures(self._take()))
        before = self._before
        counts = {key: max(0, value - before.get(key, 0)) for key, value in own.counts.items()}
        return Record(process=self._process, ended=ended, counts=counts, gauges=own.gauges)

    async def _in_thread(self, record: Record) -> None:
        """Write *record*, unless a later one has been written meanwhile."""
        self._turn += 1
        name, turn = self._name, self._turn

        def write() -> None:
            with self._lock:
                if turn > self._turn_written:
                    self._folder.write(name, record)
                    self._turn_written = turn

        await in_thread(write, _THREAD)

    async def _contained(self, what: Awaitable[None]) -> None:
        """Await *what* touches the disk; whatever comes of it is told once, and ends nothing."""
        try:
            await what
        except (OSError, RuntimeError, RunEndedError) as error:  # TimeoutError is an OSError
            if not self._is_in_trouble:
                log.warning(
                    "%s=%s: counts are not shared; it must be a folder that may be written: %s",
                    VARIABLE,
                    self._folder.path,
                    words_of(error),
                )
            self._is_in_trouble = True
        else:
            self._is_in_trouble = False


def siblings_of(settings: Settings, take: Callable[[], ProcessSnapshot]) -> Siblings | None:
    """Return who shares counts with other processes of the service; `None`: the environment names no folder."""
    path = os.environ.get(VARIABLE)
    if not path:
        return None
    return Siblings(SharedFolder(Path(path), settings.health.service_name), take)
