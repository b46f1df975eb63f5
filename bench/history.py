"""The work of an order shop in DBOS' own tables, drawn and written in bulk: what a status has to count.

An order reserves, charges, ships and notifies. Every attempt of a charge is a step of its own, with a durable sleep
after one that failed; that makes about 4.5 rows of steps a task. The newest orders run, wait for their next attempt or
are still queued, a few older ones were left behind by a worker that died.
"""

from __future__ import annotations

import contextlib
import random
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

TASK_COLUMNS = (
    *("workflow_uuid", "status", "name", "executor_id", "created_at", "updated_at", "started_at_epoch_ms"),
    *("completed_at", "application_version", "recovery_attempts", "queue_name", "inputs", "output", "error"),
)
STEP_COLUMNS = (
    *("workflow_uuid", "function_id", "function_name", "output", "error"),
    *("started_at_epoch_ms", "completed_at_epoch_ms"),
)
_INPUTS, _OUTPUT, _ERROR = "gASV" * 40, "gASV" * 12, "gASV" * 60  # the sizes of what DBOS serialises
_CHARGE_FAILS, _ATTEMPTS = 0.2, 4
_STEP_MS = {"reserve": 200, "charge": 700, "ship": 450, "notify": 90}

Row = tuple[Any, ...]


@dataclass(frozen=True)
class Shape:
    """How many tasks, and over how long.

    Attributes:
        tasks: How many altogether.
        seconds: From the oldest to the newest.
        alive: How many of the newest are not finished; half of them run.
    """

    tasks: int
    seconds: int
    alive: int = 400


def rows(shape: Shape, now_ms: int, seed: int = 7) -> Iterator[tuple[Row, list[Row]]]:
    """Yield each task with its steps, the oldest first."""
    draw = random.Random(seed)
    for number in range(shape.tasks):
        created = now_ms - round(shape.seconds * 1000 * (shape.tasks - number) / shape.tasks) - 5000
        order = _Order(f"{draw.getrandbits(128):032x}", created, draw)
        left = shape.tasks - number
        if left <= shape.alive // 2:
            yield order.queued()
        elif left <= shape.alive or draw.random() < 0.0001:
            yield order.running(now_ms)
        else:
            yield order.ended(now_ms)


class _Order:
    """One order, as far as it has come."""

    def __init__(self, name: str, created: int, draw: random.Random) -> None:
        self._id = name
        self._created = self._at = created
        self._draw = draw
        self._steps: list[Row] = []

    def queued(self) -> tuple[Row, list[Row]]:
        """Accepted and not started."""
        return self._task("ENQUEUED", started=None, completed=None), []

    def running(self, now_ms: int) -> tuple[Row, list[Row]]:
        """Reserved; every other one waits for its next attempt to charge."""
        self._step("reserve")
        if self._draw.random() < 0.5:
            self._step("charge", error=True)
            self._sleep(now_ms - self._at + 60_000)
        return self._task("PENDING", completed=None), self._steps

    def ended(self, now_ms: int) -> tuple[Row, list[Row]]:
        """Completed in most cases, failed for good or cancelled in some."""
        fate = self._draw.random()
        self._step("reserve")
        if fate < 0.02:
            return self._task("CANCELLED"), self._steps
        failures = _ATTEMPTS if fate < 0.05 else self._failures()
        for attempt in range(failures):
            self._step("charge", error=True)
            if attempt < _ATTEMPTS - 1:
                self._sleep(min(1000 * 2**attempt, max(0, now_ms - self._at) // 4))
        if failures == _ATTEMPTS:
            return self._task("ERROR"), self._steps
        for name in ("charge", "ship", "notify"):
            self._step(name)
        return self._task("SUCCESS"), self._steps

    def _failures(self) -> int:
        failures = 0
        while failures < _ATTEMPTS - 1 and self._draw.random() < _CHARGE_FAILS:
            failures += 1
        return failures

    def _step(self, name: str, *, error: bool = False) -> None:
        took = round(_STEP_MS[name] * self._draw.uniform(0.5, 2))
        self._record(name, took, None if error else _OUTPUT, _ERROR if error else None)

    def _sleep(self, milliseconds: int) -> None:
        self._record("DBOS.sleep", milliseconds, _OUTPUT, None)

    def _record(self, name: str, took: int, output: str | None, error: str | None) -> None:
        self._steps.append((self._id, len(self._steps) + 1, name, output, error, self._at, self._at + took))
        self._at += took

    def _task(self, status: str, **times: None) -> Row:
        started = times.get("started", self._created + 30)
        completed = times.get("completed", self._at)
        output = _OUTPUT if status == "SUCCESS" else None
        error = _ERROR if status == "ERROR" else None
        return (
            *(self._id, status, "order", "shop-1", self._created, min(self._at, completed or self._at)),
            *(started, completed, "1", 1, "orders", _INPUTS, output, error),
        )


class History:
    """All tasks and steps of one shop, to be written into any number of databases.

    Args:
        shape: How many, over how long.
        now_ms: The moment up to which the shop has run, in milliseconds since the epoch.
    """

    def __init__(self, shape: Shape, now_ms: int) -> None:
        self.tasks: list[Row] = []
        self.steps: list[Row] = []
        for task, steps in rows(shape, now_ms):
            self.tasks.append(task)
            self.steps.extend(steps)

    def write(self, url: str) -> None:
        """Make DBOS' tables at *url*, an empty database, and fill them."""
        from dbos import run_dbos_database_migrations

        run_dbos_database_migrations(system_database_url=url)
        if url.startswith("sqlite"):
            self._fill_sqlite(url.removeprefix("sqlite:///"))
        else:
            self._fill_postgresql(url)

    def _fill_sqlite(self, file: str) -> None:
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")
            for table, columns, values in self._tables():
                places = ", ".join("?" * len(columns))
                connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})", values)
            connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _fill_postgresql(self, url: str) -> None:
        import psycopg

        with psycopg.connect(url, autocommit=True) as connection:
            for table, columns, values in self._tables():
                with connection.cursor().copy(f"COPY dbos.{table} ({', '.join(columns)}) FROM STDIN") as copy:
                    for row in values:
                        copy.write_row(row)
                connection.execute(f"VACUUM ANALYZE dbos.{table}")  # as autovacuum does within a minute

    def _tables(self) -> Iterator[tuple[str, tuple[str, ...], list[Row]]]:
        yield "workflow_status", TASK_COLUMNS, self.tasks
        yield "operation_outputs", STEP_COLUMNS, self.steps
