"""What a run says of itself: verdicts, exit codes, and the same figures as text, JSON and a page."""

from __future__ import annotations

import errno
import re

import aiohttp
import msgspec
import pytest

from tasker_health.cli.load_test.asking import fault_of, judged
from tasker_health.cli.load_test.figures import figures_of
from tasker_health.cli.load_test.marks import MARKS, MISSED, PASSED, UNKNOWN, Terms, terms_of, verdicts
from tasker_health.cli.load_test.page import page_of
from tasker_health.cli.load_test.plan import Plan
from tasker_health.cli.load_test.record import CACHED, PLAIN, UNCACHED, Outcome, Record, Times
from tasker_health.cli.load_test.run import Run
from tasker_health.cli.load_test.text import FAULT_WORDS, text_of
from tasker_health.errors import ConfigurationError

URL = "http://127.0.0.1:8080/tasker/health"


def run_of(lag_ms=0.0, stopped_by=0, **answers):
    """Return a run whose endpoints had *answers*: pairs of milliseconds and outcome."""
    records = {name: Record(name) for name in answers}
    for name, pairs in answers.items():
        for number, (ms, outcome) in enumerate(pairs):
            records[name].add(Times(number / 10, number / 10, number / 10 + ms / 1000), outcome)
    plan = Plan(tuple(answers), rate=10.0, seconds=1.0)
    return Run(plan, records, seconds=1.0, began_at=0, lag_ms=lag_ms, stopped_by=stopped_by)


def figures(run, terms=None):
    """Return what is reported of *run*."""
    return figures_of(run, URL, terms or Terms())


GOOD = Outcome(200)


@pytest.mark.parametrize(
    ("name", "endpoint", "kind", "limit"),
    [
        *(("live", "live", PLAIN, 10), ("ready", "ready", PLAIN, 100), ("status", "status", PLAIN, 100)),
        *(("live.table", "live", PLAIN, 10), ("ready.table", "ready", PLAIN, 80)),
        *(("status.cached", "status", CACHED, 15), ("status.uncached", "status", UNCACHED, 120)),
    ],
)
def test_each_mark_is_the_guides_figure(name, endpoint, kind, limit):
    """What takes as long as promised passes; a little more does not, unless this client was too busy to tell."""
    for ms, busy, expected in (
        *((limit - 0.01, False, PASSED), (limit + 0.01, False, MISSED)),
        *((limit + 0.01, True, UNKNOWN), (limit - 0.01, True, PASSED)),
    ):
        run = run_of(**{endpoint: [(ms, Outcome(200, "", kind))] * 10})
        found = {each.mark.name: each.outcome for each in verdicts(Terms(), run.records, is_client_busy=busy)}
        assert found[name] == expected


def test_a_promise_is_for_nearly_all_and_the_table_for_half():
    """The 99th percentile and the median; both can be said otherwise."""
    run = run_of(live=[(1, GOOD)] * 97 + [(50, GOOD)] * 3)
    found = {each["name"]: each["outcome"] for each in figures(run)["marks"]}
    assert found == {"live": MISSED, "live.table": PASSED}
    assert figures(run)["exit_code"] == 1
    assert figures(run, terms_of([], 95, 50))["exit_code"] == 0
    assert figures(run, terms_of(["live=51"], 99, 50))["exit_code"] == 0
    assert figures(run, terms_of([], 95, 99))["exit_code"] == 1


@pytest.mark.parametrize("word", ["live", "live=", "live=0", "live=nan", "dead=3", "=3", "live=99999999"])
def test_a_mark_that_is_none_is_refused(word):
    """With the names that there are."""
    with pytest.raises(ConfigurationError, match=r"status\.uncached"):
        terms_of([word], 99, 50)
    assert terms_of([], 99, 50).marks == MARKS


@pytest.mark.parametrize(
    ("run", "code", "words"),
    [
        (run_of(live=[(1, GOOD)] * 10), 0, "passed"),
        (run_of(live=[(11, GOOD)] * 10), 1, "not passed: missed: live, live.table"),
        (run_of(live=[(1, GOOD)] * 99 + [(1, Outcome(500, "code"))]), 1, "not passed: 1 fault"),
        (run_of(live=[(11, GOOD)] * 10, lag_ms=6), 2, "not judged"),
        (run_of(live=[(1, GOOD)] * 10, lag_ms=6), 0, "passed"),
        (run_of(live=[(11, GOOD)] * 10, stopped_by=2), 130, "stopped early"),
        (run_of(ready=[(1, Outcome(503, "", PLAIN, is_unhealthy=True))] * 10), 0, "passed"),
        (run_of(live=[(1, GOOD), (0, Outcome(0, "exhausted"))]), 2, "not judged"),
        (run_of(live=[]), 2, "not judged"),
    ],
)
def test_how_it_ends_is_its_code_and_its_last_line(run, code, words):
    """0 kept, 1 not kept, 2 not to be told because of this client, 130 Ctrl-C; 503 of ready is no fault."""
    found = figures(run)
    assert found["exit_code"] == code
    assert text_of(found).splitlines()[-1].startswith(words)


@pytest.mark.parametrize(
    ("endpoint", "code", "body", "expected"),
    [
        ("live", 200, b'{"alive": true}', Outcome(200)),
        ("live", 503, b'{"alive": false}', Outcome(503, "code")),
        ("ready", 503, b'{"ready": false}', Outcome(503, "", PLAIN, is_unhealthy=True)),
        ("ready", 503, b"<h1>no backend</h1>", Outcome(503, "not_ours")),
        ("ready", 200, b'{"hello": "world"}', Outcome(200, "not_ours")),
        ("ready", 302, b"", Outcome(302, "code")),
        ("status", 401, b'{"error": "Unauthorized"}', Outcome(401, "code")),
        ("status", 200, b'{"status":"healthy","cache_info":{"cached":true,"x":1}}', Outcome(200, "", CACHED)),
        ("status", 200, b'{"status":"x", "cache_info" : {"age": 1, "cached" : false}}', Outcome(200, "", UNCACHED)),
        ("status", 200, b'{"status":"healthy","sources":{"cached":{"cached":true}}}', Outcome(200, "", PLAIN)),
        ("status", 200, b"", Outcome(200, "not_ours")),
    ],
)
def test_an_answer_is_judged_by_its_code_and_its_key(endpoint, code, body, expected):
    """503 of ready and status is a true answer; any other program's page is none."""
    assert judged(endpoint, code, body) == expected


@pytest.mark.parametrize(
    ("number", "fault"),
    [
        *((errno.ECONNREFUSED, "refused"), (errno.ECONNRESET, "broken_off"), (errno.EHOSTUNREACH, "unreachable")),
        *((errno.EMFILE, "exhausted"), (errno.EADDRNOTAVAIL, "exhausted")),
    ],
)
def test_why_there_is_no_connection_is_told_apart(number, fault):
    """What this machine has no more of is not the server's doing."""
    assert fault_of(aiohttp.ClientConnectorError(None, OSError(number, "words"))) == fault


def test_the_page_needs_nothing_and_escapes_everything():
    """No script, no address of anywhere, a policy that permits one style sheet by its digest."""
    run = run_of(live=[(1, GOOD), (2, Outcome(0, "timeout"))], status=[(1, Outcome(200, "", CACHED))])
    page = page_of(figures_of(run, "http://127.0.0.1/<script>alert(1)</script>\"'", Terms()))
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"\b(src|href|on\w+)\s*=", page)
    assert "default-src &#x27;none&#x27;" in page or "default-src 'none'" in page
    assert page.count("<svg") == 6


def test_what_is_reported_is_plain_json_with_a_version():
    """It comes back as it was written; faults are all explained in words."""
    found = figures(run_of(live=[(ms, Outcome(0, fault)) for ms, fault in enumerate(FAULT_WORDS)]))
    assert msgspec.json.decode(msgspec.json.encode(found)) == found
    assert found["version"] == 1
    assert [each["fault"] for each in found["slowest"]] == list(reversed(FAULT_WORDS))[:10]
    assert all(words in text_of(found) for words in FAULT_WORDS.values())
