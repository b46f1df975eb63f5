"""Writers of DBOS' tables as its workers are: connections of their own, one statement at a time, one seed each.

What each action writes was read in DBOS 3.4 (`_sys_db.py`). Times of tasks and of `retention_timestamp` are the
database's, which on PostgreSQL is when the transaction began; times of steps are a worker's clock, which may be wrong.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import sqlalchemy as sa

from servers import sync_url

_NOW = {
    "postgresql": "CAST(extract(epoch FROM now()) * 1000 AS bigint)",
    "sqlite": "CAST(strftime('%s', 'now') * 1000 AS INTEGER)",
}
_ALIVE = ("ENQUEUED", "PENDING", "DELAYED")
_MOST_OWN = 30

Turns = Iterator[None]


class Writer:
    """One worker of DBOS'.

    Args:
        url: The database.
        seed: Of everything that it does.

    Attributes:
        committed, rolled_back: How many transactions.
    """

    def __init__(self, url: str, seed: int) -> None:
        engine = sa.create_engine(sync_url(url), poolclass=sa.NullPool)
        self._dialect = engine.dialect.name
        self._connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        above = "dbos." if self._dialect == "postgresql" else ""
        names = {"tasks": f"{above}workflow_status", "ops": f"{above}operation_outputs"}
        self._words = {**names, "now": _NOW[self._dialect]}
        self._draw = random.Random(seed)
        self._name = f"writer-{seed}"
        self._mine: dict[str, str] = {}
        self._steps: dict[str, int] = {}
        self._made = 0
        self.committed = self.rolled_back = 0

    def close(self) -> None:
        """Leave, and with that roll back what is open."""
        self._connection.close()

    def adopt_all(self) -> None:
        """Go on with whatever is there; who wrote it has left."""
        rows = self._connection.execute(sa.text(f"SELECT workflow_uuid, status FROM {self._words['tasks']}"))
        self._mine = {row.workflow_uuid: row.status for row in rows}
        self._steps = dict.fromkeys(self._mine, 50)

    def turns(self) -> Turns:
        """Work for ever; stop after each statement."""
        while True:
            yield from self._transaction()

    def start_and_fail_once(self) -> None:
        """Start a workflow whose first step fails."""
        self._start()
        self._record("charge", 5, error="refused")

    def come_to_life_again(self) -> bool:
        """Resume a workflow that was cancelled or has failed; say whether there was one."""
        return self._revive({"CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"}, rewind=False)

    def rewind(self) -> bool:
        """Let a workflow that has ended begin anew from its second step; say whether there was one."""
        return self._revive({"SUCCESS", "ERROR"}, rewind=True)

    def delete(self) -> bool:
        """Delete a workflow that has ended, and its steps; say whether there was one."""
        name = self._one({"SUCCESS", "ERROR", "CANCELLED"})
        if name is None:
            return False
        self._say("BEGIN")
        self._say("DELETE FROM {ops} WHERE workflow_uuid = :name", name=name)
        self._say("DELETE FROM {tasks} WHERE workflow_uuid = :name", name=name)
        self._say("COMMIT")
        del self._mine[name], self._steps[name]
        return True

    def import_old(self) -> None:
        """Write a workflow that ended long ago, and that was not here until now."""
        self._say(
            "INSERT INTO {tasks} (workflow_uuid, status, name, created_at, updated_at, completed_at, priority)"
            " VALUES (:name, 'SUCCESS', 'order', 1000, 2000, 2000, 0)",
            name=f"{self._name}-old-{time.time_ns()}",
        )

    def _transaction(self) -> Turns:
        before = dict(self._mine), dict(self._steps)
        self._say("BEGIN" if self._dialect == "postgresql" else "BEGIN IMMEDIATE")
        yield from self._pause()
        for _ in range(self._draw.randint(1, 4)):
            act = self._draw.choice(self._actions())
            if self._draw.random() < 0.15:
                inside = dict(self._mine), dict(self._steps)
                self._say("SAVEPOINT inside")
                act()
                self._say("ROLLBACK TO SAVEPOINT inside")
                self._mine, self._steps = inside
            else:
                act()
            yield from self._pause()
        if self._draw.random() < 0.15:
            self._say("ROLLBACK")
            self._mine, self._steps = before
            self.rolled_back += 1
        else:
            self._say("COMMIT")
            self.committed += 1
        yield

    def _pause(self) -> Turns:
        """Let the others go on; now and then for long."""
        for _ in range(self._draw.choice([1, 1, 1, 2, 3, 40])):
            yield

    def _actions(self) -> list[Callable[[], Any]]:
        begin = [self.enqueue, self.enqueue, self._start, self._delay, self._batch, self._fork]
        go_on = [self._dequeue, self._wake, self._recover, self._end, self._cancel, self._touch]
        steps: list[Callable[[], Any]] = [self._step, self._step, self._step, self._sleep, self._child]
        alive = sum(status in _ALIVE for status in self._mine.values())
        return (begin if alive < _MOST_OWN else []) + go_on * 2 + steps * 3

    def _new(self, status: str | None, **columns: Any) -> str:
        self._made += 1
        name = f"{self._name}-{self._made}"
        row = {"workflow_uuid": name, "status": status, "name": "order", "priority": 0, **columns}
        names = ", ".join(row)
        self._say(
            f"INSERT INTO {{tasks}} ({names}, created_at, updated_at)"
            f" VALUES ({', '.join(f':{column}' for column in row)}, {{now}}, {{now}})",
            **row,
        )
        self._mine[name], self._steps[name] = str(status), 0
        return name

    def enqueue(self) -> None:
        """Enqueue a workflow."""
        self._new("ENQUEUED", queue_name="orders")

    def _start(self) -> None:
        self._new("PENDING")

    def _delay(self) -> None:
        self._new("DELAYED", queue_name="orders", delay_until_epoch_ms=_worker_ms() + 1000)

    def _batch(self) -> None:
        """Enqueue several, created by a worker's clock."""
        for _ in range(3):
            name = self._new("ENQUEUED", queue_name="orders")
            created = _worker_ms() - self._draw.randint(0, 2000)
            self._say("UPDATE {tasks} SET created_at = :at WHERE workflow_uuid = :name", name=name, at=created)

    def _fork(self) -> None:
        """Begin another one with the steps of one."""
        other = self._one(set(self._mine.values()))
        if other is None:
            return
        name = self._new("ENQUEUED", queue_name="orders")
        columns = "function_id, function_name, output, error, child_workflow_id, started_at_epoch_ms"
        self._say(
            f"INSERT INTO {{ops}} (workflow_uuid, {columns}, completed_at_epoch_ms, retention_timestamp)"
            f" SELECT :name, {columns}, completed_at_epoch_ms, {{now}} FROM {{ops}} WHERE workflow_uuid = :other",
            name=name,
            other=other,
        )
        self._steps[name] = self._steps[other]

    def _dequeue(self) -> None:
        self._change({"ENQUEUED"}, "PENDING", "started_at_epoch_ms = {now}, updated_at = {now}")

    def _wake(self) -> None:
        self._change({"DELAYED"}, "ENQUEUED", "delay_until_epoch_ms = 0")

    def _recover(self) -> None:
        if self._draw.random() < 0.3:
            self._change({"PENDING"}, "ENQUEUED", "started_at_epoch_ms = NULL, updated_at = {now}")

    def _end(self) -> None:
        status = self._draw.choice(["SUCCESS", "SUCCESS", "ERROR", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"])
        self._change({"PENDING"}, status, "completed_at = {now}, updated_at = {now}")

    def _cancel(self) -> None:
        if self._draw.random() < 0.5:
            changes = "completed_at = {now}, updated_at = {now}, started_at_epoch_ms = NULL, queue_name = NULL"
            self._change({"PENDING", "ENQUEUED", "DELAYED"}, "CANCELLED", changes)

    def _touch(self) -> None:
        """Change what no index leads to."""
        self._change({"PENDING"}, "PENDING", "updated_at = {now}")

    def _step(self) -> None:
        failed = self._draw.random() < 0.5
        name = self._draw.choice(["charge", "charge", "ship"])
        self._record(name, self._draw.randint(-200, 900), error="refused" if failed else None)

    def _sleep(self) -> None:
        self._record("DBOS.sleep", self._draw.choice([10, 3000, 60_000]))

    def _child(self) -> None:
        self._record("charge", 5, child_workflow_id="some-child")

    def _record(self, function: str, took: int, **columns: Any) -> None:
        name = self._one({"PENDING"})
        if name is None:
            return
        self._steps[name] += 1
        started = _worker_ms() - self._draw.choice([0, 0, 500, 4000, 19_000, 26_000, -3000])
        row = {
            "workflow_uuid": name,
            "function_id": self._steps[name],
            "function_name": function,
            "started_at_epoch_ms": started,
            "completed_at_epoch_ms": started + took,
            **columns,
        }
        self._say(
            f"INSERT INTO {{ops}} ({', '.join(row)}, retention_timestamp)"
            f" VALUES ({', '.join(f':{column}' for column in row)}, {{now}})",
            **row,
        )

    def _change(self, before: set[str], after: str, changes: str) -> None:
        name = self._one(before)
        if name is not None:
            self._say(f"UPDATE {{tasks}} SET status = '{after}', {changes} WHERE workflow_uuid = :name", name=name)
            self._mine[name] = after

    def _revive(self, states: set[str], *, rewind: bool) -> bool:
        name = self._one(states)
        if name is None:
            return False
        self._say("BEGIN")
        if rewind:
            self._say("DELETE FROM {ops} WHERE workflow_uuid = :name AND function_id >= 2", name=name)
            self._steps[name] = min(1, self._steps[name])
        self._say(
            "UPDATE {tasks} SET status = 'ENQUEUED', started_at_epoch_ms = NULL, completed_at = NULL,"
            " updated_at = {now}, queue_name = '_dbos_internal_queue' WHERE workflow_uuid = :name",
            name=name,
        )
        self._say("COMMIT")
        self._mine[name] = "ENQUEUED"
        return True

    def _one(self, states: set[str]) -> str | None:
        fitting = [name for name, status in self._mine.items() if status in states]
        return self._draw.choice(fitting) if fitting else None

    def _say(self, statement: str, **values: Any) -> None:
        self._connection.execute(sa.text(statement.format(**self._words)), values)


def _worker_ms() -> int:
    return round(time.time() * 1000)
