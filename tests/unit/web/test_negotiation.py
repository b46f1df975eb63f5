"""In which words a caller wants the answer: `Accept` and `?format=`, well formed or not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasker_health.request import Request
from tasker_health.web.negotiation import FORMATS, format_of, prefers_page

HEALTH = "application/health+json"
ACTUATOR = "application/vnd.spring-boot.actuator.v3+json"
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


def asked(*accepted, query=""):
    """Return a request with each of *accepted* in a header of its own."""
    return Request("GET", "/", [(b"accept", each.encode("latin-1")) for each in accepted], query=query)


def chosen(*accepted, query=""):
    """Return the name of the format that is chosen, `json` for the plain one."""
    form = format_of(asked(*accepted, query=query))
    return "json" if form is None else form.name


@pytest.mark.parametrize(
    ("accepted", "name"),
    [
        ("*/*", "json"),
        ("application/*", "json"),
        ("application/json", "json"),
        (HEALTH, "health"),
        (ACTUATOR, "actuator"),
        (HEALTH.upper(), "health"),
        (f"  {HEALTH}  ", "health"),
        (f"{HEALTH};charset=utf-8", "health"),
        (f"{HEALTH} ; Q=1.000", "health"),
        (f'{HEALTH};a="b,c"', "health"),
        # weights
        (f"{HEALTH};q=0.4, {ACTUATOR};q=0.5", "actuator"),
        (f"{HEALTH};q=0.5, {ACTUATOR};q=0.4", "health"),
        (f"{HEALTH};q=0.5, application/json;q=0.6", "json"),
        (f"{HEALTH}, application/json;q=0.9", "health"),
        (f"{HEALTH}, */*;q=0.1", "health"),
        (f"{HEALTH};q=0, */*", "json"),
        (f"application/json;q=0, {HEALTH};q=0.001", "health"),
        # equals
        (f"{HEALTH}, application/json", "health"),
        (f"{ACTUATOR}, application/vnd.spring-boot.actuator.v2+json, application/json", "actuator"),
        (f"{ACTUATOR}, {HEALTH}", "health"),
        (f"{HEALTH}, */*", "health"),
        ("application/*, application/json", "json"),
        # the most precise range decides
        (f"*/*;q=1, application/json;q=0.2, {ACTUATOR};q=0.3, {HEALTH};q=0.1", "actuator"),
        (f"application/*;q=0.2, {HEALTH};q=0.1", "json"),
        ("application/json;q=0, application/*", "health"),
        (f"{HEALTH};q=0.1, {HEALTH};q=0.9, application/json;q=0.5", "health"),
        (f"{HEALTH};q=0.9, {HEALTH};q=0.1, application/json;q=0.5", "health"),
        # nothing that can be served
        ("image/png", "json"),
        ("application/json;q=0", "json"),
        (f"{HEALTH};q=0", "json"),
        ("application/vnd.spring-boot.actuator.v2+json", "json"),
        ("text/html", "json"),
        (BROWSER, "json"),
        # malformed: left out
        ("", "json"),
        (",;=,q", "json"),
        (f"{HEALTH};q=", "json"),
        (f"{HEALTH};q=2", "json"),
        (f"{HEALTH};q=-1", "json"),
        (f"{HEALTH};q=nan", "json"),
        (f"{HEALTH};q=0.1234", "json"),
        (f"{HEALTH};q=1e0", "json"),
        (f"{HEALTH};q=x, {ACTUATOR}", "actuator"),
        (f"*/json, {ACTUATOR};q=0.1", "actuator"),
        (f"{HEALTH}x", "json"),
        (f"{HEALTH}{' ' * 1000}", "json"),
    ],
)
def test_accept_is_read_as_it_is_specified(accepted, name):
    """The heaviest media type, by its most precise range; of equals one that is named; else plain JSON."""
    assert chosen(accepted) == name


def test_headers_that_are_sent_twice_are_one_list():
    """As RFC 9110 section 5.3 has it."""
    assert chosen("application/json;q=0.5", HEALTH) == "health"
    assert chosen("*/*", HEALTH) == "health"
    assert chosen() == "json"


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("format=json", "json"),
        ("format=health", "health"),
        ("format=actuator", "actuator"),
        ("format=microprofile", "microprofile"),
        ("a=b&format=health&c", "health"),
        ("format=%68ealth", "health"),
        ("format=health&format=actuator", "health"),
        ("format=xml&format=actuator", "json"),
        ("format=", "json"),
        ("format", "json"),
        ("format=Health", "json"),
        ("format=health%00", "json"),
        ("format=%ff", "json"),
        ("format=html", "json"),
        ("FORMAT=health", "actuator"),
        ("reformat=health", "actuator"),
        ("", "actuator"),
        (f"x={'y' * 1000}&format=health", "actuator"),
    ],
)
def test_a_format_in_the_query_decides_alone(query, name):
    """Whatever is accepted beside it (here the Actuator's); one that is not known is plain JSON."""
    assert chosen(ACTUATOR, query=query) == name


@pytest.mark.parametrize(
    ("accepted", "page"),
    [
        (BROWSER, True),
        ("text/html", True),
        ("text/*", True),
        ("TEXT/HTML", True),
        ("text/html;charset=utf-8, application/json;q=0.9", True),
        ("text/html;q=0.2, */*;q=0.1", True),
        ("application/json;q=0.1, application/*;q=0, text/html;q=0.2", True),
        ("text/html, application/json", False),
        ("text/html, */*", False),
        (f"text/html;q=0.9, {HEALTH}", False),
        ("text/html;q=0.5, application/json;q=0.6", False),
        ("text/html;q=0", False),
        ("text/plain", False),
        ("*/*", False),
        ("", False),
        ("application/xhtml+xml", False),
    ],
)
def test_a_page_is_for_those_who_prefer_html_to_every_json(accepted, page):
    """Browsers do; among equals JSON wins; a format in the query is JSON."""
    assert prefers_page(asked(accepted)) is page
    assert prefers_page(asked(accepted, query="format=json")) is False
    assert prefers_page(asked(accepted, query="format=none")) is False


PIECES = st.sampled_from(
    [HEALTH, ACTUATOR, "application/json", "text/html", "*/*", "application/*", ";", "q=", "0.5", "1", ",", " ", "="]
)


@given(accepted=st.lists(st.one_of(st.text(st.characters(max_codepoint=255)), st.lists(PIECES).map("".join))))
def test_no_header_fails(accepted):
    """Whatever is sent, one of the formats that a header can ask for is chosen."""
    assert chosen(*accepted) in {"json", "health", "actuator"}
    assert prefers_page(asked(*accepted)) in {True, False}


@given(query=st.one_of(st.text(st.characters(max_codepoint=255)), st.text("format=helat&%;+0").map("format={}".format)))
def test_no_query_fails(query):
    """Whatever stands behind the question mark, a format is chosen."""
    assert chosen(query=query) in {"json", *(form.name for form in FORMATS)}
