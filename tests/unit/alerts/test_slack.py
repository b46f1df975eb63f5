"""What is written into a chat: in Slack's form, within its limits, and nothing that a name could forge."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alert_events import event_of
from tasker_health.alerts.channels.slack import message


def texts_of(told) -> list[str]:
    """Return every text of a message."""
    found = [told["text"]]
    for block in told["blocks"]:
        found += [
            each["text"] for each in (block.get("text"), *block.get("fields", ()), *block.get("elements", ())) if each
        ]
    return found


def test_what_is_written():
    """A headline, the figures, and since when; the same headline for those who know no blocks."""
    told = message(event_of())
    assert told["text"] == "\N{LARGE RED CIRCLE} Critical: The status is unhealthy"
    headline, figures, context = told["blocks"]
    assert headline["text"]["text"] == told["text"]
    assert len(figures["fields"]) == 2
    assert figures["fields"][1]["text"].endswith("\n40")
    assert "2026-06-20T23:59:00.250Z" in context["elements"][0]["text"]
    assert context["elements"][1]["text"] == "<https://runbooks.example/orders>"


@pytest.mark.parametrize(
    ("action", "expected"),
    [("update", "Critical: The status is unhealthy (goes on)"), ("resolve", "Resolved: The status is unhealthy")],
)
def test_an_alert_that_goes_on_and_one_that_is_over(action, expected):
    """They are told from a new one at a glance."""
    assert message(event_of(action))["text"].endswith(expected)


@pytest.mark.parametrize(
    "name",
    ["<!channel>", "<https://evil.example|click here>", "@channel", "*bold*", "_so_", "~so~", "`code`", "```x```"],
)
def test_a_name_is_read_as_it_is(name):
    """No mention, link or formatting comes of the name of a check, a rule or a service."""
    told = message(event_of(rule=name, summary=name, service=name, details={name: name}, links=()))
    for text in texts_of(told):
        assert "<" not in text
        assert ">" not in text
        assert name not in text
    read = told["text"].replace("\N{ZERO WIDTH SPACE}", "").replace("&lt;", "<").replace("&gt;", ">")
    assert read.endswith(name)


@given(
    summary=st.text(alphabet="&<>*ab\n\x00", max_size=3000),
    details=st.dictionaries(st.text(max_size=600), st.text(alphabet="&<>_", max_size=600), max_size=30),
    links=st.lists(st.text(max_size=2000).map(lambda rest: f"https://x/{rest}"), max_size=12).map(tuple),
)
def test_nothing_is_too_long_for_slack(summary, details, links):
    """3000 characters of a text, 2000 of a field, 10 fields and 10 elements: beyond that Slack refuses the message."""
    told = message(event_of(summary=summary, details=details, links=links, service="&" * 5000, rule="<" * 5000))
    assert json.dumps(told)
    assert all(0 < len(text) <= 3000 for text in texts_of(told))
    for block in told["blocks"]:
        assert len(block.get("fields", ())) <= 10
        assert len(block.get("elements", ())) <= 10
        assert all(len(each["text"]) <= 2000 for each in block.get("fields", ()))
