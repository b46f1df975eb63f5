"""`tasker-health doctor` as an operator types it."""

from __future__ import annotations

import json

import sqlalchemy as sa

import canary
from command import run
from contract import tasker_schema
from server import free_port, sync_url
from tasker_health.access.hashing import new_token, stored_token

TOKEN = canary.watch(new_token())
LOCKED = {
    "TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION": "true",
    "TASKER_AUTH__AUTHENTICATION_ENABLED": "true",
    "TASKER_AUTH__AUTHENTICATOR_CLASS": "tokens",
    "TASKER_AUTH__AUTHORIZATION_ENABLED": "true",
    "TASKER_AUTH__AUTHORIZATION_COORDINATOR_CLASS": "roles",
    "TASKER_AUTH__ROLES__READER__PERMISSIONS": "tasker.health_status:index",
    "TASKER_AUTH__TOKENS__GRAFANA__HASH": stored_token(TOKEN),
    "TASKER_AUTH__TOKENS__GRAFANA__ROLES": "reader",
}


def source_at(url, **more):
    """Return settings of a source of Tasker's at *url*."""
    return {"TASKER_SOURCES__WORK__KIND": "tasker", "TASKER_SOURCES__WORK__URL": url, **more}


def test_access_explains_who_is_let_in_and_why_not():
    """By the code and in words; the token may come on standard input, where nobody else sees it."""
    done = run("doctor", "access", "--token", TOKEN, "--json", **LOCKED)
    found = json.loads(done.stdout)
    assert (done.returncode, found["code"]) == (0, 200)
    assert [step["outcome"] for step in found["steps"]] == ["passed"] * 4
    done = run("doctor", "access", "--token", "-", input=f"{TOKEN}\n", **LOCKED)
    assert (done.returncode, "knows the caller as grafana" in done.stdout) == (0, True)
    done = run("doctor", "access", "--header", f"X-API-Key: {TOKEN}x", **LOCKED)
    assert (done.returncode, "unknown" in done.stdout, "answers 401" in done.stdout) == (1, True, True)
    done = run("doctor", "access", **{**LOCKED, "TASKER_AUTH__AUTHENTICATOR_CLASS": "json:loads"})
    assert done.returncode == 2
    done = run("doctor", "access", "--header", "no colon", **LOCKED)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_sources_tells_how_each_is_read_and_proposes_indexes(postgres_database):
    """It prints what it proposes and makes nothing; what is there is proposed no more."""
    engine = sa.create_engine(sync_url(postgres_database), poolclass=sa.NullPool)
    with engine.begin() as connection:
        tasker_schema.create(connection)
    done = run("doctor", "sources", "--json", **source_at(postgres_database))
    found, *advice = json.loads(done.stdout)
    assert (done.returncode, found["figures"]["tasks"], "by tally" in found["measured"]) == (0, 0, True)
    proposed = [each["remedy"] for each in advice]
    assert len(proposed) == 4
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        indexes = "SELECT count(*) FROM pg_indexes WHERE indexname LIKE 'tasker_health%%'"
        assert connection.exec_driver_sql(indexes).scalar() == 0
        for statement in proposed[:3]:
            connection.exec_driver_sql(statement)
    done = run("doctor", "sources", COLUMNS="600", **source_at(postgres_database))
    assert (done.returncode, done.stdout.count("CREATE INDEX CONCURRENTLY")) == (0, 1)
    assert proposed[3] in done.stdout


def test_sources_that_cannot_be_read_are_named():
    """With a reason and a remedy, without the secret, and with code 2."""
    url = f"postgresql://somebody:{canary.secret('source')}@127.0.0.1:{free_port()}/nowhere"
    done = run("doctor", "sources", "--json", **source_at(url))
    [found] = json.loads(done.stdout)
    assert (done.returncode, found["verdict"]) == (2, "error")
    assert found["measured"].startswith(("refused", "unreachable"))
    assert "no source is configured: name one in [sources.<name>]" in run("doctor", "sources", COLUMNS="200").stdout
