"""Reads DBOS' tables in a snapshot: by a poll of the tally where there is one, or by counting everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tasker_health.model import CountingMethod, Facts
from tasker_health.sources.dbos.alive import Alive, Finder
from tasker_health.sources.dbos.changes import Changes
from tasker_health.sources.dbos.figures import facts_of
from tasker_health.sources.dbos.full_count import NEVER, FullCount
from tasker_health.sources.dbos.owners import Owners
from tasker_health.sources.dbos.poll import Poll
from tasker_health.sources.dbos.postgresql import PostgresMoments
from tasker_health.sources.dbos.sqlite import SqliteMoments
from tasker_health.sources.dbos.standing import Standing
from tasker_health.sources.dbos.tables import Look, Tables
from tasker_health.sources.dbos.tally import Tally
from tasker_health.sources.reader import Counted, Reading, Verified
from tasker_health.work import Cause, Findings, StuckTask
from tasker_health.workers import Workers

FEW = 1000
"""So few tasks are counted each time, which costs no more than a tally."""

_PAUSES = 25
_PAUSE = "SELECT pg_catalog.pg_sleep(0.02)"


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        dialect: `sqlite` or `postgresql`.
        schema: Of the tables, on PostgreSQL.
        window_ms: Of averages and ratios.
        stuck_ms: A running task without a change for so long is stuck.
        retries: Whether each attempt of a step is recorded, so that retries can be counted.
    """

    dialect: str
    schema: str
    window_ms: int
    stuck_ms: int
    retries: bool


class State:
    """What is known between two polls.

    Attributes:
        tally: The counts.
        changes: Tells whether the tally has become wrong.
        moment: Of the last poll: nothing was written when that of the next one is equal; `None`: there was none.
        alive: What was alive then.
    """

    def __init__(self, tally: Tally, changes: Changes) -> None:
        self.tally = tally
        self.changes = changes
        self.moment: object = None
        self.alive: Alive | None = None


class Reader:
    """Reads what is *wanted* over connections that are handed to it.

    Attributes:
        workers: Who works, as it was known before; `None`: it is not.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.workers: Workers | None = None
        self._wanted = wanted
        tables = Tables(wanted.dialect, wanted.schema)
        self._moments = PostgresMoments(tables) if wanted.dialect == "postgresql" else SqliteMoments(tables)
        self._poll = Poll(tables, wanted.stuck_ms, retries=wanted.retries)
        self._finder = Finder(tables, wanted.stuck_ms, wanted.window_ms)
        self._count = FullCount(tables, self._poll, wanted.window_ms, retries=wanted.retries)

    def poll(self, connection: sa.Connection, state: State, seconds: float) -> Reading:
        """Return the figures by the tally, and whether they are to be trusted."""
        look = self._moments.begin(connection, seconds)
        tally = state.tally
        replaced = look.seen != state.changes.seen or look.settled is None
        known = state.alive if look.moment == state.moment else None
        if look.moment == state.moment:
            self._poll.look_again(connection, tally, look.now)
        elif tally.total <= FEW and look.settled is not None:
            tally = state.tally = self._count.run(connection, look.settled, look.now)
            state.changes = Changes(look.seen, look.now / 1000)
            replaced = False
        else:
            self._poll.run(connection, tally, look.settled or tally.low, look.now)
        state.moment = look.moment
        state.alive = self._finder.find(connection, look.now, known)
        stale = replaced or not tally.balanced or self._unseen(state, look)
        return Reading(self._facts(tally, state.alive, look, CountingMethod.TALLY), stale, suspicious=False)

    def count(self, connection: sa.Connection, seconds: float) -> Counted[State]:
        """Return the figures by counting everything, and a state to go on from where one can be had."""
        look = self._settled_look(connection, seconds)
        tally = self._count.run(connection, look.settled or NEVER, look.now)
        alive = self._finder.find(connection, look.now)
        if look.settled is None:
            return Counted(self._facts(tally, alive, look, CountingMethod.FULL_COUNT), None)
        state = State(tally, Changes(look.seen, look.now / 1000))
        return Counted(self._facts(tally, alive, look, CountingMethod.TALLY), state)

    def verify(self, connection: sa.Connection, state: State, seconds: float) -> Verified[State]:
        """Return the figures of one snapshot, counted in both ways; *state* is left as it is."""
        look = self._moments.begin(connection, seconds)
        apart = state.tally.apart()
        self._poll.run(connection, apart, look.settled or apart.low, look.now)
        whole = self._count.run(connection, look.settled or NEVER, look.now)
        alive = self._finder.find(connection, look.now)
        by_tally, by_count = (self._facts(tally, alive, look, CountingMethod.TALLY) for tally in (apart, whole))
        went_on = State(whole, Changes(look.seen, look.now / 1000)) if look.settled else None
        return Verified(by_tally, by_count, went_on)

    def explain(self, connection: sa.Connection, seconds: float, most: int) -> Findings:
        """Return what stands still in one snapshot, at most *most* tasks of each cause, and the dead letters."""
        look = self._moments.begin(connection, seconds)
        alive = self._finder.find(connection, look.now)
        old = look.now - self._wanted.stuck_ms
        standing = Standing(alive, Owners(self.workers), self._poll.unchanged(connection, old), look.now)
        causes = standing.causes()
        tasks: list[StuckTask] = []
        for cause in [cause for cause, number in causes.items() if number]:
            before = old if cause is Cause.NOT_TAKEN else NEVER.tasks
            waiting = self._finder.waiting(connection, standing.parts(cause), before, most)
            named = [*standing.named(cause)[:most], *(_named(row, cause, "pending") for row in waiting)]
            tasks += sorted(named, key=lambda task: (task.since or 0, task.id))[:most]
        causes[Cause.RETRIES_EXHAUSTED], letters = self._finder.dead_letters(connection, most)
        tasks += [_named(row, Cause.RETRIES_EXHAUSTED, "failed") for row in letters]
        return Findings(tasks=tuple(tasks), causes=causes)

    def _unseen(self, state: State, look: Look) -> bool:
        if look.inserted is None:
            return False
        return state.changes.unseen(state.tally.total - look.inserted, look.now / 1000)

    def _settled_look(self, connection: sa.Connection, seconds: float) -> Look:
        """Look until something is settled, but not for long: a transaction may stay open for hours."""
        look = self._moments.begin(connection, seconds)
        for _ in range(_PAUSES):
            if look.settled is not None or look.is_standby:
                break
            connection.exec_driver_sql(_PAUSE)
            look = self._moments.begin(connection, seconds)
        return look

    def _facts(self, tally: Tally, alive: Alive, look: Look, method: CountingMethod) -> Facts:
        wanted = self._wanted
        standing = Standing(alive, Owners(self.workers), tally.stuck(look.now - wanted.stuck_ms), look.now)
        return facts_of(tally, standing, look.now, wanted.stuck_ms, look.connections, method, retries=wanted.retries)


def _named(row: Any, cause: Cause, state: str) -> StuckTask:
    return StuckTask(
        id=row.id,
        cause=cause,
        state=state,
        name=row.name,
        queue=row.queue or None,
        version=row.version or None,
        since=row.since / 1000,
    )
