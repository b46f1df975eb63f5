"""What a doctor prints: all of it, and nothing that a terminal obeys."""

from __future__ import annotations

import json

import pytest

from tasker_health.cli.doctor.findings import Finding, tell
from tasker_health.cli.doctor.report import report_of, tell_report

HOSTILE = "a\x1b[2J\x1b]0;owned\x07\x9b31m\u202eb[red]c"


@pytest.fixture
def found():
    """A finding of what a database, a cache or a service has named."""
    return [Finding(what=f"what {HOSTILE}", measured=f"measured {HOSTILE}", remedy=f"remedy {HOSTILE}", trouble="slow")]


def test_a_table_shows_what_servers_name_and_obeys_none_of_it(found, capsys, monkeypatch):
    """Neither of one part nor of the whole walk: no escape, no turned direction, no markup."""
    monkeypatch.setenv("COLUMNS", "400")
    tell(found, as_json=False)
    tell_report(report_of(found), as_json=False)
    told = capsys.readouterr().out
    assert all(line.isprintable() for line in told.splitlines()), told
    assert told.count("[red]c") >= 2 * 3
    assert "measured a?[2J?]0;owned??31m?b" in told


def test_json_says_the_very_names(found, capsys):
    """A program gets them as they are."""
    tell_report(report_of(found), as_json=True)
    assert json.loads(capsys.readouterr().out)["findings"][0]["what"] == f"what {HOSTILE}"
