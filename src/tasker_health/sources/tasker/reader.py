"""Reads Tasker's tables in a snapshot: by a poll of the tally where there is one, or by counting everything."""

from __future__ import annotations

from dataclasses import dataclass
from operator import lt
from typing import Any

import sqlalchemy as sa
from msgspec.structs import replace

from tasker_health.model import CountingMethod, Facts
from tasker_health.sources.reader import Counted, Reading, Verified
from tasker_health.sources.tasker import late_queries, queries
from tasker_health.sources.tasker.changes import Changes
from tasker_health.sources.tasker.figures import facts_of, groups_of, standing_of
from tasker_health.sources.tasker.full_count import FullCount
from tasker_health.sources.tasker.marks import Ids, Marks
from tasker_health.sources.tasker.poll import NEVER, Poll, Polled
from tasker_health.sources.tasker.relations import Look, Relations
from tasker_health.sources.tasker.tally import Tally
from tasker_health.work import Cause, Findings, StuckTask

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


class Reader:
    """Reads what is *wanted* over connections that are handed to it."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._relations = Relations(wanted.schema)
        by_group = wanted.breakdown != "none"
        self._poll = Poll(self._relations, by_group=by_group)
        self._count = FullCount(self._relations, wanted.window_seconds, by_group=by_group)
        self._names: dict[int, str] = {}
        self._handlers: dict[str, str] = {}
        self._marks = Marks()
        self._marked: Look | None = None

    def poll(self, connection: sa.Connection, state: State, seconds: float) -> Reading:
        """Return the figures by the tally, and whether they are to be trusted."""
        look = self._relations.look(connection)
        replaced = state.changes.replaced(look) or not can_tally(look)
        if not replaced:
            state.marks.note(look.highest, look.writers, look.now)
        self._begin_snapshot(connection, seconds, queries.POLL)
        polled = self._run(connection, state, look)
        suspicious = state.changes.suspicious(look, polled.firsts, polled.rows)
        facts = self._facts(connection, state.tally, polled, look, CountingMethod.TALLY)
        return Reading(facts, replaced, suspicious)

    def count(self, connection: sa.Connection, seconds: float) -> Counted[State]:
        """Return the figures by counting everything, and a state to go on from where one can be had."""
        look, marks = self._settled_look(connection)
        self._begin_snapshot(connection, seconds)
        if marks.settled is None or not can_tally(look):
            tally = self._count.run(connection, NEVER, look.now)
            facts = self._facts(connection, tally, Polled(tally.counts, {}), look, CountingMethod.FULL_COUNT)
            return Counted(facts, None)
        self._marks = Marks()  # those are the tally's own from now on
        return Counted(*self._counted(connection, look, marks, marks.settled))

    def verify(self, connection: sa.Connection, state: State, seconds: float) -> Verified[State]:
        """Return the figures of one snapshot, counted in both ways; *state* is left as it is."""
        look = self._relations.look(connection)
        state.marks.note(look.highest, look.writers, look.now)
        apart, settled = state.tally.apart(), state.marks.settled or state.tally.low
        self._begin_snapshot(connection, seconds)
        polled = self._poll.run(connection, apart, settled, look.now, edited=True)
        by_tally = self._facts(connection, apart, polled, look, CountingMethod.TALLY)
        return Verified(by_tally, *self._counted(connection, look, state.marks, apart.low))

    def explain(self, connection: sa.Connection, state: State | None, seconds: float, most: int) -> Findings:
        """Return what stands still in one snapshot, at most *most* tasks of each cause; *state* is left as it is."""
        look = self._relations.look(connection)
        self._begin_snapshot(connection, seconds, queries.POLL if state else "")
        if state is None:
            tally = self._count.run(connection, NEVER, look.now)
        else:
            tally = state.tally.apart()
            self._poll.run(connection, tally, tally.low, look.now, edited=True)
        standing = standing_of(tally, look.now - self._wanted.stuck_after_seconds)
        tasks: list[StuckTask] = []
        for cause, ids in standing.items():
            rows = self._relations.rows(connection, late_queries.NAMED, tasks=ids) if ids else []
            named = [_named(row, cause, tally.running.get(row.task_id, row.changed)) for row in rows]
            tasks += sorted(named, key=lambda task: (task.since or 0, int(task.id)))[:most]
        return Findings(tasks=tuple(tasks), causes={cause: len(ids) for cause, ids in standing.items()})

    def _counted(self, connection: sa.Connection, look: Look, marks: Marks, low: Ids) -> tuple[Facts, State]:
        """Count everything, and go on from the ids *low* with a poll in the same snapshot."""
        state = State(self._count.run(connection, low, look.now), marks, Changes(look.seen, look.highest, look.counted))
        polled = self._run(connection, state, look)
        return self._facts(connection, state.tally, polled, look, CountingMethod.TALLY), state

    def _run(self, connection: sa.Connection, state: State, look: Look) -> Polled:
        edited = state.changes.attributes_changed(look)
        settled = state.marks.settled or state.tally.low
        return self._poll.run(connection, state.tally, settled, look.now, edited=edited)

    def _settled_look(self, connection: sa.Connection) -> tuple[Look, Marks]:
        """Look until some ids are settled, but not for long: a transaction may stay open for hours.

        What was learnt of the writers is kept until it suffices, unless the tables are others by then.
        """
        for _ in range(_PAUSES):
            look = self._relations.look(connection)
            before, self._marked = self._marked, look
            if before is None or before.seen[:2] != look.seen[:2] or any(map(lt, look.highest, before.highest)):
                self._marks = Marks()  # rows that were deleted change nothing of it
            self._marks.note(look.highest, look.writers, look.now)
            if self._marks.settled is not None or not can_tally(look):
                break
            connection.exec_driver_sql(_PAUSE)
        return look, self._marks

    def _begin_snapshot(self, connection: sa.Connection, seconds: float, options: str = "") -> None:
        """Make every statement that follows see one moment, which begins only now."""
        connection.exec_driver_sql(queries.SNAPSHOT.format(ms=max(1, round(seconds * 1000))) + options)

    def _facts(
        self, connection: sa.Connection, tally: Tally, polled: Polled, look: Look, method: CountingMethod
    ) -> Facts:
        wanted = self._wanted
        self._learn_handlers(connection, tally, polled)
        facts = facts_of(tally, polled, look.now, wanted.stuck_after_seconds, self._handlers)
        groups = None
        if wanted.breakdown != "none":
            self._learn_names(connection, polled)
            groups = groups_of(polled.counts, self._names, wanted.most_groups)
        return replace(facts, groups=groups, method=method, connections=look.connections)

    def _learn_handlers(self, connection: sa.Connection, tally: Tally, polled: Polled) -> None:
        counted = (tally.recent.completed, tally.recent.failed, polled.recent.completed, polled.recent.failed)
        if any(kind.handler not in self._handlers for counts in counted for kind in counts):
            self._handlers |= {
                str(row.id): row.task or "unknown" for row in self._relations.rows(connection, queries.NAMES)
            }

    def _learn_names(self, connection: sa.Connection, polled: Polled) -> None:
        if any(group not in self._names for group, _ in polled.counts.tasks if group is not None):
            by = "namespace" if self._wanted.breakdown == "namespaces" else "task"
            for row in self._relations.rows(connection, queries.NAMES):
                self._names[row.id] = getattr(row, by) or "unknown"


def _named(row: Any, cause: Cause, since: float) -> StuckTask:
    state = "running" if row.state == "in_progress" else "pending"
    return StuckTask(id=str(row.task_id), cause=cause, state=state, name=row.name, since=since)


def can_tally(look: Look) -> bool:
    """Return whether a tally can be kept: not on a standby, nor where ids come otherwise than in a row."""
    return look.orderly and not look.is_standby
