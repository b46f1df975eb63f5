"""One poll: what has become visible since the last one is added to the tally, at a cost that knows no history."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from tasker_health.sources.recent import Recent
from tasker_health.sources.tasker import late_queries, queries
from tasker_health.sources.tasker.marks import Ids
from tasker_health.sources.tasker.relations import Relations
from tasker_health.sources.tasker.tally import Counts, Failing, Moves, Settled, Tally
from tasker_health.sources.window import Buckets, Ended

Sides = tuple[Buckets, Buckets]
"""What is settled, and what is not."""

NEVER = Ids(*[2**63 - 1] * 4)
"""Above every id."""


class Polled:
    """What a poll has found, beside what it has added to the tally.

    Attributes:
        counts: How many are in each state, of everything that is visible.
        ended: What has ended lately and is not settled, by bucket.
        rows: How many rows have become visible since the full count.
        firsts: How many of them were the first transition of their entity.
        recent: What was accepted and has ended lately and is not settled.
    """

    def __init__(
        self, counts: Counts, ended: Buckets, rows: int = 0, firsts: int = 0, recent: Recent | None = None
    ) -> None:
        self.counts = counts
        self.ended = ended
        self.rows = rows
        self.firsts = firsts
        self.recent = recent or Recent()


class Poll:
    """Brings a tally up to date within the snapshot of a connection.

    Args:
        relations: The tables.
        by_group: Whether tasks are counted by named task.
    """

    def __init__(self, relations: Relations, *, by_group: bool) -> None:
        self._relations = relations
        self._moves = queries.MOVES_BY_GROUP if by_group else queries.MOVES

    def moves(self, connection: sa.Connection, low: Ids, settled: Ids) -> tuple[Moves, Moves]:
        """Return what happened between *low* and *settled*, which is there for good, and what happened above."""
        sides = (Moves(), Moves())
        for row in self._relations.rows(connection, self._moves, **_ids(low, settled)):
            moves = sides[row.open]
            moves.rows += row.number
            moves.firsts += row.number if row.first else 0
            if row.kind == "tasks":
                moves.new_tasks.append((row.grp, row.number))
            elif row.kind == "task_transitions":
                moves.tasks.append((row.grp, row.before, row.after, row.number))
            elif row.kind == "steps":
                moves.new_steps += row.number
            else:
                moves.steps.append((row.before, row.after, row.number))
        return sides

    def run(self, connection: sa.Connection, tally: Tally, settled: Ids, now: float, *, edited: bool) -> Polled:
        """Bring *tally* up to date.

        Args:
            connection: In a snapshot that began after *settled* was known.
            tally: What was known.
            settled: Up to these ids nothing new can appear.
            now: The time, in seconds since the epoch.
            edited: Whether steps may have been changed without a transition.
        """
        settled = Ids(*map(max, settled, tally.low))
        low = tally.low
        folded, above = self.moves(connection, low, settled)
        ended: Sides = ({}, {})
        recent = (Recent(), Recent())
        if folded or above or edited:
            ended = self._look_at_what_was_touched(connection, tally, low, settled, now)
            values = {**_ids(low, settled), "since": tally.since_minute(now)}
            for row in self._relations.rows(connection, late_queries.LATELY, **values):
                recent[row.open].take(row)
        if folded or settled != low:
            tally.fold(low, settled, folded, ended[False], recent[False])
        tally.forget(now)
        rows, firsts = tally.rows + above.rows, tally.firsts + above.firsts
        return Polled(tally.counts.plus(above), ended[True], rows, firsts, recent[True])

    def _look_at_what_was_touched(
        self, connection: sa.Connection, tally: Tally, low: Ids, settled: Ids, now: float
    ) -> Sides:
        """Look again at whatever has a transition above *low*, which does no harm; return what has ended."""
        rows = self._relations.rows
        ids: dict[str, Any] = _ids(low, settled)
        for row in rows(connection, queries.RUNNING, **ids):
            running = zip(row.ids, row.last, strict=True) if row.running else ()
            tally.touch_tasks(row.ids, running)
        tally.failing = failing_of(rows(connection, queries.FAILING, known=list(tally.failing), **ids))
        tally.blocked = self.blocked(connection, tally)
        self._find_oldest_pending(connection, tally, low)
        ids |= {"first": tally.window.first_bucket(now), "width": tally.window.bucket_seconds}
        known = [step_id for step_id, settled in tally.settled.items() if not settled.done]
        tasks = rows(connection, queries.ENDED_TASKS, **ids)
        return ended_of(tasks, touch_steps(tally, rows(connection, queries.ENDED_STEPS, known=known, **ids)))

    def blocked(self, connection: sa.Connection, tally: Tally) -> frozenset[int]:
        """Return those of the tasks with a step that has failed for good cannot move by themselves."""
        tasks = sorted({step.task_id for step in tally.failing.values() if step.final})
        rows = self._relations.rows(connection, queries.BLOCKED, tasks=tasks) if tasks else ()
        return frozenset(row.task_id for row in rows)

    def _find_oldest_pending(self, connection: sa.Connection, tally: Tally, low: Ids) -> None:
        rows, ids = self._relations.rows, _ids(low, low)
        returned = rows(connection, queries.BACK_TO_PENDING, **ids)[0][0]
        first = min(tally.pending_from, low.tasks + 1, *([returned] if returned is not None else []))
        found = rows(connection, queries.OLDEST_PENDING, pending_from=first)
        tally.oldest_pending = (found[0].task_id, found[0].created) if found else None
        # None is pending now, but one with an id above may appear.
        tally.pending_from = found[0].task_id if found else low.tasks + 1


def ended_of(tasks: Sequence[Any], steps: Sequence[Any]) -> Sides:
    """Return what ended by bucket from rows of *tasks* and *steps*: what is settled, and what is not."""
    sides: Sides = ({}, {})
    for row in tasks:
        sides[row.open][row.bucket] = Ended(row.completed, row.failed, row.timed, row.ms)
    for row in steps:
        buckets = sides[row.open]
        buckets[row.bucket] = buckets.get(row.bucket, Ended()).plus(Ended(timed_steps=row.timed, step_ms=row.ms))
    return sides


def touch_steps(tally: Tally, rows: Sequence[Any]) -> list[Any]:
    """Have *tally* learn which steps have settled; return those *rows* that tell what ended."""
    for row in rows:
        if row.ids is not None:
            tally.touch_steps(row.ids, _settled_of(row))
    return [row for row in rows if row.ids is None]


def failing_of(rows: Sequence[Any]) -> dict[int, Failing]:
    """Return the steps of *rows* by their ids."""
    return {row.step_id: Failing(row.step_id, row.task_id, row.final, row.waits, row.due) for row in rows}


def _settled_of(row: Any) -> list[tuple[int, Settled]]:
    """Return the steps of *row*, which have all settled in one way, or not."""
    if row.settled is None:
        return []
    done, succeeded = row.settled in {"complete", "resolved_manually"}, row.settled == "complete"
    counts = row.settled != "waiting"
    return [
        (step_id, Settled(at, counts=counts, done=done, succeeded=succeeded))
        for step_id, at in zip(row.ids, row.at, strict=True)
    ]


def _ids(low: Ids, settled: Ids) -> dict[str, Any]:
    """Return both as the queries name them."""
    return {
        **{f"low_{name}": value for name, value in low._asdict().items()},
        **{f"settled_{name}": value for name, value in settled._asdict().items()},
    }
