"""Who is alive: every slot that a living process has taken, and whether its heartbeat is fresh."""

from __future__ import annotations

from tasker_health.guard.following import Followed, Following
from tasker_health.guard.log import Log
from tasker_health.guard.memory import DUMPS_STACKS, STARVED, THREAD, Memory, Slot
from tasker_health.guard.packing import unpack

SECOND = 1_000_000_000


class Worker:
    """A slot and the process that took it.

    Attributes:
        fresh: Whether its heartbeat was fresh when it was looked at last.
        told_ns: Its last heartbeat when the log was told that it stalls; 0: it was not.
        beat_ns: Its last heartbeat that was looked at.
        ran_ns: How long the guard had run when it saw that one first.
    """

    __slots__ = (
        *("_reports", "_sequence", "beat_ns", "fresh", "pid", "process", "ran_ns", "slot", "started"),
        *("told_ns",),
    )

    def __init__(self, slot: Slot, pid: int, started: int, process: Followed) -> None:
        self.slot = slot
        self.pid = pid
        self.started = started
        self.process = process
        self.fresh = True
        self.told_ns = self.beat_ns = self.ran_ns = 0
        self._sequence = -1
        self._reports: dict[str, tuple[int, bytes]] = {}

    @property
    def reports(self) -> dict[str, tuple[int, bytes]]:
        """Its latest reports by name, status code and body; those before while it writes new ones."""
        if self.slot.sequence != self._sequence:
            sequence, data = self.slot.read()
            if not sequence & 1:
                self._sequence, self._reports = sequence, unpack(data)
        return self._reports


class Watch:
    """Looks at the heartbeats in *memory*.

    Args:
        memory: Shared with the application.
        following: Tells whose process lives.
        log: Is told who stalls, once, and who is alive again.
        stall_seconds: Age from which a heartbeat is no longer fresh.
        any_stalled: Whether one worker that stalls is enough not to be alive; else all must.

    Attributes:
        workers: Those whose process lives.
        alive: Whether the application should be left running.
        reason: Why it should not.
        stalled_seconds: For how long that has been so.
        since: Nothing is held to be older than this, by CLOCK_MONOTONIC in nanoseconds.
    """

    def __init__(
        self, memory: Memory, following: Following, log: Log, *, stall_seconds: float, any_stalled: bool
    ) -> None:
        self._memory = memory
        self._following = following
        self._log = log
        self._stall_ns = int(stall_seconds * SECOND)
        self._any_stalled = any_stalled
        self._known: list[Worker | None] = []
        self._slots: list[Slot] = []
        self.workers: list[Worker] = []
        self.alive: bool = True
        self.reason: str = ""
        self.stalled_seconds: float = 0.0
        self.since: int = 0
        self._paused_ns = 0

    def grant(self, now: int, paused_ns: int) -> None:
        """Hold nothing against anybody that is older than *now*: this guard itself did not run for *paused_ns*.

        A guard that is starved again and again would so never see a stall. Therefore who has not beaten while it
        did run for twice the threshold, all in all, stalls whatever was granted.
        """
        self.since = now
        self._paused_ns += paused_ns

    def look(self, now: int) -> None:
        """Judge all heartbeats at *now*, by CLOCK_MONOTONIC in nanoseconds."""
        while len(self._slots) < self._memory.top:
            self._slots.append(self._memory.slot(len(self._slots)))
            self._known.append(None)
        self.workers = [worker for slot in self._slots if (worker := self._holder(slot)) is not None]
        ages = [(self._age(worker, now), worker) for worker in self.workers]
        stalled = [each for each in ages if not each[1].fresh]
        self.alive = not stalled or (len(stalled) < len(ages) and not self._any_stalled)
        if not self.alive:
            self.reason = (
                "worker_stalled"
                if all(worker.slot.flags & (THREAD | STARVED) for _, worker in stalled)
                else "event_loop_stalled"
            )
            # As long as this answer has been true: one worker was enough, or the last of all has followed.
            longest = (max if self._any_stalled else min)(age for age, _ in stalled)
            self.stalled_seconds = longest / SECOND

    def _holder(self, slot: Slot) -> Worker | None:
        """Return who has *slot*, if its process lives."""
        pid, started = slot.pid, slot.started
        worker = self._known[slot.index]
        if worker is None or worker.pid != pid or worker.started != started:
            if worker is not None:
                self._following.leave(worker.process)
            worker = Worker(slot, pid, started, self._following.follow(pid, started)) if pid else None
            self._known[slot.index] = worker
        return None if worker is None or worker.process.ended else worker

    def _age(self, worker: Worker, now: int) -> int:
        """Return the age of a heartbeat in nanoseconds, and note what it says."""
        beat = worker.slot.beat_ns
        ran = now - self._paused_ns
        if beat != worker.beat_ns:
            worker.beat_ns, worker.ran_ns = beat, ran
        age = max(now - max(beat, self.since), ran - worker.ran_ns - self._stall_ns)
        worker.fresh = age <= self._stall_ns
        if not worker.fresh and not worker.told_ns:
            worker.told_ns = beat
            asked = bool(worker.slot.flags & DUMPS_STACKS) and worker.process.dump_stacks()
            where = "its log shows where its threads stand" if asked else "where its threads stand is not known"
            self._log.warning(f"process {worker.pid} stalls: no heartbeat for {age / SECOND:.1f} s; {where}")
        elif worker.told_ns and now - beat <= self._stall_ns:
            self._log.info(f"process {worker.pid} is alive again after {(beat - worker.told_ns) / SECOND:.1f} s")
            worker.told_ns = 0
        return self._starved(worker, now) or age

    def _starved(self, worker: Worker, now: int) -> int:
        """Return for how long it has taken no work though some waits, in nanoseconds; 0: it has."""
        since = worker.slot.starved_since
        if not since:
            return 0
        worker.fresh = False
        return max(1, now - since * SECOND)
