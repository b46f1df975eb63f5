"""What tasker-core may have left in its tables: lives of tasks and of their steps, generated; times are seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from contract.backend import Rows
from contract.tasker_core_schema import NAMED_TASKS, REASONS
from tasker_health.sources.tasker_core.queries import STEP_STATES, TASK_STATES

TIMES = ("created_at", "updated_at", "last_attempted_at", "recorded_at")
_AGES = st.sampled_from([20, 70, 300, 700, 1200, 2000, 3000, 4000, 9000, 90_000])
"""None lies near the ends of a window."""


def _transitions(owner: str, key: str, states: Sequence[str], ages: Sequence[int]) -> list[dict[str, Any]]:
    """Return how *owner* has come through *states*; the oldest first."""
    times = sorted(ages, reverse=True)
    return [
        {
            key: owner,
            "to_state": state,
            "from_state": states[number - 1] if number else None,
            "sort_key": number,
            "most_recent": number == len(states) - 1,
            "created_at": -times[number],
            "updated_at": -times[number],
        }
        for number, state in enumerate(states)
    ]


def _life(draw: st.DrawFn, states: Sequence[str], ends: Sequence[str]) -> tuple[list[str], list[int]]:
    path = draw(st.lists(st.sampled_from(states), max_size=2))
    if path or draw(st.booleans()):
        path.append(draw(st.sampled_from(ends)))
    return path, [draw(_AGES) for _ in path]


@st.composite
def histories(
    draw: st.DrawFn,
    *,
    ends: Sequence[str] = TASK_STATES,
    step_ends: Sequence[str] = STEP_STATES,
    most: int = 5,
) -> Rows:
    """Return the rows of up to *most* tasks that came to one of *ends*, with steps that came to *step_ends*."""
    rows: Rows = {
        "tasks": [],
        "workflow_steps": [],
        "task_transitions": [],
        "workflow_step_transitions": [],
        "tasks_dlq": [],
        "workflow_step_result_audit": [],
    }
    for number in range(draw(st.integers(0, most))):
        task = f"{number}"
        path, ages = _life(draw, TASK_STATES, ends)
        created = -max([*ages, draw(_AGES)])
        name = draw(st.sampled_from(sorted(NAMED_TASKS)))
        rows["tasks"].append({"task_uuid": task, "name": name, "created_at": created, "updated_at": created})
        rows["task_transitions"] += _transitions(task, "task_uuid", path, ages)
        for reason in draw(st.lists(st.sampled_from(REASONS), max_size=1)):
            status = draw(st.sampled_from(["pending", "pending", "manually_resolved"]))
            rows["tasks_dlq"].append({"task_uuid": task, "dlq_reason": reason, "resolution_status": status})
        for place in range(draw(st.integers(0, 2))):
            step = f"{number}-{place}"
            path, ages = _life(draw, STEP_STATES, step_ends)
            tried, backoff = draw(
                st.sampled_from([(None, None), (-20, 600), (-700, 10), (-1200, 10), (-9000, 20_000), (None, 30)])
            )
            attempts = draw(st.sampled_from([None, 0, 1, 3, 6, 2000]))
            rows["workflow_steps"].append(
                {
                    "workflow_step_uuid": step,
                    "task_uuid": task,
                    "attempts": attempts,
                    "last_attempted_at": tried,
                    "backoff_request_seconds": backoff,
                }
            )
            rows["workflow_step_transitions"] += _transitions(step, "workflow_step_uuid", path, ages)
            for _ in range(draw(st.integers(0, 2))):
                took = draw(st.sampled_from([None, 0, 5, 70_000]))
                result = {"success": draw(st.booleans()), "execution_time_ms": took, "recorded_at": -draw(_AGES)}
                rows["workflow_step_result_audit"].append({"workflow_step_uuid": step, **result})
    return rows


SITUATIONS = {
    "zero_rows": histories(most=0),
    "retries": histories(ends=("waiting_for_retry",), step_ends=("waiting_for_retry", "error")),
    "blocked": histories(ends=("blocked_by_failures", "waiting_for_dependencies"), step_ends=("error", "pending")),
    "ended": histories(ends=("complete", "error", "cancelled", "resolved_manually"), step_ends=("complete",)),
}


def lively() -> Rows:
    """Return a history in which every figure is more than zero."""
    lives = {
        "done": ("pending", "complete"),
        "bad": ("pending", "error"),
        "off": ("cancelled",),
        "waits": ("pending",),
        "runs": ("pending", "steps_in_process"),
        "tries": ("waiting_for_retry",),
        "blocked": ("blocked_by_failures",),
    }
    rows: Rows = {"tasks": [], "task_transitions": []}
    for name, path in lives.items():
        ages = [2000 - number for number in range(len(path))]
        rows["tasks"].append({"task_uuid": name, "name": "order", "created_at": -2000, "updated_at": -2000})
        rows["task_transitions"] += _transitions(name, "task_uuid", path, ages)
    rows["tasks"].append({"task_uuid": "just", "name": "refund", "created_at": -70, "updated_at": -70})
    rows["task_transitions"] += _transitions("just", "task_uuid", ("complete",), (20,))
    step = {"task_uuid": "tries", "attempts": 1, "last_attempted_at": -70, "backoff_request_seconds": 9000}
    rows["workflow_steps"] = [{"workflow_step_uuid": "step", **step}]
    rows["workflow_step_transitions"] = _transitions("step", "workflow_step_uuid", ("waiting_for_retry",), (70,))
    result = {"workflow_step_uuid": "step", "success": True, "execution_time_ms": 40, "recorded_at": -300}
    rows["workflow_step_result_audit"] = [result]
    rows["tasks_dlq"] = []
    return rows
