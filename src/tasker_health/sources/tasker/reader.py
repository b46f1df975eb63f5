"""Reads Tasker's tables in a snapshot: by a poll of the tally where there is one, or by counting everything."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import sqlalchemy as sa
from msgspec.structs import replace

from tasker_health.model import CountingMethod, Facts
from tasker_health.sources.tasker import queries
from tasker_health.sources.tasker.changes import Changes
from tasker_health.sources.tasker.figures import facts_of, groups_of
from tasker_health.sources.tasker.full_count import FullCount
from tasker_health.sources.tasker.marks import Marks
from tasker_health.sources.tasker.poll import NEVER, Poll, Polled
from tasker_health.sources.tasker.relations import Look, Relations
from tasker_health.sources.tasker.tally import Tally

_PAUSES = 25
_PAUSE = "SELECT pg_catalog.pg_sleep(0.02)"


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        schema: Of the tables.
        window_seconds: Of averages and ratios.
        stuck_after_seconds: A running task without a change for so long is stuck.
        breakdown: What tasks are grouped by: `none`, `namespaces` or `named_tasks`.
        most_groups: So many groups are told apart.
    """

    schema: str = "public"
    window_seconds: float = 3600
    stuck_after_seconds: float = 900
    breakdown: str = "none"
    most_groups: int = 20


class State:
    """What is known between two polls.

    Attributes:
        tally: The counts.
        marks: Which ids are settled.
        changes: Tells whether the tally has become wrong.
    """

    def __init__(self, tally: Tally, marks: Marks, changes: Changes) -> None:
        self.tally = tally
        self.marks = marks
        self.changes = changes


class Counted(NamedTuple):
    """What a full count has found.

    Attributes:
        facts: The figures.
        state: For polls to go on from; `None` where none can.
    """

    facts: Facts
    state: State | None


class Verified(NamedTuple):
    """The figures of one snapshot, counted in both ways."""

    by_tally: Facts
    by_count: Facts


class Reader:
    """Reads what is *wanted* over connections that are handed to it."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._relations = Relations(wanted.schema)
        by_group = wanted.breakdown != "none"
        self._poll = Poll(self._relations, by_group=by_group)
        self._count = FullCount(self._relations, wanted.window_seconds, by_group=by_group)
        self._names: dict[int, str] = {}

    def poll(self, connection: sa.Connection, state: State, seconds: float) -> tuple[Facts, bool]:
        """Return the figures, and whether the tally must be begun anew: something has happened that it cannot see."""
        look = self._relations.look(connection)
        replaced = state.changes.replaced(look) or not can_tally(look)
        if not replaced:
            state.marks.note(look.highest, look.writers)
        self._begin_snapshot(connection, seconds, queries.POLL)
        polled = self._run(connection, state, look)
        stale = replaced or state.changes.edited(look, polled.firsts)
        return self._facts(connection, state.tally, polled, look, CountingMethod.TALLY), stale

    def count(self, connection: sa.Connection, seconds: float) -> Counted:
        """Return the figures by counting everything, and a state to go on from where one can be had."""
        look, marks = self._settled_look(connection)
        self._begin_snapshot(connection, seconds)
        low = marks.settled if can_tally(look) else None
        tally = self._count.run(connection, low or NEVER, look.now)
        if low is None:
            whole = Polled(tally.counts, {}, 0)
            return Counted(self._facts(connection, tally, whole, look, CountingMethod.FULL_COUNT), None)
        state = State(tally, marks, Changes(look.seen, look.highest, look.edits[1]))
        polled = self._run(connection, state, look)
        return Counted(self._facts(connection, tally, polled, look, CountingMethod.TALLY), state)

    def verify(self, connection: sa.Connection, state: State, seconds: float) -> Verified:
        """Return the figures of one snapshot, counted in both ways; *state* is left as it is."""
        look = self._relations.look(connection)
        state.marks.note(look.highest, look.writers)
        apart = State(state.tally.apart(), state.marks, state.changes)
        self._begin_snapshot(connection, seconds)
        polled = self._poll.run(connection, apart.tally, apart.marks.settled or apart.tally.low, look.now, edited=True)
        whole = self._count.run(connection, NEVER, look.now)
        by_tally = self._facts(connection, apart.tally, polled, look, CountingMethod.TALLY)
        by_count = self._facts(connection, whole, Polled(whole.counts, {}, 0), look, CountingMethod.TALLY)
        return Verified(by_tally, by_count)

    def _run(self, connection: sa.Connection, state: State, look: Look) -> Polled:
        edited = state.changes.steps_updated(look)
        settled = state.marks.settled or state.tally.low
        return self._poll.run(connection, state.tally, settled, look.now, edited=edited)

    def _settled_look(self, connection: sa.Connection) -> tuple[Look, Marks]:
        """Look until some ids are settled, but not for long: a transaction may stay open for hours."""
        marks = Marks()
        for _ in range(_PAUSES):
            look = self._relations.look(connection)
            marks.note(look.highest, look.writers)
            if marks.settled is not None or not can_tally(look):
                break
            connection.exec_driver_sql(_PAUSE)
        return look, marks

    def _begin_snapshot(self, connection: sa.Connection, seconds: float, options: str = "") -> None:
        """Make every statement that follows see one moment, which begins only now."""
        connection.exec_driver_sql(queries.SNAPSHOT.format(ms=max(1, round(seconds * 1000))) + options)

    def _facts(
        self, connection: sa.Connection, tally: Tally, polled: Polled, look: Look, method: CountingMethod
    ) -> Facts:
        wanted = self._wanted
        facts = facts_of(tally, polled.counts, polled.ended, look.now, wanted.stuck_after_seconds, look.connections)
        groups = None
        if wanted.breakdown != "none":
            self._learn_names(connection, polled)
            groups = groups_of(polled.counts, self._names, wanted.most_groups)
        return replace(facts, groups=groups, method=method)

    def _learn_names(self, connection: sa.Connection, polled: Polled) -> None:
        if any(group not in self._names for group, _ in polled.counts.tasks if group is not None):
            by = "namespace" if self._wanted.breakdown == "namespaces" else "task"
            for row in self._relations.rows(connection, queries.NAMES):
                self._names[row.id] = getattr(row, by) or "unknown"


def can_tally(look: Look) -> bool:
    """Return whether a tally can be kept: not on a standby, nor where ids come otherwise than in a row."""
    return look.orderly and not look.is_standby
