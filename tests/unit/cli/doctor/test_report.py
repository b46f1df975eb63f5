"""What a doctor prints: all of it, and nothing that a terminal obeys."""

from __future__ import annotations

import json
import time

import jwt
import pytest
from typer.testing import CliRunner

from canary import secret
from tasker_health.cli.doctor import app
from tasker_health.cli.doctor.findings import Finding, error, tell
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


def test_a_narrow_terminal_gets_lines_in_place_of_columns(capsys, monkeypatch):
    """What to do is read as it stands, and what was found is no syllable a line."""
    monkeypatch.setenv("COLUMNS", "40")
    tell_report(report_of([error("url", "refused", "start the server")]), as_json=False)
    assert capsys.readouterr().out.splitlines()[:3] == ["error: , url", "  refused", "  start the server"]


def test_json_says_the_very_names(found, capsys):
    """A program gets them as they are."""
    tell_report(report_of(found), as_json=True)
    assert json.loads(capsys.readouterr().out)["findings"][0]["what"] == f"what {HOSTILE}"


@pytest.mark.parametrize("name", ["a[/b]c", "[red]x[@click=app.bell]y"])
def test_what_a_caller_calls_himself_is_shown_and_not_obeyed(name, tmp_path):
    """His token says it: neither markup nor an end of it that has no beginning."""
    key = secret("doctor-jwt-key-of-at-least-32-bytes")
    config = tmp_path / "health.toml"
    config.write_text(
        f'[auth]\nauthentication_enabled = true\nauthenticator_class = "jwt"\n'
        f'[auth.jwt]\nalgorithms = ["HS256"]\nkey = "{key}"\n[health]\nstatus_requires_authentication = true\n'
    )
    token = jwt.encode({"sub": name, "exp": int(time.time()) + 600}, key, algorithm="HS256")
    told = CliRunner().invoke(app, ["access", "--token", token, "--config", str(config)])
    assert f"knows the caller as {name}" in told.stdout
