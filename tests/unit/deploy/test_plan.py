"""The figures of a deployment: they agree with one another, or there is no plan."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_health.deploy.plan import LIVENESS, READINESS, STARTUP, Prober, plan_of
from tasker_health.errors import ConfigurationError
from tasker_health.loading import load_settings


def settings(**variables):
    """Return settings of these variables alone."""
    return load_settings(environ={f"TASKER_{name}": value for name, value in variables.items()})


def test_without_settings_the_figures_are_the_guides():
    """Readiness 10, 5, 3, 3 and liveness 30, 10, 1, 3; a drain longer than it takes to be found unready."""
    plan = plan_of(settings())
    assert plan.readiness == Prober(10, 5, 3, 3) == READINESS
    assert plan.liveness == Prober(30, 10, 1, 3) == LIVENESS
    assert (plan.drain_seconds, plan.grace_seconds) == (20, 30)
    assert (plan.name, plan.port, plan.guard_port, plan.probe_port) == ("tasker", 8080, 8081, 8081)
    assert STARTUP.seconds_until_out == 60


def test_paths_stand_below_the_prefix():
    """Also where there is none."""
    plan = plan_of(settings(SERVER__PREFIX="/a/b"))
    assert (plan.live_path, plan.ready_path) == ("/a/b/health/live", "/a/b/health/ready")
    assert (plan.startup_path, plan.metrics_path) == ("/a/b/health/startup", "/a/b/metrics")
    assert plan_of(settings(SERVER__PREFIX="/")).live_path == "/health/live"


def test_without_a_guard_the_service_itself_is_probed():
    """At its own port, and over TLS where it speaks that."""
    plan = plan_of(settings(GUARD__ENABLED="false", SERVER__TLS_CERTIFICATE_FILE="a", SERVER__TLS_KEY_FILE="b"))
    assert (plan.guard_port, plan.probe_port, plan.probe_scheme) == (None, 8080, "https")
    assert plan_of(settings(SERVER__TLS_CERTIFICATE_FILE="a", SERVER__TLS_KEY_FILE="b")).probe_scheme == "http"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"SERVER__PORT": "0"}, "server.port = 0: a deployment needs the number of a port"),
        ({"GUARD__PORT": "0"}, "guard.port = 0: a deployment needs the number of a port"),
        ({"GUARD__PORT": "8080"}, "guard.port = 8080: another port than server.port"),
        ({"GRPC__ENABLED": "true", "GRPC__PORT": "8080"}, "grpc.port = 8080: another port than server.port"),
        ({"GRPC__ENABLED": "true", "GRPC__PORT": "8081"}, "grpc.port = 8081: another port than server.port"),
        (
            {"SERVER__DRAIN_SECONDS": "15"},
            "server.drain_seconds = 15: more than 15, the prober's period of 5 s times 3",
        ),
        ({"SERVER__DRAIN_SECONDS": "0"}, "server.drain_seconds = 0: more than 15"),
        ({"HEALTH__READINESS_TIMEOUT_SECONDS": "3"}, "health.readiness_timeout_seconds = 3: less than the 3 s"),
        ({"HEALTH__SERVICE_NAME": "42"}, "health.service_name = '42': begins with a letter"),
        ({"HEALTH__SERVICE_NAME": "---"}, "health.service_name = '---': begins with a letter"),
    ],
)
def test_settings_that_cannot_be_deployed_are_one_line(variables, words):
    """It names the setting, its value and what is allowed."""
    with pytest.raises(ConfigurationError) as raised:
        plan_of(settings(**variables))
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("service", "name"),
    [("Order Shop", "order-shop"), ("orders_v2.", "orders-v2"), ("a" * 80, "a" * 63), ("x" * 62 + "-yz", "x" * 62)],
)
def test_a_service_is_named_in_dns(service, name):
    """Letters, digits and hyphens, at most 63, none of the hyphens at an end."""
    assert plan_of(settings(HEALTH__SERVICE_NAME=service)).name == name


_PROBERS = st.builds(
    Prober,
    period_seconds=st.floats(0.1, 120),
    timeout_seconds=st.floats(0.1, 120),
    failure_threshold=st.integers(1, 20),
)


@given(readiness=_PROBERS, liveness=_PROBERS, drain=st.none() | st.floats(0, 4000), deadline=st.floats(0.01, 100))
def test_the_figures_of_a_plan_agree_or_there_is_none(readiness, liveness, drain, deadline):
    """Whoever asks waits longer than we take; a drain outlives detection; who kills waits for longer than both."""
    variables = {} if drain is None else {"SERVER__DRAIN_SECONDS": repr(drain)}
    given_settings = settings(HEALTH__READINESS_TIMEOUT_SECONDS=repr(deadline), **variables)
    agree = (
        readiness.timeout_seconds > deadline
        and (drain is None or drain > readiness.seconds_until_out)
        and readiness.timeout_seconds <= readiness.period_seconds
        and liveness.timeout_seconds <= liveness.period_seconds
    )
    if not agree:
        with pytest.raises(ConfigurationError, match=r"^[^\n]+$"):
            plan_of(given_settings, readiness=readiness, liveness=liveness)
        return
    plan = replace(plan_of(given_settings, readiness=readiness, liveness=liveness), pre_stop_seconds=7)
    assert plan.readiness.timeout_seconds > plan.readiness_timeout_seconds
    assert plan.drain_seconds > plan.readiness.seconds_until_out
    assert plan.grace_seconds >= plan.pre_stop_seconds + plan.drain_seconds + 10
    assert plan.grace_seconds == math.ceil(plan.grace_seconds)
    assert drain is None or plan.drain_seconds == drain


def test_another_prober_has_to_agree_too():
    """One that gives up after a drain is over is refused, and one that does not wait for the answer."""
    drained = settings(SERVER__DRAIN_SECONDS="20")
    assert plan_of(drained, readiness=Prober(period_seconds=2, timeout_seconds=1)).liveness == LIVENESS
    for prober in (Prober(period_seconds=10, timeout_seconds=1), Prober(period_seconds=1, timeout_seconds=0.5)):
        with pytest.raises(ConfigurationError, match=r"drain_seconds|readiness_timeout_seconds"):
            plan_of(drained, readiness=prober)
