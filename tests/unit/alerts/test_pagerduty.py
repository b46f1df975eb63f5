"""What PagerDuty is told: by the rules of its Events API v2, whatever an event says."""

from __future__ import annotations

import json
import math
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alert_events import event_of
from events_rules import MOST_BYTES, errors_of
from tasker_health.alerts import Action, Severity
from tasker_health.alerts.channels.pagerduty import PagerDutyChannel, _action_and_key, _of_answer, _properties

ROUTING_KEY = "k" * 32


def body_of(event) -> bytes:
    """Return what the client would send of *event*."""
    action, key = _action_and_key(event)
    told = {"event_action": action, "dedup_key": key, **_properties(event), "routing_key": ROUTING_KEY}
    return json.dumps(told, allow_nan=False).encode()


def test_a_trigger_says_what_is_wrong():
    """All parts of PagerDuty's Common Event Format, the links, and who sends it."""
    event = event_of()
    told = json.loads(body_of(event))
    assert told["event_action"] == "trigger"
    assert told["dedup_key"] == event.dedup_key
    assert told["payload"] == {
        "summary": "The status is unhealthy",
        "source": "orders",
        "severity": "critical",
        "timestamp": "2026-06-21T00:00:00.250Z",
        "component": "orders",
        "group": "tasker-health",
        "class": "status",
        "custom_details": {
            "failed_tasks": 3,
            "total_tasks": 40,
            "rule": "status",
            "since": "2026-06-20T23:59:00.250Z",
        },
    }
    assert told["links"] == [{"href": "https://runbooks.example/orders", "text": "https://runbooks.example/orders"}]
    assert (told["client"], told["client_url"]) == ("Tasker Health", "https://runbooks.example/orders")
    assert errors_of(body_of(event), ROUTING_KEY) == []


def test_an_update_is_a_trigger_and_a_resolve_a_key():
    """There is no other way to add figures to an open alert, and a resolve needs nothing but its key."""
    assert json.loads(body_of(event_of("update")))["event_action"] == "trigger"
    resolve = json.loads(body_of(event_of("resolve")))
    assert resolve == {
        "event_action": "resolve",
        "dedup_key": "tasker-health/orders/status",
        "routing_key": ROUTING_KEY,
    }


words = st.text(max_size=3000)
values = st.one_of(words, st.integers(), st.floats(), st.none(), st.booleans(), st.lists(words, max_size=3))


@given(
    action=st.sampled_from(Action),
    severity=st.sampled_from(Severity),
    summary=words,
    service=words,
    dedup_key=st.text(min_size=1, max_size=400),
    details=st.dictionaries(words, values, max_size=30),
    links=st.lists(st.text(max_size=100), max_size=30).map(tuple),
)
def test_nothing_that_an_event_says_breaks_the_rules(action, severity, summary, service, dedup_key, details, links):
    """Names of any length and characters, NaN among the figures: every event is one that PagerDuty takes."""
    event = event_of(
        severity=severity, summary=summary, service=service, dedup_key=dedup_key, details=details, links=links
    )
    event = event_of(**{name: getattr(event, name) for name in event.__struct_fields__} | {"action": action})
    body = body_of(event)
    assert errors_of(body, ROUTING_KEY) == []
    assert len(body) < MOST_BYTES / 4


def test_too_many_details_are_cut():
    """The first of them are told, and that there were more."""
    event = event_of(details={f"figure_{number}": "x" * 1000 for number in range(1000)})
    details = json.loads(body_of(event))["payload"]["custom_details"]
    assert details["truncated"] is True
    assert 10 < len(details) < 20
    assert "figure_0" in details


def test_a_figure_that_is_none_is_no_number():
    """JSON has no NaN: it is told as null."""
    details = json.loads(body_of(event_of(details={"ratio": math.nan})))["payload"]["custom_details"]
    assert details["ratio"] is None


class Answered:
    """What came back, as far as it is looked at."""

    def __init__(self, status, text="", headers=None):
        self.status_code = status
        self.text = text
        self.headers = headers or {}
        self.is_success = 200 <= status < 300


@pytest.mark.parametrize(
    ("answered", "again", "after"),
    [
        (Answered(400, '{"errors": ["Summary is blank"]}'), False, None),
        (Answered(400, '{"errors": ["Length of \'routing_key\' is incorrect"]}'), True, 300),
        (Answered(401), True, 300),
        (Answered(403), True, 300),
        (Answered(404), True, 300),
        (Answered(413), False, None),
        (Answered(429, headers={"retry-after": "120"}), True, 120),
        (Answered(429), True, None),
        (Answered(500), True, None),
        (Answered(503, headers={"retry-after": "soon"}), True, None),
        (Answered(202, "<html>"), True, None),
    ],
)
def test_what_an_answer_means(answered, again, after):
    """Only what is wrong with the event itself is final; a wrong key is waited for, as an operator can put it right."""
    error = _of_answer(answered)
    assert (error.again, error.after_seconds) == (again, after)
    assert "html" not in str(error)


def test_the_client_tries_once_and_by_itself():
    """Whatever the environment says: no proxy, no retry and no sleep of the client's own."""
    from tasker_health.alerts.channels.cut_transport import CutTransport

    tls = ssl.create_default_context()
    channel = PagerDutyChannel(ROUTING_KEY, "https://events.eu.pagerduty.com", tls, 7.0)
    with channel._client(CutTransport(tls)) as client:
        assert (client.timeout, client.max_network_attempts, client.url) == (7.0, 0, "https://events.eu.pagerduty.com")
        assert client.trust_env is False
