"""From facts to a judgement."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import facts_of, settings_of
from tasker_health.assessment import Reading, assess
from tasker_health.model import Connections, Durations, Reason, StatusReason, SystemStatus, worst

HEALTH = settings_of().health


def judged(*readings, settings=HEALTH):
    """Return the judgement over *readings*."""
    return assess(readings, settings, now=1000.0)


def reading(name="shop", age=0.0, fault=None, **changes):
    """Return a reading of plausible facts with *changes*."""
    return Reading(name=name, facts=facts_of(**changes), read_at=1000.0 - age, age_seconds=age, fault=fault)


def test_the_figures_are_those_of_the_contract():
    """Totals, averages in whole milliseconds and ratios with four places."""
    found = judged(reading())
    assert found.status is SystemStatus.HEALTHY
    assert found.reasons == []
    health = found.system_health
    assert (health.total_tasks, health.pending_tasks, health.running_tasks) == (1250, 45, 12)
    assert (health.completed_tasks, health.failed_tasks, health.retry_queue_size) == (1180, 13, 3)
    figures = found.performance_metrics
    assert (figures.avg_task_completion_time_ms, figures.avg_step_completion_time_ms) == (2340, 450)
    assert (figures.retry_success_rate, figures.failure_ratio, figures.settled_tasks) == (0.87, 0.0099, 101)


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"window_completed": 95, "window_failed": 5}, []),
        ({"window_completed": 94, "window_failed": 6}, ["failure_ratio"]),
        ({"window_completed": 0, "window_failed": 19}, []),
        ({"window_completed": 0, "window_failed": 20}, ["failure_ratio"]),
        ({"window_completed": None, "window_failed": None}, []),
        ({"blocked": 1}, ["blocked_tasks"]),
        ({"blocked": None, "stuck": None}, []),
        ({"stuck": 1}, ["stuck_tasks"]),
        ({"connections": Connections(active_connections=90, maximum_connections=100, connection_ratio=0.9)}, []),
        (
            {"connections": Connections(active_connections=91, maximum_connections=100, connection_ratio=0.91)},
            ["connections"],
        ),
        ({"connections": Connections()}, []),
        ({"blocked": 2, "stuck": 2, "window_failed": 90}, ["failure_ratio", "blocked_tasks", "stuck_tasks"]),
    ],
)
def test_what_makes_a_system_degraded(changes, reasons):
    """Each threshold at its edge; an unknown figure is no reason."""
    found = judged(reading(**changes))
    assert [str(reason) for reason in found.reasons] == reasons
    assert found.status == ("degraded" if reasons else "healthy")
    assert found.system_health.overall_status is found.status


def test_thresholds_come_from_the_settings():
    """The same facts are healthy under other thresholds."""
    lax = settings_of(health={"degraded_blocked_tasks": 5, "degraded_failure_ratio": 1.0}).health
    assert judged(reading(blocked=4, window_failed=99), settings=lax).status is SystemStatus.HEALTHY


def test_totals_over_sources_are_sums_and_averages_are_weighted():
    """Two sources add up; an average of averages would be wrong."""
    found = judged(
        reading("a", task_time=Durations(1, 100), window_completed=10, window_failed=0),
        reading("b", task_time=Durations(3, 900), window_completed=0, window_failed=1),
    )
    assert found.system_health.total_tasks == 2500
    assert found.performance_metrics.avg_task_completion_time_ms == 250
    assert found.performance_metrics.settled_tasks == 11
    assert set(found.sources) == {"a", "b"}


def test_a_total_is_null_when_a_part_is_unknown():
    """A figure that one source cannot know is unknown for all of them, and known in the others' own report."""
    found = judged(reading("a", blocked=None), reading("b", blocked=2))
    assert found.system_health.blocked_tasks is None
    assert found.sources["b"].system_health.blocked_tasks == 2
    assert StatusReason.BLOCKED_TASKS in found.reasons


def test_a_source_that_cannot_be_read_degrades_the_whole_while_others_answer():
    """One of two unreadable: degraded, totals null, the other still in full; both: unhealthy."""
    never = Reading(name="b", fault=Reason.REFUSED)
    found = judged(reading("a"), never)
    assert (found.status, found.reasons) == (SystemStatus.DEGRADED, [StatusReason.SOURCE_UNREADABLE])
    assert found.system_health.total_tasks is None
    assert found.sources["a"].system_health.total_tasks == 1250
    assert found.sources["a"].status is SystemStatus.HEALTHY
    assert found.sources["b"].status is SystemStatus.UNHEALTHY
    both = judged(reading("a", age=61, fault=Reason.TIMEOUT), never)
    assert both.status is SystemStatus.UNHEALTHY


def test_facts_too_old_keep_the_last_figures_and_are_unhealthy():
    """Beyond `status_max_stale_seconds` the last figures stand with their true timestamp."""
    at_the_edge = judged(reading(age=60, fault=Reason.TIMEOUT))
    assert (at_the_edge.status, at_the_edge.reasons) == (SystemStatus.DEGRADED, [StatusReason.SOURCE_UNREADABLE])
    beyond = judged(reading(age=61, fault=Reason.TIMEOUT))
    assert beyond.status is SystemStatus.UNHEALTHY
    assert beyond.reasons == [StatusReason.SOURCE_UNREADABLE, StatusReason.FACTS_STALE]
    assert beyond.system_health.total_tasks == 1250
    assert beyond.sources["shop"].timestamp.timestamp() == 939


def test_nothing_settled_has_no_average_and_no_ratio():
    """`null` if none, never 0."""
    found = judged(
        reading(
            task_time=Durations(0, 0),
            step_time=None,
            window_completed=0,
            window_failed=0,
            retries_settled=0,
            retries_succeeded=0,
        )
    ).performance_metrics
    assert (found.avg_task_completion_time_ms, found.avg_step_completion_time_ms) == (None, None)
    assert (found.retry_success_rate, found.failure_ratio, found.settled_tasks) == (None, None, 0)


@given(st.lists(st.sampled_from(list(SystemStatus))))
def test_the_worst_status_wins(statuses):
    """The worst of any statuses is one of them, and none is worse."""
    order = ["healthy", "degraded", "unhealthy"]
    expected = max((order.index(each) for each in statuses), default=0)
    assert worst(statuses) == order[expected]
