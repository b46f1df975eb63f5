"""What Tasker may have left in its tables: lives of tasks and their steps, generated.

Some go on as Tasker lets them: a step is run, fails, is run again, is given up or resolved by hand. The others go
through any states in any order with whatever in their columns, because a figure must be what its definition says of
the rows, whoever wrote them. Keys are local to a history: the database gives the rows theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

from contract.backend import STUCK_AFTER_SECONDS, WINDOW_SECONDS, Rows
from contract.tasker_schema import NAMED_STEPS, NAMED_TASKS, WORK

MS = 1000
SECOND = 1000 * MS
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
"""Times are microseconds here, from the moment at which the history is written: Tasker's columns have them."""

# A recount may happen this much later than the read: no generated time lies closer to an edge.
CLEARANCE = 2 * MINUTE
EDGES = (-WINDOW_SECONDS * SECOND, -STUCK_AFTER_SECONDS * SECOND, 0)
TIME_COLUMNS = ("created_at", "updated_at", "requested_at", "processed_at", "last_attempted_at")

KNOWN = ("pending", "in_progress", "complete", "error", "cancelled", "resolved_manually")
UNKNOWN = ("paused", "", "PENDING", "Complete", "errör")

_DURATIONS = st.sampled_from(
    [0, 1, 499, 500, 501, 40 * MS, 999_500, 5 * SECOND, 70 * SECOND, 7 * MINUTE, 25 * MINUTE, -3 * SECOND]
)
_AGES = st.one_of(
    st.integers(0, 2 * HOUR),
    st.sampled_from([DAY, 400 * DAY, 50 * 365 * DAY, -HOUR, -DAY]),  # the last two: a clock that was set back
)
_ATTEMPTS = st.none() | st.sampled_from([0, 1, 2, 3, 4, 5, 29, 44, 63, 64, 1100, 2**31 - 1])
_LIMITS = st.none() | st.sampled_from([0, 1, 3, 5, 100, 2**31 - 1])
_FLAG = st.none() | st.booleans()


class Life:
    """One task as it goes on, and what it leaves in the tables.

    Attributes:
        clock: Where in time it is, in microseconds from now.
        steps: Its rows of `tasker_workflow_steps`.
    """

    def __init__(self, number: int, created: int, named_task: int = 1) -> None:
        self.clock = created
        self._number = number
        self.task = {
            "task_id": number,
            "named_task_id": named_task,
            "complete": False,
            "requested_at": created,
            "created_at": created,
            "updated_at": created,
        }
        self.steps: list[dict[str, Any]] = []
        self._edges: list[dict[str, Any]] = []
        self._of_task: list[dict[str, Any]] = []
        self._of_steps: list[dict[str, Any]] = []

    def add_step(self, *parents: int, **columns: Any) -> int:
        """Give the task one more step, after those of the numbers *parents*, and return its own number."""
        number = len(self.steps)
        self.steps.append(
            {
                "workflow_step_id": self._key(number),
                "task_id": self._number,
                "named_step_id": number % len(NAMED_STEPS) + 1,
                "retryable": True,
                "retry_limit": 3,
                "in_process": False,
                "processed": False,
                "created_at": self.clock,
                "updated_at": self.clock,
                **dict.fromkeys(("processed_at", "attempts", "last_attempted_at", "backoff_request_seconds")),
                **columns,
            }
        )
        for parent in parents:
            ends = {"from_step_id": self._key(parent), "to_step_id": self._key(number), "name": "provides"}
            self._edges.append({**ends, "created_at": self.clock, "updated_at": self.clock})
        return number

    def go(self, state: str, took: int = 0, *, known_before: bool = True) -> None:
        """Bring the task to *state* after it *took* so long."""
        self.clock += took
        self.task.update(updated_at=self.clock, complete=state == "complete")
        self._note(self._of_task, "task_id", self._number, state, known_before)

    def move(self, step: int, state: str, took: int = 0, *, known_before: bool = True, **columns: Any) -> None:
        """Bring *step* to *state* after it *took* so long, and set *columns* of it."""
        self.clock += took
        self.steps[step].update(updated_at=self.clock, **columns)
        self._note(self._of_steps, "workflow_step_id", self._key(step), state, known_before)

    def attempt(self, step: int, took: int, *, failed: bool = False, backoff: int | None = None) -> None:
        """Run *step* once, as Tasker does."""
        attempts = (self.steps[step]["attempts"] or 0) + 1
        self.move(step, "in_progress", in_process=True)
        self.clock += took
        ended = {"in_process": False, "attempts": attempts, "last_attempted_at": self.clock}
        if failed:
            self.move(step, "error", backoff_request_seconds=backoff, **ended)
        else:
            self.move(step, "complete", processed=True, processed_at=self.clock, **ended)

    def rows(self) -> Rows:
        """Return what is in the tables now, no time too close to an edge."""
        found = dict(zip(WORK, ([self.task], self.steps, self._edges, self._of_task, self._of_steps), strict=True))
        return {table: [_clear_of_edges(row) for row in rows] for table, rows in found.items()}

    def _key(self, step: int) -> int:
        return self._number * 100 + step

    def _note(self, life: list[dict[str, Any]], owner: str, key: int, state: str, known_before: bool) -> None:
        last = next((row for row in reversed(life) if row[owner] == key), None)
        if last is not None:
            last.update(most_recent=False, updated_at=self.clock)
        life.append(
            {
                owner: key,
                "to_state": state,
                "most_recent": True,
                "from_state": last["to_state"] if last is not None and known_before else None,
                "sort_key": last["sort_key"] + 10 if last is not None else 10,
                "created_at": self.clock,
                "updated_at": self.clock,
            }
        )


def _clear_of_edges(row: dict[str, Any]) -> dict[str, Any]:
    """Move the times that lie near an edge to before it; their order stays."""
    moved = dict(row)
    for column in row.keys() & set(TIME_COLUMNS):
        for edge in EDGES:
            if row[column] is not None and edge - CLEARANCE < row[column] <= edge + CLEARANCE:
                moved[column] = edge - CLEARANCE
    attempted, backoff = moved.get("last_attempted_at"), moved.get("backoff_request_seconds")
    if attempted is not None and backoff is not None and abs(attempted + backoff * SECOND) <= CLEARANCE:
        moved["backoff_request_seconds"] = backoff + 3 * CLEARANCE // SECOND
    return moved


# --- what happens to one task ---------------------------------------------------------------------------------------


def _anything(life: Life, draw: st.DrawFn) -> None:
    """Go through any states, with anything in the columns."""
    states = st.sampled_from(KNOWN * 3 + UNKNOWN)
    for _ in range(draw(st.integers(0, 4))):
        parents = [parent for parent in range(len(life.steps)) if draw(st.booleans())]
        step = life.add_step(*parents, retryable=draw(_FLAG), retry_limit=draw(_LIMITS))
        for state in draw(st.lists(states, max_size=4)):
            life.move(step, state, draw(_DURATIONS), known_before=draw(st.booleans()))
        life.steps[step].update(
            {"in_process": draw(_FLAG), "processed": draw(_FLAG), "attempts": draw(_ATTEMPTS)},
            last_attempted_at=draw(st.none() | st.integers(-2 * HOUR, HOUR)),
            backoff_request_seconds=draw(st.none() | st.sampled_from([0, 5, 60, 3600, 10**6])),
        )
    for state in draw(st.lists(states, max_size=4)):
        life.go(state, draw(_DURATIONS), known_before=draw(st.booleans()))


def _queued(life: Life, draw: st.DrawFn) -> None:
    """Be accepted and wait, with or without a transition that says so."""
    for _ in range(draw(st.integers(0, 3))):
        life.add_step(*range(len(life.steps)))
    if draw(st.booleans()):
        life.go("pending", known_before=False)


def _started(life: Life, draw: st.DrawFn) -> None:
    life.go("in_progress", draw(_DURATIONS))
    for _ in range(draw(st.integers(1, 4))):
        parents = [parent for parent in range(len(life.steps)) if draw(st.booleans())]
        life.add_step(*parents, retry_limit=draw(st.sampled_from([None, 2, 3, 10])))


def _tried(life: Life, step: int, draw: st.DrawFn, *, last_fails: bool) -> None:
    """Try *step* until it succeeds or fails once more."""
    for failed in [*[True] * draw(st.integers(0, 3)), last_fails]:
        backoff = draw(st.none() | st.sampled_from([0, 1, 60]))
        life.attempt(step, abs(draw(_DURATIONS)), failed=failed, backoff=backoff)
        life.clock += abs(draw(_DURATIONS))


def _worked(life: Life, draw: st.DrawFn) -> None:
    """Run every step to its end, most of them with retries, and end as they did."""
    _started(life, draw)
    failures = [draw(st.booleans()) for _ in life.steps]
    for step, failed in enumerate(failures):
        _tried(life, step, draw, last_fails=failed)
    life.go("error" if any(failures) else "complete", draw(_DURATIONS))


def _retrying(life: Life, draw: st.DrawFn) -> None:
    """Have failed steps while the task is still alive."""
    _started(life, draw)
    for step in range(len(life.steps)):
        _tried(life, step, draw, last_fails=draw(st.booleans()))


def _backing_off(life: Life, draw: st.DrawFn) -> None:
    """Have failed at a step that is not due yet."""
    _started(life, draw)
    wait = max(0, -life.clock) // SECOND
    life.attempt(0, 20 * MS, failed=True, backoff=wait + draw(st.sampled_from([600, 86_400])))


def _crashed(life: Life, draw: st.DrawFn) -> None:
    """Be left as a dead worker left it, in the midst of a step."""
    _started(life, draw)
    life.move(draw(st.integers(0, len(life.steps) - 1)), "in_progress", draw(_DURATIONS), in_process=True)


def _cancelled(life: Life, draw: st.DrawFn) -> None:
    _retrying(life, draw)
    for step in range(len(life.steps)):
        if draw(st.booleans()):
            life.move(step, "cancelled", draw(_DURATIONS))
    life.go("cancelled", draw(_DURATIONS))


def _recovered(life: Life, draw: st.DrawFn) -> None:
    """Fail, be reset or resolved by hand, and go on."""
    _worked(life, draw)
    for step in range(len(life.steps)):
        state = draw(st.sampled_from(["pending", "resolved_manually", "in_progress"]))
        life.move(step, state, draw(_DURATIONS), attempts=draw(st.sampled_from([0, 1, None])))
    life.go(draw(st.sampled_from(["pending", "resolved_manually", "in_progress"])), draw(_DURATIONS))
    if draw(st.booleans()):
        life.go("complete", draw(_DURATIONS))


def _blocked(life: Life, draw: st.DrawFn) -> None:
    """Have a step that failed for good while others wait for it, or for others yet."""
    life.go(draw(st.sampled_from(["in_progress", "pending"])), draw(_DURATIONS))
    first = life.add_step(retry_limit=draw(st.sampled_from([None, 1])), retryable=draw(_FLAG))
    for _ in range(draw(st.integers(1, 3))):
        _tried(life, first, draw, last_fails=True)
    for _ in range(draw(st.integers(0, 3))):
        parents = [parent for parent in range(len(life.steps)) if draw(st.booleans())]
        step = life.add_step(*parents)
        if draw(st.booleans()):
            _tried(life, step, draw, last_fails=draw(st.booleans()))


def _unknown(life: Life, draw: st.DrawFn) -> None:
    """Come to states that nobody has heard of."""
    _started(life, draw)
    life.move(0, draw(st.sampled_from(UNKNOWN)), draw(_DURATIONS))
    life.go(draw(st.sampled_from(UNKNOWN)), draw(_DURATIONS))


def _unset(life: Life, draw: st.DrawFn) -> None:
    """Have nothing in the columns that need not be set."""
    _retrying(life, draw)
    columns = ("retryable", "retry_limit", "in_process", "processed", "attempts", "last_attempted_at")
    for step in life.steps:
        step.update(dict.fromkeys(draw(st.lists(st.sampled_from([*columns, "backoff_request_seconds"])))))


_LIVES: dict[str, Callable[[Life, st.DrawFn], None]] = {
    "anything": _anything,
    "queued": _queued,
    "worked": _worked,
    "retrying": _retrying,
    "backing_off": _backing_off,
    "crashed": _crashed,
    "cancelled": _cancelled,
    "recovered": _recovered,
    "blocked": _blocked,
    "unknown": _unknown,
    "unset": _unset,
    "no_steps": lambda life, draw: life.go(draw(st.sampled_from(KNOWN)), draw(_DURATIONS)),
}


@st.composite
def histories(
    draw: st.DrawFn,
    *,
    lives: Sequence[str] = tuple(_LIVES),
    ages: st.SearchStrategy[int] = _AGES,
    least: int = 0,
    most: int = 5,
) -> Rows:
    """Return the rows of *least* to *most* tasks, each of which went through one of *lives*."""
    found = []
    for number, kind in enumerate(draw(st.lists(st.sampled_from(lives), min_size=least, max_size=most))):
        life = Life(number, -draw(ages), draw(st.sampled_from(list(NAMED_TASKS))))
        _LIVES[kind](life, draw)
        found.append(life.rows())
    return together(found)


def together(lives: Sequence[Rows]) -> Rows:
    """Return the rows of all *lives*."""
    return {table: [row for rows in lives for row in rows[table]] for table in WORK}


SITUATIONS = {
    "zero_rows": histories(most=0),
    "no_steps": histories(lives=("no_steps",), least=1),
    "retries": histories(lives=("worked", "retrying"), least=1),
    "backoff": histories(lives=("backing_off",), least=1),
    "cancellation": histories(lives=("cancelled",), least=1),
    "recovery": histories(lives=("recovered",), least=1),
    "crash": histories(lives=("crashed",), least=1),
    "blocked_work": histories(lives=("blocked",), least=1),
    "unknown_times": histories(lives=("unset",), least=1),
    "unknown_states": histories(lives=("unknown",), least=1),
    "clock_set_back": histories(ages=st.integers(-DAY, 0), least=1),
    "anything": histories(lives=("anything",), least=1),
}


def lively() -> Rows:
    """Return a history in which every figure is more than zero."""
    lives = [Life(number, -40 * MINUTE, number % len(NAMED_TASKS) + 1) for number in range(9)]
    ended, failed, orphan, waiting, blocked, cancelled, _, unknown, by_hand = lives
    for life in (ended, failed, orphan, waiting, blocked):
        life.go("in_progress", 100 * MS)
        life.add_step()
        life.add_step(0)
    ended.attempt(0, 300 * MS, failed=True)
    ended.attempt(0, 200 * MS)
    ended.attempt(1, 100 * MS)
    ended.go("complete")
    for _attempt in range(3):
        failed.attempt(0, 300 * MS, failed=True)
        blocked.attempt(0, 300 * MS, failed=True)
    failed.go("error")
    waiting.attempt(0, 100 * MS, failed=True, backoff=7200)
    cancelled.go("cancelled")
    unknown.go("paused")
    by_hand.go("resolved_manually")
    return together([life.rows() for life in lives])
