"""Where a tally waits while nothing runs: one file, replaced as a whole, and believed only if it fits the tables."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from pathlib import Path

import msgspec

from tasker_health.sources.recent import Kind
from tasker_health.sources.tasker.changes import Changes
from tasker_health.sources.tasker.marks import Ids, Marks
from tasker_health.sources.tasker.reader import State, Wanted
from tasker_health.sources.tasker.relations import Print
from tasker_health.sources.tasker.tally import Counts, Failing, Settled, Tally
from tasker_health.sources.window import Ended

log = logging.getLogger(__name__)

_VERSION = 2
_PERIOD_SECONDS = 60.0


class _Kept(msgspec.Struct, forbid_unknown_fields=True):
    """A tally as it is written."""

    version: int
    wanted: str
    seen: Print
    low: Ids
    tasks: list[tuple[int | None, str, int]]
    steps: dict[str, int]
    buckets: dict[int, Ended]
    running: dict[int, float]
    failing: list[Failing]
    settled: dict[int, Settled]
    blocked: list[int]
    arrived: dict[int, int]
    ended: list[tuple[int, int]]
    outcomes: list[tuple[Kind, int, int]]
    oldest_pending: tuple[int, float] | None
    pending_from: int


class Checkpoint:
    """Keeps a tally in *file*.

    What is restored is compared with the tables by the next poll: other files of tables, deleted rows or a server that
    was started anew since lead to a full count. What cannot be read is counted anew too.
    """

    def __init__(self, file: Path, wanted: Wanted) -> None:
        self._file = file
        self._wanted = wanted
        self._kept_at = time.monotonic()
        self._restored = False

    async def restored(self) -> State | None:
        """Return what was kept, once; `None` when there is nothing to be believed."""
        if self._restored:
            return None
        self._restored = True
        try:
            data = await asyncio.to_thread(self._file.read_bytes)
            kept = msgspec.json.decode(data, type=_Kept)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            log.warning("the checkpoint %s cannot be read, everything is counted: %s", self._file.name, error)
            return None
        if (kept.version, kept.wanted) != (_VERSION, repr(self._wanted)):
            return None
        return _state(kept, self._wanted)

    async def keep(self, state: State, *, now: bool = False) -> None:
        """Keep *state*: once a minute, or *now*."""
        if not now and time.monotonic() - self._kept_at < _PERIOD_SECONDS:
            return
        self._kept_at = time.monotonic()
        data = msgspec.json.encode(_kept(state, self._wanted))
        try:
            await asyncio.to_thread(_replace, self._file, data)
        except OSError as error:
            log.warning("the checkpoint %s cannot be written: %s", self._file.name, error)


def _replace(file: Path, data: bytes) -> None:
    """Put *data* in place of what *file* holds, all of it or nothing."""
    own = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        own.touch(0o600)
        own.write_bytes(data)
        own.replace(file)
    finally:
        with contextlib.suppress(FileNotFoundError):
            own.unlink()


def _kept(state: State, wanted: Wanted) -> _Kept:
    tally = state.tally
    return _Kept(
        version=_VERSION,
        wanted=repr(wanted),
        seen=state.changes.seen,
        low=tally.low,
        tasks=[(group, name, number) for (group, name), number in tally.counts.tasks.items() if number],
        steps=dict(tally.counts.steps),
        buckets=tally.window.buckets,
        running=tally.running,
        failing=list(tally.failing.values()),
        settled=tally.settled,
        blocked=sorted(tally.blocked),
        arrived=dict(tally.recent.arrived),
        ended=[(minute, number) for (minute, _), number in tally.recent.ended.items()],
        outcomes=[
            (kind, tally.recent.completed[kind], tally.recent.failed[kind])
            for kind in tally.recent.completed.keys() | tally.recent.failed.keys()
        ],
        oldest_pending=tally.oldest_pending,
        pending_from=tally.pending_from,
    )


def _state(kept: _Kept, wanted: Wanted) -> State:
    tally = Tally(kept.low, wanted.window_seconds)
    tally.counts = Counts()
    for group, name, number in kept.tasks:
        tally.counts.tasks[group, name] = number
    tally.counts.steps.update(kept.steps)
    tally.window.add(kept.buckets.items())
    tally.running, tally.settled = kept.running, kept.settled
    tally.failing = {step.step_id: step for step in kept.failing}
    tally.oldest_pending, tally.pending_from = kept.oldest_pending, kept.pending_from
    tally.blocked = frozenset(kept.blocked)
    tally.recent.arrived.update(kept.arrived)
    tally.recent.ended.update({(minute, None): number for minute, number in kept.ended})
    tally.recent.completed.update({kind: completed for kind, completed, _ in kept.outcomes if completed})
    tally.recent.failed.update({kind: failed for kind, _, failed in kept.outcomes if failed})
    return State(tally, Marks(), Changes(kept.seen, tally.low))
