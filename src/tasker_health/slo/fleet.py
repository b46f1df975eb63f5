"""What the fleet knows of its objectives: a document for each in the shared cache: a restart forgets nothing."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Annotated

from msgspec import Meta, Struct

from tasker_health.cache.document import SharedDocument
from tasker_health.cache.shared import SharedCache
from tasker_health.clock import Clock
from tasker_health.reasons import reason_of, words_of
from tasker_health.slo import FINE_MINUTES, HOUR_MINUTES
from tasker_health.slo.ledger import Ends
from tasker_health.slo.objective import Objective
from tasker_health.slo.objectives import Objectives

log = logging.getLogger(__name__)

_TURN_SECONDS = 60
_CLOSE_SECONDS = 1
_MINUTE_SECONDS = 60
_SLACK_MINUTES = 15
"""By so much the clock of an engine may be ahead of ours."""

_Count = Annotated[int, Meta(ge=0, le=2**53)]
_Row = tuple[_Count, _Count, _Count, _Count]
"""A minute or an hour since the epoch; good, bad, and how many minutes were seen."""


class Told(Struct, forbid_unknown_fields=True):
    """What somebody has seen of one objective."""

    minutes: Annotated[list[_Row], Meta(max_length=FINE_MINUTES + 2 * HOUR_MINUTES)]
    hours: Annotated[list[_Row], Meta(max_length=90 * 24 + 2)]


class ObjectivesFleet:
    """Reads and writes the documents, once a minute.

    Whoever writes has read just before; of two who write at the same moment one is lost, and told again a minute later.

    Args:
        objectives: What was seen here.
        shared: The cache.
        clock: What minute it is.
    """

    def __init__(self, objectives: Objectives, shared: SharedCache, clock: Clock) -> None:
        self._clock = clock
        self._documents: list[tuple[Objective, SharedDocument[Told]]] = [
            (each, shared.document(_name(each), Told)) for each in objectives.all
        ]
        self._written = [-1] * len(self._documents)
        self._task: asyncio.Task[None] | None = None
        self._is_blind = False

    def start(self) -> None:
        """Begin on the running event loop; where it has begun already, or nobody else can see it, nothing."""
        if self._task is None and any(document.is_shared for _, document in self._documents):
            self._task = asyncio.get_running_loop().create_task(self._turn_for_ever())

    async def stop(self) -> None:
        """End; what was seen is kept, and it may be started again."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task}, timeout=_CLOSE_SECONDS)

    def forget(self) -> None:
        """Begin anew in a process that was forked."""
        self._task = None

    async def turn(self) -> None:
        """Read what others have seen of each objective, and write it together with what was seen here."""
        for place, (objective, document) in enumerate(self._documents):
            ledger = objective.ledger
            loaded = await document.load(self._believes)
            if not loaded.is_answered:
                continue
            if loaded.document is not None:
                ledger.merge(_by_time(loaded.document.minutes), _by_time(loaded.document.hours))
            elif ledger.minutes:
                self._written[place] = -1  # what was there is gone
            await asyncio.sleep(0)
            version = ledger.version
            if version != self._written[place] and await document.save(
                Told(_rows(ledger.minutes), _rows(ledger.hours)), objective.settings.window_days * 86_400
            ):
                self._written[place] = version

    async def _turn_for_ever(self) -> None:
        while True:
            try:
                await self.turn()
            except Exception as error:  # noqa: BLE001 -- a cache of the user's may raise anything
                if not self._is_blind:
                    log.warning("slos: the fleet's are not seen (%s): %s", reason_of(error), words_of(error))
                self._is_blind = True
            else:
                self._is_blind = False
            # A fleet that was started together does not ask together.
            await asyncio.sleep(_TURN_SECONDS * (0.75 + 0.5 * random.random()))  # noqa: S311 -- no secret

    def _believes(self, told: Told) -> bool:
        """Return whether that can be: nothing of a time to come, which would hide all that is to be seen."""
        last = int(self._clock.now() // _MINUTE_SECONDS) + _SLACK_MINUTES
        hour = last // HOUR_MINUTES
        return all(row[0] <= last and row[3] <= 1 for row in told.minutes) and all(
            row[0] <= hour and row[3] <= HOUR_MINUTES for row in told.hours
        )


def _name(objective: Objective) -> str:
    # Of another objective of the same name another document: what it counts is not ours.
    wanted = objective.settings
    words = (objective.name, wanted.source, wanted.handler, wanted.queue, wanted.window_days)
    return "slo/" + "/".join("" if each is None else str(each) for each in words)


def _rows(ends: dict[int, Ends]) -> list[_Row]:
    return [(time, *ends[time]) for time in sorted(ends)]


def _by_time(rows: list[_Row]) -> dict[int, Ends]:
    return {row[0]: Ends(*row[1:]) for row in rows}
