"""The client in process: what every prober gets, without a server."""

from __future__ import annotations

import asyncio
import threading

from server import wait_until
from tasker_health import Health
from tasker_health.testing import HealthClient, settings_of


def test_it_gets_code_headers_and_body():
    """As sent, HEAD and other methods too."""
    with HealthClient(Health(settings_of())) as client:
        response = client.get("/tasker/health/live")
        assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
        assert response.json()["alive"] is True
        assert response.text == response.content.decode()
        assert client.request("HEAD", "/tasker/health/live").content == b""
        assert client.request("POST", "/tasker/health/live").status_code == 405
        assert client.get("/orders").status_code == 404


def test_headers_and_the_query_are_sent():
    """Both choose a format."""
    with HealthClient(Health(settings_of())) as client:
        asked = client.get("/tasker/health/ready", {"Accept": "application/health+json"})
        named = client.get("/tasker/health/ready?format=health")
        assert asked.headers["content-type"] == named.headers["content-type"] == "application/health+json"


def test_checks_can_be_added_until_the_first_question():
    """Also when the client is there already."""
    health = Health(settings_of())
    with HealthClient(health) as client:
        health.check("late")(lambda: None)
        assert client.get("/tasker/health/ready/late").status_code == 200


def test_it_leaves_no_thread_and_needs_no_loop_of_the_test():
    """In a coroutine too."""
    before = set(threading.enumerate())

    async def ask():
        with HealthClient(Health(settings_of())) as client:
            return client.get("/tasker/health/ready").status_code

    assert asyncio.run(ask()) == 200
    wait_until(lambda: set(threading.enumerate()) <= before, "its thread has ended")


def test_one_that_asked_nothing_closes():
    """There is nothing to stop."""
    HealthClient(Health(settings_of())).close()
