"""The health endpoints, asked in process: what is ready, what is alive, and who may read the status."""

from __future__ import annotations

import pytest

from tasker_health.testing import assert_alive, assert_ready, settings_of, user_with_permission

READY, LIVE, STATUS = "/tasker/health/ready", "/tasker/health/live", "/tasker/health/status"


def test_ready_says_that_the_service_is_ready(tasker_client):
    """With 200, and with each check."""
    response = tasker_client.get(READY)
    assert response.status_code == 200
    body = response.json()
    assert body["ready"] is True
    assert body["checks"]["critical"]["status"] == "ok"
    assert assert_ready(tasker_client) == body  # the same in one line


def test_live_says_that_the_process_is_alive(tasker_client):
    """With 200, and nothing is looked at."""
    response = tasker_client.get(LIVE)
    assert response.status_code == 200
    assert response.json()["alive"] is True
    assert_alive(tasker_client)


class TestStatusWithAuthorizationDisabled:
    """As it is without any settings."""

    def test_everybody_reads_the_whole_status(self, tasker_client):
        """With 200, the verdict and the figures."""
        response = tasker_client.get(STATUS)
        assert response.status_code == 200
        body = response.json()
        assert body["status"] == "healthy"
        assert body["system_health"]["total_tasks"] == 1250


class TestStatusWithAuthorizationEnabled:
    """A coordinator is asked for the permission `tasker.health_status:index`."""

    @pytest.fixture
    def tasker_settings(self):
        """The settings of `tasker_health`, in this class."""
        return settings_of(auth={"authorization_enabled": True})

    def test_the_permission_is_required(self, tasker_client):
        """Nobody known has it: 403, and no figure."""
        response = tasker_client.get(STATUS)
        assert response.status_code == 403
        assert response.json()["error"] == "Forbidden"
        assert "system_health" not in response.json()

    def test_a_user_with_another_permission_is_refused(self, tasker_client, tasker_authenticator):
        """To be known is not enough."""
        tasker_authenticator.user = user_with_permission("tasker.task:index")
        assert tasker_client.get(STATUS).status_code == 403

    def test_a_user_with_the_permission_reads_it(self, tasker_client, tasker_authenticator):
        """With 200 and the figures."""
        tasker_authenticator.user = user_with_permission("tasker.health_status:index")
        response = tasker_client.get(STATUS)
        assert response.status_code == 200
        assert response.json()["system_health"]["total_tasks"] == 1250

    def test_probes_ask_nobody(self, tasker_client):
        """Ready and live stay open."""
        assert_ready(tasker_client)
        assert_alive(tasker_client)
