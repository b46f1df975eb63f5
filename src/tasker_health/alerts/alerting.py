"""Looks at the rules in its period while it is started, and sees to it that whoever is to be told is told."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from tasker_health.alerts import Channel, Event, Observation
from tasker_health.alerts.book import Book
from tasker_health.alerts.dispatch import Dispatch
from tasker_health.alerts.incidents import Pace
from tasker_health.alerts.ledger import NAME, Ledger
from tasker_health.alerts.rules import observe
from tasker_health.alerts.sending import Sending
from tasker_health.alerts.turn import Moment, Turn
from tasker_health.alerts.waiting import enqueue, expire
from tasker_health.cache.shared import SharedCache
from tasker_health.clock import Clock
from tasker_health.counters import DeliveryCounts
from tasker_health.deadline import within
from tasker_health.exporters import Snapshot
from tasker_health.reasons import reason_of, words_of
from tasker_health.settings import Settings

log = logging.getLogger(__name__)

_CLOSE_SECONDS = 1.0

_SILENT_TURNS = 4
"""So many turns without a word make a voice silent, and a gap of which nothing is known."""

_MOST_SNAPSHOT_SECONDS, _LEAST_SNAPSHOT_SECONDS = 10.0, 2.0
"""Longest wait for a snapshot; the period bounds it, too."""


class Alerting:
    """The alerts of one process of a fleet.

    Args:
        settings: Which rules there are, and how slowly incidents begin and end.
        channels: Who is told.
        shared: Where the fleet keeps what is open and what waits.
        take: Answers what there is to tell now.
        deliveries: Where what was delivered is counted, by name of the channel.
        clock: What time it is.
    """

    def __init__(
        self,
        settings: Settings,
        channels: Sequence[Channel],
        shared: SharedCache,
        take: Callable[[], Awaitable[Snapshot]],
        deliveries: dict[str, DeliveryCounts],
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._channels = channels
        self._take = take
        self._clock = clock
        self._counts = {channel.name: deliveries.setdefault(channel.name, DeliveryCounts()) for channel in channels}
        interval = settings.alerts.interval_seconds
        self._snapshot_seconds = min(_MOST_SNAPSHOT_SECONDS, max(_LEAST_SNAPSHOT_SECONDS, interval))
        self._document = shared.document(NAME, Ledger)
        self._tasks: list[asyncio.Task[None]] = []
        self._is_blind = False
        self._written: dict[str, Counter[str]] = {}
        self._begin()

    def start(self) -> None:
        """Begin on the running event loop; where it has begun already, nothing."""
        if self._tasks:
            return
        if not self._document.is_shared:
            log.warning(
                "alerts: cache.url = memory:// keeps what is open and what waits in this process alone: it does not"
                " survive a restart, and each process of a fleet tells for itself; set cache.url to a shared cache"
            )
        loop = asyncio.get_running_loop()
        self._book.open()
        self._tasks = [loop.create_task(self._look_for_ever())]
        self._tasks += [loop.create_task(self._send_for_ever(sending)) for sending in self._sendings]

    async def stop(self) -> None:
        """End: what still waits, waits in the ledger. It may be started again."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
            leases = [self._book.let_go(), *(sending.let_go() for sending in self._sendings)]
            await self._end("leases", asyncio.gather(*leases))
        for channel in self._channels:
            await self._end(f"channel {channel.name}", channel.close())

    def forget(self) -> None:
        """Begin anew in a process that was forked."""
        self._tasks = []
        self._document.forget()
        self._begin()

    def _begin(self) -> None:
        """Be a process of its own, which knows of no incident yet."""
        settings = self._settings.alerts
        silent_seconds = _SILENT_TURNS * settings.interval_seconds + self._snapshot_seconds
        pace = Pace(settings.for_seconds, settings.clear_seconds, settings.update_seconds, silent_seconds)
        self._turn = Turn(
            secrets.token_hex(8),
            self._settings.health.service_name,
            pace,
            settings.links,
            has_siblings=self._document.is_shared,
        )
        self._book = Book(
            self._document,
            self._clock,
            timeout_seconds=self._settings.cache.timeout_seconds,
            # What waits is dropped by its own age; an incident that is open is written again and again.
            keep_seconds=settings.keep_seconds + silent_seconds,
            patience_seconds=settings.interval_seconds,
            silent_seconds=silent_seconds,
            note=self._note_full,
        )
        self._sendings = [
            Sending(
                channel.name,
                Dispatch(channel, self._counts[channel.name], settings, self._clock),
                self._book,
                self._document,
            )
            for channel in self._channels
        ]

    async def _look_for_ever(self) -> None:
        loop, period = asyncio.get_running_loop(), self._settings.alerts.interval_seconds
        # A fleet that was started at one moment does not take its turns at one moment.
        due = loop.time() + random.random() * min(period, 1.0)  # noqa: S311 -- no secret
        await self._attempt(self._book.look())  # what waits needs no turn to be sent
        while True:
            await asyncio.sleep(due - loop.time())
            await self._attempt(self._look())
            due = max(due + period, loop.time())

    async def _send_for_ever(self, sending: Sending) -> None:
        while True:
            await self._attempt(sending.run())
            await asyncio.sleep(self._settings.alerts.interval_seconds)

    async def _attempt(self, work: Awaitable[object]) -> None:
        """Await *work*; an alert that is late is better than none ever, so no failure ends what goes on for ever."""
        try:
            await work
        except Exception:
            log.exception("alerts: a turn, or sending, failed")

    async def _look(self) -> None:
        """Take one turn."""
        observed = await self._observed()
        await self._book.change(lambda ledger, is_alone: self._judge(ledger, observed, is_alone=is_alone))
        for name, counts in self._counts.items():
            counts.pending = len(self._book.queue(name))

    async def _observed(self) -> list[Observation] | None:
        """Return what the rules say; `None`: that could not be found out."""
        try:
            snapshot = await within(self._take(), self._snapshot_seconds)
        except Exception as error:  # noqa: BLE001 -- a source or a check of the user's; what is not known says nothing
            if not self._is_blind:
                log.warning("alerts: the rules cannot be looked at (%s): %s", reason_of(error), words_of(error))
            self._is_blind = True
            return None
        self._is_blind = False
        return observe(snapshot, self._settings)

    def _judge(self, ledger: Ledger, observed: Sequence[Observation] | None, *, is_alone: bool) -> None:
        now = self._clock.monotonic()
        expire(ledger, self._counts, now - self._settings.alerts.keep_seconds)
        for event in self._turn.take(ledger, observed, Moment(now, self._clock.now(), is_alone)):
            log.warning("alerts: %s %s (%s): %s", event.action, event.rule, event.severity, event.summary)
            self._note_full(enqueue(ledger, list(self._counts), event, now, self._settings.alerts.most_pending))
        self._write_dropped(ledger)

    def _write_dropped(self, ledger: Ledger) -> None:
        """Add to *ledger* what was dropped here since the last time: the doctor, another process, reads it there."""
        for name, counts in self._counts.items():
            written = self._written.setdefault(name, Counter())
            new = counts.dropped - written
            written.update(new)
            if new:
                ledger.dropped = {**ledger.dropped, name: dict(Counter(ledger.dropped.get(name, {})) + new)}

    def _note_full(self, dropped: Mapping[str, Sequence[Event]]) -> None:
        for channel, events in dropped.items():
            if channel in self._counts:
                self._counts[channel].dropped["full"] += len(events)
            told = ", ".join(f"{each.action} of {each.rule}" for each in events)
            log.error("alerts to %s: too much waits; dropped: %s", channel, told)

    async def _end(self, what: str, ending: Awaitable[object]) -> None:
        try:
            await within(ending, _CLOSE_SECONDS)
        except Exception as error:  # noqa: BLE001 -- a client library's; the others are to be ended, too
            log.warning("alerts: end of %s (%s): %s", what, reason_of(error), words_of(error))
