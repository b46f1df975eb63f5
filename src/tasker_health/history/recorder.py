"""Remembers the last hour: what anybody was told, and one reading in each slot when nobody asks."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from tasker_health.cache.shared import SharedCache
from tasker_health.clock import Clock
from tasker_health.deadline import within
from tasker_health.history import History
from tasker_health.history.era import Era
from tasker_health.history.fleet import Fleet
from tasker_health.history.slots import MOST_COUNT, STATUSES, Slots
from tasker_health.history.view import view
from tasker_health.model import Readiness, Reason, StatusReport
from tasker_health.monitor import Monitor
from tasker_health.reasons import reason_of, words_of
from tasker_health.settings import Settings

log = logging.getLogger(__name__)

_MOST_SECONDS = 10
"""Longest wait for one reading; the length of a slot bounds it, too."""

_CLOSE_SECONDS = 1
_RANKS = {status: rank for rank, status in enumerate(STATUSES)}


class Recorder:
    """Remembers what its monitor answers.

    The first reading of its own is half a slot after the start: a process that starts has other things to do, and who
    asks for the history sees what the same page has asked the monitor anyway.

    Args:
        settings: How long a slot is, and how many checks are remembered.
        shared: Where the fleet remembers together.
        monitor: Answers who is asked; it is made at first use.
        clock: What time it is.
    """

    _seen_status: StatusReport | None
    _seen_in: int
    _shown: History | None
    _shown_key: tuple[int, int, bool, int] | None

    def __init__(self, settings: Settings, shared: SharedCache, monitor: Callable[[], Monitor], clock: Clock) -> None:
        self._settings = settings
        self._shared = shared
        self._monitor = monitor
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._begin()

    def follow(self, monitor: Monitor) -> None:
        """See from now on what *monitor* answers to anybody."""
        monitor.on_status, monitor.on_readiness = self.see_status, self.see_readiness

    def history(self) -> History:
        """Return the last hour, as far as it is known here; asks nobody."""
        number, shown = self._era.number(), self._shown
        replicas = self._fleet.count(number)
        key = (number, self._slots.version, self._fleet.is_shared, replicas)
        if shown is None or self._shown_key != key:
            shown = view(
                self._slots,
                number,
                ends_at=self._era.wall_of_end(number),
                is_shared=self._fleet.is_shared,
                replicas=replicas,
            )
            self._shown, self._shown_key = shown, key
        return shown

    def start(self) -> None:
        """Begin on the running event loop; where it has begun already, nothing."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._sample_for_ever())

    async def stop(self) -> None:
        """End; what is remembered is kept, and it may be started again."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.wait({task}, timeout=_CLOSE_SECONDS)  # a turn that it had ends by itself

    def forget(self) -> None:
        """Begin anew in a process that was forked: what the parent has seen, it tells itself."""
        self._task = None
        self._begin()

    def see_status(self, report: StatusReport) -> None:
        """Remember what somebody was told of the system."""
        number = self._era.number()
        if report is self._seen_status and number == self._seen_in:
            return
        self._seen_status, self._seen_in = report, number
        self._fleet.note(number)
        self._slots.see_status(number, _RANKS[report.status])
        self._see_figures(number, report)

    def see_readiness(self, report: Readiness) -> None:
        """Remember how the checks went."""
        number = self._era.number()
        self._fleet.note(number)
        self._slots.see_checks(number, report.checks)

    def _begin(self) -> None:
        slot_seconds = self._settings.history.slot_seconds
        self._slots = Slots(slot_seconds, self._settings.history.most_checks)
        self._era = Era(self._clock, slot_seconds)
        self._fleet = Fleet(
            self._shared, self._slots, self._era, self._clock, timeout_seconds=self._settings.cache.timeout_seconds
        )
        # At one moment of each slot, late in it; a fleet that was started together does not ask together.
        self._phase = 0.5 + 0.4 * random.random()  # noqa: S311 -- no secret
        self._seen_status = None
        self._seen_in = 0
        self._read: tuple[object, float] = (None, 0.0)
        self._shown = None
        self._shown_key = None
        self._is_blind = False

    def _see_figures(self, number: int, report: StatusReport) -> None:
        info, health = report.cache_info, report.system_health
        usual = max(self._slots.slot_seconds, self._settings.health.cache_duration_seconds)
        if info.age_seconds > usual:
            return
        if self._read[0] != report.timestamp:
            # Ages are told in whole seconds.
            age_seconds = info.age_seconds + 0.5 if info.cached else 0.0
            self._read = (report.timestamp, self._era.now() - age_seconds)
        figures = [
            health.pending_tasks,
            health.running_tasks,
            health.completed_tasks,
            health.failed_tasks,
            health.cancelled_tasks,
            health.other_tasks,
            health.blocked_tasks,
            health.stuck_tasks,
            health.retry_queue_size,
        ]
        if any(figure is not None for figure in figures) and not any(map(_cannot_be, figures)):
            self._slots.see_figures(number, self._read[1], figures, report.performance_metrics.failure_ratio)

    async def _sample_for_ever(self) -> None:
        sampled = self._era.number() if self._era.passed() > self._phase - 0.5 else self._era.number() - 1
        if self._fleet.can_be_shared:
            await self._attempt(self._fleet.look())
        while True:
            await asyncio.sleep(self._seconds_until_due(sampled))
            sampled = self._era.number()
            await self._attempt(self._sample())
            if self._fleet.can_be_shared:
                await self._attempt(self._fleet.turn())

    def _seconds_until_due(self, sampled: int) -> float:
        """Return the seconds until this process reads next: once in each slot after the one *sampled* last."""
        slots = max(sampled + 1 - self._era.number(), 0) + self._phase - self._era.passed()
        return max(slots, 0.05) * self._slots.slot_seconds

    async def _sample(self) -> None:
        """Take what anybody would be told now."""
        monitor = self._monitor()
        asked = asyncio.gather(monitor.status(renew=False), monitor.ready())
        status, readiness = await within(asked, min(_MOST_SECONDS, self._slots.slot_seconds))
        self.see_status(status)
        # A process that is about to stop is no trouble, and every deployment would look like one.
        if not any(result.reason is Reason.DRAINING for result in readiness.checks.values()):
            self.see_readiness(readiness)

    async def _attempt(self, work: Awaitable[object]) -> None:
        """Await *work*; whatever goes wrong in it, the next slot is tried again."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 -- a source, a check or a cache of the user's may raise anything
            if not self._is_blind:
                log.warning("history: nothing is seen (%s): %s", reason_of(error), words_of(error))
            self._is_blind = True
        else:
            self._is_blind = False


def _cannot_be(figure: int | None) -> bool:
    """Return whether *figure*, perhaps of a source of the user's, would be believed by nobody."""
    return figure is not None and not 0 <= figure <= MOST_COUNT
