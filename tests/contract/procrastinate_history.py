"""What Procrastinate may have left in its tables: lives of jobs, generated. Times are seconds from now.

Which events are written when is what the triggers of its `schema.sql` say. Ids are the places in these lists, from 1;
`worker_id` is that of a worker that beats, of one whose beats stopped, or none.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from contract.backend import Rows

MINUTE, HOUR, DAY = 60, 3600, 86400

FRESH, STALE = 1, 2
WORKERS = [{"id": FRESH, "last_heartbeat": 0}, {"id": STALE, "last_heartbeat": -2 * MINUTE}]

# A recount may happen this much later than the read: no generated time lies closer to an edge.
_CLEARANCE = MINUTE
_EDGES = (-HOUR, -15 * MINUTE, 0)
_AGES = st.one_of(st.integers(0, 2 * HOUR), st.sampled_from([DAY, 400 * DAY]))
_TOOK = st.sampled_from([0, 1, 5, 70, 7 * MINUTE])
_ENDS = ("todo", "doing", "succeeded", "failed", "cancelled", "aborted", "given_up", "retried")


def _clear(at: float) -> float:
    """Return *at*, or where it lies near an edge a time before that; the order stays."""
    for edge in _EDGES:
        if edge - _CLEARANCE < at <= edge + _CLEARANCE:
            return edge - _CLEARANCE
    return at


def life(
    end: str, age: float, *, retries: int = 0, took: float = 1, scheduled: float | None = None, **columns: Any
) -> dict[str, Any]:
    """Return a job and its events.

    Args:
        end: Its state, `given_up` (failed while it waited) or `retried` (failed, and retried by hand).
        age: When it was deferred, seconds ago.
        retries: How often it has failed and was deferred again.
        took: How long each attempt was.
        scheduled: When it is due.
        columns: Of the job: `queue_name`, `task_name`, `priority`, `lock`, `worker_id`.
    """
    at = -age
    events = [("deferred", at)]
    for _ in range(retries):
        events += [("started", at), ("deferred_for_retry", at := min(at + took, 0))]
    if end in {"doing", "succeeded", "failed", "aborted", "retried"}:
        events.append(("started", at))
    if end in {"succeeded", "failed", "aborted", "retried"}:
        events.append(("failed" if end == "retried" else end, at := min(at + took, 0)))
    if end == "retried":
        events.append(("retried", at))
    if end in {"cancelled", "given_up"}:
        events.append(("cancelled", at))
    status = {"given_up": "failed", "retried": "todo"}.get(end, end)
    attempts = retries + (end in {"succeeded", "failed", "aborted"}) + 2 * (end == "retried")
    job = {"queue_name": "default", "task_name": "charge", "priority": 0, "lock": None, "worker_id": None, **columns}
    is_due = scheduled is not None and status == "todo"
    return {
        **job,
        "status": status,
        "attempts": attempts,
        "scheduled_at": _clear(scheduled) if is_due and scheduled is not None else None,
        "events": [(kind, _clear(when)) for kind, when in events],
    }


def rows(lives: list[dict[str, Any]]) -> Rows:
    """Return *lives* as rows; only one job that runs may have a lock."""
    jobs: list[dict[str, Any]] = []
    events: list[tuple[float, int, str]] = []
    taken = set()
    for number, each in enumerate(sorted(lives, key=lambda one: one["events"][0][1]), start=1):
        job = {name: value for name, value in each.items() if name != "events"}
        if job["status"] == "doing" and job["lock"] in taken:
            job["lock"] = None
        taken |= {job["lock"]} if job["status"] == "doing" else set()
        jobs.append({"id": number, **job})
        events += [(at, number, kind) for kind, at in each["events"]]
    # As time goes on, so do ids; the order within one job stays, for sorting is stable.
    events.sort(key=lambda event: event[0])
    return {
        "procrastinate_workers": [dict(worker) for worker in WORKERS],
        "procrastinate_jobs": jobs,
        "procrastinate_events": [
            {"id": number, "job_id": job, "type": kind, "at": at}
            for number, (at, job, kind) in enumerate(events, start=1)
        ],
    }


def _lives(*ends: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.builds(
        life,
        st.sampled_from(ends or _ENDS),
        _AGES,
        retries=st.integers(0, 3),
        took=_TOOK,
        scheduled=st.one_of(st.none(), st.integers(-2 * HOUR, 2 * HOUR)),
        queue_name=st.sampled_from(["default", "mail"]),
        task_name=st.sampled_from(["charge", "ship", "mail"]),
        priority=st.integers(-1, 1),
        lock=st.sampled_from([None, None, "a", "b"]),
        worker_id=st.sampled_from([None, FRESH, STALE]),
    )


def histories() -> st.SearchStrategy[Rows]:
    """Return a strategy of whatever may be left."""
    return st.lists(_lives(), max_size=14).map(rows)


SITUATIONS = {
    "nothing": st.just(rows([])),
    "waiting and locked": st.lists(_lives("todo"), max_size=8).map(rows),
    "running": st.lists(_lives("doing", "todo"), max_size=8).map(rows),
    "retried": st.lists(_lives("succeeded", "failed", "retried", "aborted"), max_size=8).map(rows),
    "cancelled": st.lists(_lives("cancelled", "given_up"), max_size=6).map(rows),
}


def lively() -> Rows:
    """Return a history in which no figure is zero."""
    return rows(
        [
            *(life("succeeded", 20 * MINUTE + each, took=3, worker_id=None) for each in range(25)),
            life("succeeded", 8 * MINUTE, retries=2, took=4),
            life("failed", 7 * MINUTE, retries=1, took=2, task_name="ship", queue_name="mail"),
            life("aborted", 6 * MINUTE, took=9),
            life("cancelled", 5 * MINUTE),
            life("retried", 5 * MINUTE, took=2),
            life("given_up", 5 * MINUTE),
            life("doing", 40 * MINUTE, worker_id=FRESH),
            life("doing", 30 * MINUTE, worker_id=FRESH, task_name="slow"),
            life("doing", 10 * MINUTE, worker_id=STALE, lock="a"),
            life("todo", 9 * MINUTE, lock="a"),
            life("todo", 50 * MINUTE),
            life("todo", 9 * MINUTE, retries=1, scheduled=30 * MINUTE),
            life("todo", 9 * MINUTE, retries=1, scheduled=-5 * MINUTE),
        ]
    )
