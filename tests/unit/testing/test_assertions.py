"""The assertions: what passes, what fails, and what the message says."""

from __future__ import annotations

import asyncio
import json

import pytest

from tasker_health import Health
from tasker_health.model import Reason
from tasker_health.testing import (
    FakeAuthenticator,
    FakeCheck,
    FakeCoordinator,
    FixedSource,
    HealthClient,
    assert_alive,
    assert_healthy,
    assert_not_ready,
    assert_ready,
    settings_of,
    user_with_permission,
)
from tasker_health.testing.client import Response


@pytest.fixture
def database():
    """A critical check."""
    return FakeCheck("database", groups=("stores",))


@pytest.fixture
def mail():
    """An optional check."""
    return FakeCheck("mail", critical=False)


@pytest.fixture
def source():
    """A healthy engine."""
    return FixedSource()


@pytest.fixture
def client(database, mail, source):
    """Asks a health of them, whose every answer is made anew."""
    settings = settings_of(health={"readiness_max_age_seconds": 0, "cache_duration_seconds": 0})
    health = Health(settings, authenticator=FakeAuthenticator())
    health.add_check(database)
    health.add_check(mail)
    health.add_source(source)
    with HealthClient(health) as client:
        yield client


class Canned:
    """A client that gets the same answer for everything."""

    def __init__(self, code, body):
        self.response = Response(code, {}, body if isinstance(body, bytes) else json.dumps(body).encode())

    def get(self, path):
        """Return it."""
        return self.response


def said_by(assertion, *arguments, **options):
    """Return what *assertion* says where it fails."""
    with pytest.raises(AssertionError) as failure:
        assertion(*arguments, **options)
    return str(failure.value)


def test_what_is_well_passes_and_the_body_is_returned(client):
    """For a test that wants to know more."""
    assert assert_alive(client)["service"] == "tasker"
    assert list(assert_ready(client)["checks"]) == ["configuration", "database", "mail"]
    assert list(assert_ready(client, "mail")["checks"]) == ["mail"]
    assert list(assert_ready(client, "stores")["checks"]) == ["database"]
    assert assert_healthy(client)["system_health"]["total_tasks"] == 1250


def test_a_service_that_is_not_ready_is_shown_with_its_checks_and_reasons(client, database, mail):
    """Those that are not well, and the whole body."""
    database.fail("refused")
    mail.degrade("timeout")
    first, second = said_by(assert_ready, client).split("\n")
    assert first == "not ready: database: error (refused); mail: degraded (timeout)"
    assert second.startswith('GET /tasker/health/ready answered 503: {"ready":false,"failed_checks":["database"]')
    assert assert_not_ready(client, failed=["database"])["failed_checks"] == ["database"]
    assert_not_ready(client, "database")
    assert_not_ready(client)


def test_an_optional_check_does_not_make_it_unready(client, mail):
    """But is not ready itself."""
    mail.fail()
    assert assert_ready(client)["degraded_checks"] == ["mail"]
    assert_not_ready(client, "mail")


def test_other_checks_than_those_named_fail_the_assertion(client, database):
    """Too few, too many, or others."""
    database.fail("timeout")
    for failed in (["mail"], ["database", "mail"], []):
        said = said_by(assert_not_ready, client, failed=failed)
        assert "failed are database, not " in said
        assert "database: error (timeout)" in said


def test_readiness_is_no_absence_of_it(client):
    """A service that is ready, and one that answers something else, are not `not ready`."""
    assert said_by(assert_not_ready, client).startswith("ready, or no answer about that\nGET /tasker/health/ready")
    for canned in (Canned(503, {"error": "Service Unavailable"}), Canned(200, {"ready": False}), Canned(503, [])):
        said_by(assert_not_ready, canned)


def test_a_status_that_is_not_healthy_is_shown_with_its_reasons(client, source):
    """Degraded is not healthy."""
    source.fault = Reason.TIMEOUT
    assert said_by(assert_healthy, client).startswith("not healthy but unhealthy: source_unreadable\n")


def test_credentials_are_sent_and_a_refusal_is_said():
    """By headers."""
    authenticator = FakeAuthenticator(users={"Bearer alice": user_with_permission("tasker.health_status:index")})
    settings = settings_of(auth={"authorization_enabled": True})
    health = Health(settings, authenticator=authenticator, coordinator_class=FakeCoordinator)
    health.add_source(FixedSource())
    with HealthClient(health) as client:
        assert "Forbidden: Not authorized to index on tasker.health_status" in said_by(assert_healthy, client)
        assert_healthy(client, headers={"Authorization": "Bearer alice"})


def test_another_prefix_is_said():
    """As `server.prefix` has it."""
    with HealthClient(Health(settings_of(server={"prefix": "/orders"}))) as client:
        assert_ready(client, prefix="/orders")
        assert_alive(client, prefix="/orders")
        assert "There is no such endpoint or check" in said_by(assert_ready, client)


@pytest.mark.parametrize("assertion", [assert_alive, assert_ready, assert_not_ready, assert_healthy])
@pytest.mark.parametrize("body", [b"<h1>Not Found</h1>", b"", b"[]", b'"ready"', b"\xff"])
def test_an_answer_of_somebody_else_is_said_to_be_that(assertion, body):
    """Such as the framework's own page for what it does not know, even with 200."""
    assert said_by(assertion, Canned(200, body)).startswith("this is no answer of Tasker Health")


@pytest.mark.parametrize(
    ("assertion", "code", "body"),
    [
        (assert_alive, 503, {"alive": False, "reason": "event_loop_stalled"}),
        (assert_alive, 200, {"alive": False}),
        (assert_alive, 503, {"alive": True}),
        (assert_alive, 200, {"alive": "true"}),
        (assert_ready, 200, {"ready": False, "checks": {}}),
        (assert_ready, 503, {"ready": True, "checks": {}}),
        (assert_healthy, 200, {"status": "degraded", "reasons": ["blocked_tasks"]}),
        (assert_healthy, 503, {"status": "healthy", "reasons": []}),
    ],
)
def test_code_and_body_must_both_say_it(assertion, code, body):
    """One alone is a defect."""
    assert f"answered {code}" in said_by(assertion, Canned(code, body))


def test_where_the_client_is_awaited_so_is_the_assertion():
    """With the same outcome."""

    class Later(Canned):
        async def get(self, path):
            return self.response

    body = {"ready": False, "failed_checks": ["database"], "checks": {}}
    asyncio.run(assert_not_ready(Later(503, body), failed=["database"]))
    with pytest.raises(AssertionError, match="not ready"):
        asyncio.run(assert_ready(Later(503, body)))
