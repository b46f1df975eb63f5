"""Reads Procrastinate's tables in a snapshot: by a poll of the tally where there is one, or by counting everything."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import sqlalchemy as sa

from tasker_health.model import CountingMethod, Facts
from tasker_health.sources.marks import Marks
from tasker_health.sources.procrastinate import queries
from tasker_health.sources.procrastinate.alive import Alive, Finder
from tasker_health.sources.procrastinate.figures import facts_of
from tasker_health.sources.procrastinate.tables import Keys, Look, Tables
from tasker_health.sources.procrastinate.tally import Moves, Tally
from tasker_health.sources.reader import Counted, Reading, Verified
from tasker_health.work import Findings
from tasker_health.workers import Workers

FEW = 1000
"""So few jobs are counted each time, which costs no more than a tally."""

_NEVER = Keys(2**62, 2**62)
_PAUSES = 25
_PAUSE = "SELECT pg_catalog.pg_sleep(0.02)"


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        schema: Of the tables.
        window_seconds: Of averages and ratios.
        stuck_after_seconds: Work without a change for so long is stuck.
        few: So few jobs are counted each time.
    """

    schema: str = "public"
    window_seconds: float = 3600
    stuck_after_seconds: float = 900
    few: int = FEW


class State:
    """What is known between two polls.

    Attributes:
        tally: The counts.
        seen: By what it shows that rows were deleted or tables replaced, when everything was counted.
    """

    def __init__(self, tally: Tally, seen: object) -> None:
        self.tally = tally
        self.seen = seen


class Reader:
    """Reads what is *wanted* over connections that are handed to it.

    Attributes:
        workers: Who works, as it was known before; `None`: it is not.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.workers: Workers | None = None
        self._wanted = wanted
        self._tables = Tables(wanted.schema)
        self._finder = Finder(self._tables, wanted.stuck_after_seconds)
        self._marks: Marks[Keys] = Marks()
        self._files: object = None

    def poll(self, connection: sa.Connection, state: State, seconds: float) -> Reading:
        """Return the figures by the tally, and whether they are to be trusted."""
        look = self._look(connection)
        self._begin_snapshot(connection, seconds)
        tally, settled = state.tally, self._marks.settled
        replaced = look.seen != state.seen or look.is_standby
        if tally.total <= self._wanted.few and settled is not None:
            tally = state.tally = self._counted(connection, settled, look.now)
            state.seen, replaced = look.seen, False
        else:
            self._go_on(connection, tally, settled or tally.low, look.now)
        facts = self._facts(connection, tally, look, CountingMethod.TALLY)
        return Reading(facts, replaced or not tally.balanced, suspicious=False)

    def count(self, connection: sa.Connection, seconds: float) -> Counted[State]:
        """Return the figures by counting everything, and a state to go on from where one can be had."""
        look = self._look(connection)
        for _ in range(_PAUSES):
            if self._marks.settled is not None or look.is_standby:
                break
            connection.exec_driver_sql(_PAUSE)
            look = self._look(connection)
        settled = None if look.is_standby else self._marks.settled
        self._begin_snapshot(connection, seconds)
        tally = self._counted(connection, settled or _NEVER, look.now)
        if settled is None:
            return Counted(self._facts(connection, tally, look, CountingMethod.FULL_COUNT), None)
        return Counted(self._facts(connection, tally, look, CountingMethod.TALLY), State(tally, look.seen))

    def verify(self, connection: sa.Connection, state: State, seconds: float) -> Verified[State]:
        """Return the figures of one snapshot, counted in both ways; *state* is left as it is."""
        look = self._look(connection)
        apart = state.tally.apart()
        settled = self._marks.settled or apart.low
        self._begin_snapshot(connection, seconds)
        self._go_on(connection, apart, settled, look.now)
        whole = self._counted(connection, apart.low, look.now)
        by_tally, by_count = (self._facts(connection, tally, look, CountingMethod.TALLY) for tally in (apart, whole))
        return Verified(by_tally, by_count, State(whole, look.seen))

    def explain(self, connection: sa.Connection, state: State | None, seconds: float, most: int) -> Findings:
        """Return what stands still in one snapshot; *most* jobs of each cause."""
        look = self._tables.look(connection)
        self._begin_snapshot(connection, seconds)
        tally = state.tally if state is not None else None
        alive = self._finder.find(connection, look.now, self.workers, tally)
        return Findings(tasks=tuple(self._finder.name(connection, alive, look.now, most)), causes=alive.causes())

    def _look(self, connection: sa.Connection) -> Look:
        look = self._tables.look(connection)
        files = look.seen[:5] if isinstance(look.seen, tuple) else None
        if files != self._files:
            self._marks, self._files = Marks(), files  # other tables, other ids
        self._marks.note(look.highest, look.writers, look.now)
        return look

    def _begin_snapshot(self, connection: sa.Connection, seconds: float) -> None:
        """Make every statement that follows see one moment, which begins only now."""
        connection.exec_driver_sql(queries.SNAPSHOT.format(ms=max(1, round(seconds * 1000))))

    def _go_on(self, connection: sa.Connection, tally: Tally, settled: Keys, now: float) -> None:
        """Bring *tally* up to date: what lies up to the ids *settled* is taken in for good."""
        low, settled = tally.low, Keys(*map(max, settled, tally.low))
        folded, above = self._moves(connection, low, settled, tally.width)
        tally.fold(low, settled, folded)
        tally.above = above
        tally.forget(now)

    def _counted(self, connection: sa.Connection, low: Keys, now: float) -> Tally:
        """Return a tally of everything that the snapshot shows, for polls to go on from the ids *low*."""
        tally = Tally(low, self._wanted.window_seconds)
        rows = self._tables.rows
        states = Counter({row.status: int(row.number) for row in rows(connection, queries.STATES)})
        _, tally.above = self._moves(connection, low, low, tally.width)
        window = Moves()
        values = {"events_to": low.events, "width": tally.width, "since": tally.since(now)}
        for row in rows(connection, queries.WINDOW, **values):
            window.take(row)
        ended = states.copy()
        for state in ("todo", "doing"):
            ended.pop(state, None)
        ended.subtract(tally.above.ended)
        window.ended, window.jobs = ended, states.total() - tally.above.jobs
        tally.fold(low, low, window)
        tally.forget(now)
        return tally

    def _moves(self, connection: sa.Connection, low: Keys, settled: Keys, width: float) -> tuple[Moves, Moves]:
        """Return what lies above the ids *low*: up to *settled*, and above those."""
        sides = (Moves(), Moves())
        values = {
            **{f"{name}_from": value for name, value in low._asdict().items()},
            **{f"{name}_to": value for name, value in settled._asdict().items()},
            "width": width,
        }
        for row in self._tables.rows(connection, queries.NEW_JOBS, **values):
            sides[bool(row.is_open)].jobs += int(row.number)
        for row in self._tables.rows(connection, queries.MOVES, **values):
            sides[bool(row.is_open)].take(row)
        return sides

    def _facts(self, connection: sa.Connection, tally: Tally, look: Look, method: CountingMethod) -> Facts:
        alive = self._finder.find(connection, look.now, self.workers, tally)
        tally.alive = _states_of(alive)
        return facts_of(tally, alive, look.now, look.connections, method)


def _states_of(alive: Alive) -> Counter[str]:
    return Counter({"todo": alive.waiting.total(), "doing": len(alive.running)})
