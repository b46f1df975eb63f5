"""What DBOS may have left in its tables: lives of workflows, generated.

Which column is written when was read in DBOS 3.4 (`_sys_db.py`): a terminal state sets `completed_at`; a cancel also
clears the start; a recovery enqueues again and leaves the steps; a durable sleep is recorded before it begins, with
the time at which it will end as its completion; the start of a child and the wait for its result are rows too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from contract.backend import STUCK_AFTER_SECONDS, WINDOW_SECONDS, Rows

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

# A recount may happen this much later than the read: no generated time lies closer to an edge.
CLEARANCE = MINUTE
EDGES = (-WINDOW_SECONDS * SECOND, -STUCK_AFTER_SECONDS * SECOND, 0)
TIME_COLUMNS = (
    *("created_at", "updated_at", "completed_at", "started_at_epoch_ms"),
    *("completed_at_epoch_ms", "delay_until_epoch_ms"),
)

QUEUES = {"orders": 2, "mail": None}
"""The queues that are registered, and how much of each may run at once."""

EXECUTORS = ("lives", "died", "never-seen", "local", None)
VERSIONS = ("v1", "v2", "v0", None)
_KINDS = st.fixed_dictionaries(
    {
        "executor_id": st.sampled_from(EXECUTORS),
        "application_version": st.sampled_from(VERSIONS),
        "queue_name": st.sampled_from([*QUEUES, "orders", "gone", "_dbos_internal_queue", None]),
        "name": st.sampled_from(["order", "refund"]),
    }
)

_STEP_NAMES = st.sampled_from(["reserve", "charge", "ship", "DBOSreport", "dbos.sleep", "DBOS"])
_OWN_NAMES = st.sampled_from(
    ["DBOS.now", "DBOS.setEvent", "DBOS.recv", "DBOS.getStatus", "DBOS.patch-v2", "DBOS.sleep"]
)
_DURATIONS = st.sampled_from([0, 1, 40, 999, 5 * SECOND, 70 * SECOND, 7 * MINUTE, 25 * MINUTE])
_AGES = st.one_of(
    st.integers(0, 2 * HOUR),
    st.sampled_from([DAY, 400 * DAY, 50 * 365 * DAY, -HOUR, -DAY]),  # the last two: a clock that was set back
)


class Life:
    """One workflow as it goes on, and what it leaves in the tables.

    Attributes:
        clock: Where in time it is, in milliseconds from now.
        task: Its row of `workflow_status`, or none when it was deleted.
    """

    def __init__(self, name: str, created: int) -> None:
        self.name = name
        self.clock = created
        self.operations: list[dict[str, Any]] = []
        self.children: list[dict[str, Any]] = []
        self.task: dict[str, Any] | None = self._task(name, "PENDING", recovery_attempts=1)

    def step(self, name: str, took: int, *, failed: bool = False) -> None:
        """Run one attempt of a step of the application's."""
        self._record(name, took, output=None if failed else '"done"', error='"refused"' if failed else None)

    def own(self, name: str) -> None:
        """Run one of DBOS' own operations, which record an instant."""
        self._record(name, 0, output='"ok"')

    def sleep(self, length: int) -> None:
        """Begin a durable sleep and, unless it ends in the future, end it."""
        self._record("DBOS.sleep", length, output="1.0")

    def child(self, took: int) -> None:
        """Start a child, and wait for its result when that takes time."""
        name = f"{self.name}-child-{len(self.children)}"
        ended = {"status": "SUCCESS", "completed_at": self.clock + took} if took else {}
        self.children.append({**self._task(name, "PENDING"), "parent_workflow_id": self.name, **ended})
        self._record("charge", 0, child_workflow_id=name)
        if took:
            self._record("DBOS.getResult", took, output="1", child_workflow_id=name)

    def dequeue(self, waited: int, *, noted: bool = True) -> None:
        """Be taken from a queue; older versions of DBOS did not note that as a change."""
        self.clock += waited
        before = self.task["updated_at"] if self.task else 0
        self._change(status="PENDING", started_at_epoch_ms=self.clock, queue_name="orders")
        if self.task and not noted:
            self.task["updated_at"] = before

    def touch(self, waited: int) -> None:
        """Have something of the task itself changed."""
        self.clock += waited
        self._change()

    def end(self, status: str | None) -> None:
        """Come to a terminal state."""
        self._change(status=status, completed_at=self.clock)

    def leave(self, status: str | None) -> None:
        """Be left in a state that is not terminal."""
        self._change(status=status)

    def cancel(self) -> None:
        """Be cancelled: nothing has run then, it seems."""
        self._change(status="CANCELLED", started_at_epoch_ms=None, queue_name=None, completed_at=self.clock)

    def enqueue_again(self) -> None:
        """Be recovered from a dead worker, or resumed by hand."""
        self._change(status="ENQUEUED", started_at_epoch_ms=None, queue_name="_dbos_internal_queue", completed_at=None)

    def forget(self, *columns: str) -> None:
        """Be as old as these *columns* are not."""
        for row in [*self.operations, *([self.task] if self.task else [])]:
            row.update({column: None for column in columns if column in row})

    def rows(self) -> Rows:
        """Return what is in the tables now, no time too close to an edge."""
        tasks = ([self.task] if self.task else []) + self.children
        return {
            "workflow_status": [_clear_of_edges(row) for row in tasks],
            "operation_outputs": [_clear_of_edges(row) for row in self.operations],
        }

    def _task(self, name: str, status: str, **columns: Any) -> dict[str, Any]:
        empty = dict.fromkeys(("started_at_epoch_ms", "completed_at", "queue_name", "parent_workflow_id"))
        times = {"created_at": self.clock, "updated_at": self.clock}
        known = {"workflow_uuid": name, "status": status, "name": "order", "priority": 0, "recovery_attempts": 0}
        empty |= dict.fromkeys(("executor_id", "application_version", "delay_until_epoch_ms"))
        return {**empty, **times, **known, **columns}

    def _change(self, **columns: Any) -> None:
        if self.task is not None:
            self.task.update(updated_at=self.clock, **columns)

    def _record(self, name: str, took: int, **columns: Any) -> None:
        started, self.clock = self.clock, self.clock + took
        self.operations.append(
            {
                **dict.fromkeys(("output", "error", "child_workflow_id")),
                "workflow_uuid": self.name,
                "function_id": len(self.operations) + 1,
                "function_name": name,
                "started_at_epoch_ms": started,
                "completed_at_epoch_ms": self.clock,
                **columns,
            }
        )


def _clear_of_edges(row: dict[str, Any]) -> dict[str, Any]:
    """Move the times that lie near an edge to before it; their order stays."""
    moved = dict(row)
    for column in row.keys() & set(TIME_COLUMNS):
        for edge in EDGES:
            if row[column] is not None and edge - CLEARANCE < row[column] <= edge + CLEARANCE:
                moved[column] = edge - CLEARANCE
    return moved


def _retried(life: Life, draw: st.DrawFn) -> None:
    """Try one step until it succeeds or is given up, with or without a durable sleep in between."""
    name, backoff = draw(_STEP_NAMES), draw(st.none() | _DURATIONS)
    for failed in [*[True] * draw(st.integers(1, 3)), draw(st.booleans())]:
        life.step(name, draw(_DURATIONS), failed=failed)
        if failed and backoff is not None:
            life.sleep(backoff)


_ACTIONS: dict[str, Callable[[Life, st.DrawFn], None]] = {
    "step": lambda life, draw: life.step(draw(_STEP_NAMES), draw(_DURATIONS), failed=draw(st.booleans())),
    "retried": _retried,
    "sleep": lambda life, draw: life.sleep(draw(_DURATIONS)),
    "own": lambda life, draw: life.own(draw(_OWN_NAMES)),
    "child": lambda life, draw: life.child(draw(_DURATIONS)),
    "dequeue": lambda life, draw: life.dequeue(draw(_DURATIONS), noted=draw(st.booleans())),
    "touch": lambda life, draw: life.touch(draw(_DURATIONS)),
}


def _backoff(life: Life, draw: st.DrawFn) -> None:
    """Fail a step and sleep until some time yet to come."""
    life.step(draw(_STEP_NAMES), 20, failed=True)
    life.sleep(max(0, -life.clock) + draw(st.sampled_from([2 * MINUTE, HOUR])))


def _recovered(life: Life, draw: st.DrawFn) -> None:
    life.clock += draw(_DURATIONS)
    life.enqueue_again()
    if draw(st.booleans()):
        life.dequeue(draw(_DURATIONS))


def _resumed(life: Life, draw: st.DrawFn) -> None:
    life.cancel()
    _recovered(life, draw)


def _deleted(life: Life, _: st.DrawFn) -> None:
    """Leave steps without their task, as a retention sweep does until it comes to them."""
    life.task = None


def _legacy(life: Life, draw: st.DrawFn) -> None:
    """End, and be from before DBOS wrote down every time."""
    life.end("SUCCESS")
    unknown = draw(st.sampled_from([("started_at_epoch_ms",), ("completed_at", "completed_at_epoch_ms")]))
    life.forget("started_at_epoch_ms", *unknown)


ENDINGS: dict[str, Callable[[Life, st.DrawFn], None]] = {
    "enqueued": lambda life, _: life.leave("ENQUEUED"),
    "delayed": lambda life, _: life.leave("DELAYED"),
    "no_state": lambda life, _: life.leave(None),
    "running": lambda *_: None,
    "backoff": _backoff,
    "sleeping": lambda life, _: life.sleep(max(0, -life.clock) + HOUR),
    "succeeded": lambda life, _: life.end("SUCCESS"),
    "failed": lambda life, _: life.end("ERROR"),
    "dead_letter": lambda life, _: life.end("MAX_RECOVERY_ATTEMPTS_EXCEEDED"),
    "cancelled": lambda life, _: life.cancel(),
    "recovered": _recovered,
    "resumed": _resumed,
    "unknown_state": lambda life, draw: life.leave(draw(st.sampled_from(["PAUSED", "", "pending", "success"]))),
    "unknown_ended": lambda life, _: life.end("RETIRED"),
    "deleted": _deleted,
    "legacy": _legacy,
}


@st.composite
def histories(
    draw: st.DrawFn,
    *,
    endings: Sequence[str] = tuple(ENDINGS),
    actions: Sequence[str] = tuple(_ACTIONS),
    ages: st.SearchStrategy[int] = _AGES,
    most: int = 7,
) -> Rows:
    """Return the rows of up to *most* workflows that went through *actions* and came to one of *endings*."""
    rows: Rows = {"workflow_status": [], "operation_outputs": []}
    for number, ending in enumerate(draw(st.lists(st.sampled_from(endings), max_size=most))):
        life = Life(f"task-{number}", -draw(ages))
        for action in draw(st.lists(st.sampled_from(actions), max_size=4)) if actions else []:
            _ACTIONS[action](life, draw)
        ENDINGS[ending](life, draw)
        kind = draw(_KINDS)
        for table, found in life.rows().items():
            rows[table] += [{**row, **kind} for row in found] if table == "workflow_status" else found
    return rows


SITUATIONS = {
    "zero_rows": histories(most=0),
    "no_steps": histories(actions=()),
    "retries": histories(actions=("retried",)),
    "backoff": histories(endings=("backoff",)),
    "cancellation": histories(endings=("cancelled", "resumed")),
    "recovery": histories(endings=("recovered",)),
    "crash": histories(endings=("running",)),
    "claims": histories(endings=("running",), actions=("dequeue", "touch"), ages=st.just(20 * MINUTE)),
    "orphaned_work": histories(endings=("running", "deleted"), ages=st.integers(DAY, 400 * DAY)),
    "unknown_times": histories(endings=("legacy",)),
    "unknown_states": histories(endings=("unknown_state", "unknown_ended", "no_state")),
    "clock_set_back": histories(ages=st.integers(-DAY, 0)),
}


def lively() -> Rows:
    """Return a history in which every figure is more than zero."""
    lives = [Life(f"task-{number}", -40 * MINUTE) for number in range(8)]
    ended, failed, orphan, backoff, cancelled, queued, unknown, retried = lives
    for life in (ended, failed, retried):
        life.step("charge", 300, failed=True)
        life.sleep(SECOND)
        life.step("charge", 200, failed=life is failed)
    ended.end("SUCCESS")
    failed.end("ERROR")
    orphan.step("reserve", 100)
    backoff.step("reserve", 100, failed=True)
    backoff.sleep(2 * HOUR)
    cancelled.cancel()
    queued.leave("ENQUEUED")
    if queued.task:
        queued.task["queue_name"] = "orders"
    unknown.leave("PAUSED")
    found = [life.rows() for life in lives]
    return {table: [row for rows in found for row in rows[table]] for table in found[0]}
