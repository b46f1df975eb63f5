"""The fake check: as well as the test says, whoever's event loop it runs on."""

from __future__ import annotations

import pytest

from tasker_health import Health
from tasker_health.testing import FakeCheck, HealthClient, settings_of


@pytest.fixture
def check():
    """A check of the name that a database's has."""
    return FakeCheck("database", groups=("stores",))


@pytest.fixture
def found(check):
    """What readiness says of it: code, status and reason."""
    health = Health(settings_of(health={"readiness_max_age_seconds": 0, "readiness_timeout_seconds": 0.2}))
    health.add_check(check)
    with HealthClient(health) as client:

        def ask(name="database"):
            response = client.get(f"/tasker/health/ready/{name}")
            told = response.json()["checks"]["database"]
            return response.status_code, told["status"], told.get("reason")

        yield ask


def test_it_is_well_until_told_otherwise(check, found):
    """And counts how often it was called."""
    assert found() == found("stores") == (200, "ok", None)
    assert check.calls == 2


def test_it_fails_with_the_reason_of_the_test(check, found):
    """Critical or impaired, and well again."""
    check.fail("refused", "for the log")
    assert found() == (503, "error", "refused")
    check.degrade("read_only")
    assert found() == (200, "degraded", "read_only")
    check.succeed()
    assert found() == (200, "ok", None)


def test_it_hangs_until_it_is_released(check, found):
    """Each question is told `timeout` at the deadline; afterwards it is as it was before."""
    check.hang()
    assert found() == (503, "error", "timeout")
    assert found() == (503, "error", "timeout")
    check.release()
    assert found() == (200, "ok", None)
    check.fail("pending")
    check.hang()
    assert found() == (503, "error", "timeout")
    check.release()
    assert found() == (503, "error", "pending")


def test_a_reason_that_there_is_not_is_refused_where_it_is_said(check):
    """Not at the first question."""
    with pytest.raises(ValueError, match="'broken' is not a valid Reason"):
        check.fail("broken")
