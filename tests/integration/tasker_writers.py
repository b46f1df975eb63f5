"""Writers of Tasker's tables as its workers are: connections of their own, one statement at a time, one seed each.

A writer is a generator: it stops after every statement, so that a test can let several of them take turns in any
order, or let each run in a thread. What it yields is how long it would like to do nothing, in seconds: with a
transaction open, with ids taken and not committed, with a transaction prepared.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import sqlalchemy as sa

NOW = "clock_timestamp() AT TIME ZONE 'UTC'"
_MOST_OWN = 30

_NEXT = {
    "pending": ["in_progress"] * 8 + ["cancelled", "resolved_manually"],
    "in_progress": ["complete"] * 5 + ["error"] * 5 + ["cancelled"],
    "error": ["in_progress"] * 5 + ["pending"] * 2 + ["resolved_manually", "cancelled"],
    "complete": ["pending", "in_progress"],
    "cancelled": ["pending"],
    "resolved_manually": ["complete", "pending"],
    "paused": ["in_progress"],
}
_COLUMNS = {
    "in_progress": "in_process = true, last_attempted_at = {now}",
    "complete": "in_process = false, processed = true, processed_at = {now}, attempts = coalesce(attempts, 0) + 1",
    "error": "in_process = false, attempts = coalesce(attempts, 0) + 1, last_attempted_at = {now},"
    " backoff_request_seconds = {backoff}",
    "pending": "in_process = false, processed = false, attempts = 0",
    "resolved_manually": "processed = true",
}
_OWNERS = {
    "tasker_task_transitions": "task_id",
    "tasker_workflow_step_transitions": "workflow_step_id",
}

Pauses = Iterator[float]


def connect(url: str) -> psycopg.Connection[Any]:
    """Return a connection to *url* on which a transaction begins only where it is said."""
    plain = sa.make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return psycopg.connect(plain, autocommit=True)


class Writer:
    """One worker of Tasker's.

    Args:
        url: The database.
        seed: Of everything that it does.
        window_seconds: Some of what it writes is as old as this window, so that it leaves the window meanwhile.
        longest_pause_seconds: It holds a transaction open no longer.
        noted: How many of its transitions say what the state was before.
        prepares: Whether some of its transactions are prepared first, which the server must allow.

    Attributes:
        committed, rolled_back, prepared, failed: How many of its transactions came to what.
    """

    def __init__(
        self,
        url: str,
        seed: int,
        *,
        window_seconds: float = 60,
        longest_pause_seconds: float = 3,
        prepares: bool = True,
        noted: float = 0.6,
    ) -> None:
        self.random = random.Random(seed)
        self.connection = connect(url)
        self.committed = self.rolled_back = self.prepared = self.failed = 0
        self._name = f"writer_{seed}"
        self._window_seconds = window_seconds
        self._longest_pause_seconds = longest_pause_seconds
        self._ends = [75, 17, 8 * prepares]
        self._noted = noted
        self._own: list[int] = []
        self._made: list[int] = []
        self._task = 0
        self._pending_name: str | None = None

    def work(self) -> Pauses:
        """Write one transaction after the other, for ever."""
        while True:
            try:
                yield from self._transaction()
            except psycopg.errors.Error:
                # Somebody else has deleted the task, truncated the table, or won a race: a worker tries again.
                self.failed += 1
                self._forget()
                self._ask("ROLLBACK")
                yield 0.0

    def close(self) -> None:
        """End what is open, as the end of a process does; what is prepared is rolled back."""
        with contextlib.suppress(psycopg.Error):
            self._ask("ROLLBACK")
            if self._pending_name:
                self._ask(f"ROLLBACK PREPARED '{self._pending_name}'")
        self.connection.close()

    def _transaction(self) -> Pauses:
        self._ask("BEGIN")
        self._made = []
        for _ in range(self.random.choice([1, 1, 1, 2, 3, 6])):
            action = self.random.choices(list(_ACTIONS), list(_ACTIONS.values()))[0]
            if self._own or action is _create:
                yield from self._in_savepoint(action) if self.random.random() < 0.25 else action(self)
        if self.random.random() < 0.12:
            yield self.random.uniform(0.05, self._longest_pause_seconds)
        yield from self._end()

    def _in_savepoint(self, action: Callable[[Writer], Pauses]) -> Pauses:
        """Do *action* in a subtransaction, and take it back or not."""
        made = list(self._made)
        self._ask("SAVEPOINT deeper")
        yield from action(self)
        if self.random.random() < 0.5:
            self._ask("ROLLBACK TO deeper")
            self._made = made
        if self.random.random() < 0.5:
            self._ask("RELEASE deeper")
        yield 0.0

    def _end(self) -> Pauses:
        way = self.random.choices(["COMMIT", "ROLLBACK", "PREPARE"], self._ends)[0]
        if way == "PREPARE":
            way = self.random.choice(["COMMIT", "COMMIT", "ROLLBACK"])
            self.prepared += 1
            name = f"{self._name}_{self.prepared}"
            self._ask(f"PREPARE TRANSACTION '{name}'")
            self._pending_name = name
            yield self.random.uniform(0.05, self._longest_pause_seconds)
            self._ask(f"{way} PREPARED '{name}'")
            self._pending_name = None
        else:
            self._ask(way)
        if way == "COMMIT":
            self.committed += 1
            self._own = (self._own + self._made)[-_MOST_OWN:]
        else:
            self.rolled_back += 1
        yield 0.0

    def _forget(self) -> None:
        self._own = [task for task in self._own if task != self._task]

    def _choose(self) -> int:
        """Return a task of its own: nobody else touches it, so nobody is waited for."""
        self._task = self.random.choice([*self._own, *self._made])
        return self._task

    def _move(self, table: str, key: int, state: str | None = None) -> Pauses:
        """Bring the task or step *key* to *state*, or to one that may follow."""
        owner = _OWNERS[table]
        before = self._ask(f"SELECT to_state, sort_key FROM {table} WHERE {owner} = %s AND most_recent", key)
        last, sort_key = before[0] if before else ("pending", 0)
        state = state or self.random.choice(_NEXT[last])
        if before:
            self._ask(
                f"UPDATE {table} SET most_recent = false, updated_at = {NOW} WHERE {owner} = %s AND most_recent", key
            )
            yield 0.0
        noted = last if self.random.random() < self._noted and (before or self.random.random() < 0.5) else None
        if self.random.random() < 0.05:
            state = "paused"
        self._ask(
            f"INSERT INTO {table} ({owner}, to_state, from_state, sort_key, most_recent, created_at, updated_at)"
            f" VALUES (%s, %s, %s, %s, true, {self._some_time()}, {NOW})",
            *(key, state, noted, sort_key + 10),
        )
        yield 0.0
        if owner == "workflow_step_id" and state in _COLUMNS:
            columns = _COLUMNS[state].format(now=NOW, backoff=self.random.choice(["NULL", "0", "1", "4"]))
            self._ask(f"UPDATE tasker_workflow_steps SET {columns}, updated_at = {NOW} WHERE {owner} = %s", key)
            yield 0.0

    def _some_time(self) -> str:
        """Return the time as SQL: now, or that of a worker whose clock differs."""
        if self.random.random() < 0.9:
            return NOW
        return f"{NOW} - interval '{self.random.uniform(-2, self._window_seconds + 3):.6f} s'"

    def _ask(self, statement: str, *values: Any) -> list[Any]:
        cursor = self.connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


def _create(writer: Writer) -> Pauses:
    """Accept a task with its steps, most of which have no transition yet."""
    pick = writer.random
    [(task,)] = writer._ask(
        "INSERT INTO tasker_tasks (named_task_id, requested_at, created_at, updated_at)"
        f" VALUES (%s, {NOW}, {writer._some_time()}, {NOW}) RETURNING task_id",
        pick.randint(1, 4),
    )
    writer._made.append(task)
    yield 0.0
    steps: list[int] = []
    for _ in range(pick.randint(0, 4)):
        [(step,)] = writer._ask(
            "INSERT INTO tasker_workflow_steps (task_id, named_step_id, retryable, retry_limit, in_process, processed,"
            f" created_at, updated_at) VALUES (%s, %s, %s, %s, %s, %s, {NOW}, {NOW}) RETURNING workflow_step_id",
            *(task, pick.randint(1, 4), pick.choice([True, True, False, None])),
            *(pick.choice([None, 0, 1, 2, 3]), pick.choice([None, False]), pick.choice([None, False])),
        )
        for parent in steps:
            if pick.random() < 0.4:
                writer._ask(
                    "INSERT INTO tasker_workflow_step_edges (from_step_id, to_step_id, name, created_at, updated_at)"
                    f" VALUES (%s, %s, 'provides', {NOW}, {NOW})",
                    *(parent, step),
                )
        steps.append(step)
    yield 0.0
    if pick.random() < 0.7:
        yield from writer._move("tasker_task_transitions", task, pick.choice(["pending", "in_progress"]))


def _move_task(writer: Writer) -> Pauses:
    yield from writer._move("tasker_task_transitions", writer._choose())


def _move_step(writer: Writer) -> Pauses:
    """Bring a step of some task some way forward, often by more than one transition at once."""
    found = writer._ask("SELECT workflow_step_id FROM tasker_workflow_steps WHERE task_id = %s", writer._choose())
    if found:
        step = writer.random.choice(found)[0]
        for _ in range(writer.random.choice([1, 1, 2, 4])):
            yield from writer._move("tasker_workflow_step_transitions", step)


def _fail_and_retry(writer: Writer) -> Pauses:
    """Fail a step, and in the same transaction begin it again or reset its task."""
    task = writer._choose()
    found = writer._ask("SELECT workflow_step_id FROM tasker_workflow_steps WHERE task_id = %s", task)
    if not found:
        return
    step = writer.random.choice(found)[0]
    for state in ("in_progress", "error", *(["in_progress"] if writer.random.random() < 0.5 else [])):
        yield from writer._move("tasker_workflow_step_transitions", step, state)
    if writer.random.random() < 0.3:
        for state in ("error", "pending"):
            yield from writer._move("tasker_task_transitions", task, state)


def _end_or_revive(writer: Writer) -> Pauses:
    """End a task that is alive as it is, with steps that have failed or run; bring back one that has ended."""
    task = writer._choose()
    states = writer._ask("SELECT to_state FROM tasker_task_transitions WHERE task_id = %s AND most_recent", task)
    alive = not states or states[0][0] in {"pending", "in_progress"}
    after = ["error", "cancelled"] if alive else ["pending", "in_progress"]
    yield from writer._move("tasker_task_transitions", task, writer.random.choice(after))


def _copy(writer: Writer) -> Pauses:
    """Bring in a hundred tasks with their steps at once."""
    tasks = writer._ask(
        "INSERT INTO tasker_tasks (named_task_id, requested_at, created_at, updated_at)"
        f" SELECT 1 + n %% 4, {NOW}, {NOW}, {NOW} FROM generate_series(1, %s) n RETURNING task_id",
        100,
    )
    writer._made += [task for (task,) in tasks[:3]]
    yield 0.0
    [(now,)] = writer._ask(f"SELECT {NOW}")
    steps = "tasker_workflow_steps (task_id, named_step_id, created_at, updated_at)"
    rows = [(task, 1, now, now) for (task,) in tasks]
    moves = "tasker_task_transitions (task_id, to_state, sort_key, created_at, updated_at)"
    moved = [(task, "in_progress", 10, now, now) for (task,) in tasks[::2]]
    for target, found in ((steps, rows), (moves, moved)):
        with writer.connection.cursor() as cursor, cursor.copy(f"COPY {target} FROM STDIN") as copy:
            for row in found:
                copy.write_row(row)
        yield 0.0


_ACTIONS: dict[Callable[[Writer], Pauses], float] = {
    _create: 20,
    _move_task: 18,
    _move_step: 50,
    _fail_and_retry: 8,
    _end_or_revive: 12,
    _copy: 0.3,
}
