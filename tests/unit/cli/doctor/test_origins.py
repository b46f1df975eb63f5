"""What a doctor says of the settings: where each came from, without a secret, and what contradicts what."""

from __future__ import annotations

import asyncio

import canary
from fakes import settings_of
from tasker_health.cli.doctor.findings import Verdict
from tasker_health.cli.doctor.origins import contradictions, look
from tasker_health.cli.doctor.walk import Visit
from tasker_health.loading import load_with_origins

PASSWORD = canary.secret("password")
KEY = canary.secret("key")


def rows_of(config=None, **environ):
    """Return the rows by what they are of."""
    settings, origins = load_with_origins(config, environ)
    return {each.what: each for each in asyncio.run(look(Visit(settings, origins)))}


def test_each_value_is_told_with_where_it_came_from(tmp_path):
    """A variable, a table of the file, a variable that names a file; defaults are one row."""
    (tmp_path / "health.toml").write_text('[server]\nport = 9000\n[sources.work]\nkind = "tasker"\nschema = "jobs"\n')
    (tmp_path / "prefix").write_text("/here\n")
    variables = {"TASKER_SERVER__PREFIX_FILE": str(tmp_path / "prefix"), "TASKER_LOG__PROBES": "true"}
    rows = rows_of(tmp_path / "health.toml", **variables)
    assert rows["server.port"].measured == "9000 from health.toml"
    assert rows["sources.work.schema"].measured == "'jobs' from health.toml"
    assert rows["log.probes"].measured == "True from TASKER_LOG__PROBES"
    assert rows["server.prefix"].measured.endswith("from TASKER_SERVER__PREFIX_FILE")
    assert rows["defaults"].figures["defaults"] > 50
    assert len(rows) == 6


def test_no_secret_is_told():
    """Of a URL its scheme; of anything that may be a secret, stars."""
    rows = rows_of(
        TASKER_DATABASE__URL=f"postgresql://app:{PASSWORD}@db.internal/shop",
        TASKER_CACHE__SIGNING_KEY=KEY,
        TASKER_ALERTS__PAGERDUTY__ROUTING_KEY=KEY,
    )
    assert rows["database.url"].measured == "'postgresql://***' from TASKER_DATABASE__URL"
    assert rows["alerts.pagerduty.routing_key"].measured.startswith("'***' from ")
    assert not any(word in str(rows) for word in (PASSWORD, KEY, "db.internal"))


def warned(**groups):
    """Return what is to be changed in such settings."""
    return {each.what for each in contradictions(settings_of(**groups)) if each.verdict is Verdict.WARNING}


def test_settings_that_contradict_one_another_are_found():
    """As they come none does."""
    assert warned() == set()
    assert warned(health={"cache_duration_seconds": 60}) == {"health.cache_duration_seconds"}
    assert warned(health={"heartbeat_seconds": 30}) == {"health.heartbeat_seconds"}
    assert warned(health={"loop_lag_warning_seconds": 31}) == {"health.loop_lag_warning_seconds"}
    assert warned(guard={"enabled": False, "agent_port": 9000}) == {"guard.agent_port"}
    assert warned(guard={"enabled": True, "agent_port": 9000}) == set()
