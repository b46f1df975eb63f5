"""The guard beside the real server: it answers what the application says, and what the application cannot say."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import httpx
import pytest

from beside import PATIENCE_SECONDS, Beside, settings
from served import Served, served
from server import free_port, wait_until


@pytest.fixture
def guard():
    """A guard's place on a free port."""
    return Beside(free_port())


def test_it_answers_what_the_application_answers(guard):
    """live, ready, a check and startup are equal but for their time; status is not there."""
    with served(**settings(guard)) as server:
        guard.becomes("ready", 200)
        for path in ("live", "ready", "ready/configuration", "startup"):
            theirs, ours = guard.get(path), server.get(path)
            assert theirs.status_code == ours.status_code == 200
            assert theirs.json().keys() == ours.json().keys()
            assert {**theirs.json(), "timestamp": ""} == {**ours.json(), "timestamp": ""}
            names = ("content-type", "cache-control", "x-content-type-options")
            assert [theirs.headers[name] for name in names] == [ours.headers[name] for name in names]
        assert guard.get("status").status_code == 404
        assert guard.get("ready/nothing").status_code == 404
    assert guard.get("live") is None


def test_a_wedged_application_is_said_to_be_and_comes_back(guard):
    """Stopped: ready 503 `stalled` soon, live 503 after the threshold; continued: both 200 again."""
    with served(**settings(guard)) as server:
        guard.becomes("ready", 200)
        server.process.send_signal(signal.SIGSTOP)
        try:
            assert guard.get("live").status_code == 200
            guard.becomes("ready", 503, "stalled")
            guard.becomes("live", 503, '"reason":"event_loop_stalled"')
            body = guard.get("live").json()
            assert (body["alive"], body["stalled_seconds"] >= 5) == (False, True)
        finally:
            server.process.send_signal(signal.SIGCONT)
        guard.becomes("live", 200)
        guard.becomes("ready", 200)


def test_a_database_that_hangs_stalls_nobody(guard, own_postgres):
    """A dependency's fault makes ready 503 with its own reason, and live stays 200."""
    with served(**settings(guard, TASKER_DATABASE__URL=own_postgres.url)) as server:
        guard.becomes("ready", 200)
        own_postgres.pause()
        guard.becomes("ready", 503, '"reason":"timeout"')
        ends_at = time.monotonic() + 6
        while time.monotonic() < ends_at:
            assert guard.get("live").status_code == 200
        own_postgres.resume()
        guard.becomes("ready", 200)
        assert server.get("live").status_code == 200


def test_a_guard_that_dies_is_started_again(guard):
    """Killed: another one answers on the same port, with the application's reports."""
    with served(**settings(guard)) as server:
        guard.becomes("ready", 200)
        first = guard.process
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: guard.process not in {None, first}, "there is another guard")
        guard.becomes("ready", 200)
        assert "starting it again" in server.log


def test_an_application_that_is_killed_takes_its_guard_along(guard):
    """The port is free within seconds, for whoever is started next."""
    server = Served(**settings(guard))
    try:
        guard.becomes("ready", 200)
        server.process.kill()
        server.process.wait()
        wait_until(lambda: guard.get("live") is None, "nobody listens", 10)
        with socket.create_server(("127.0.0.1", guard.port)):
            pass
    finally:
        server.stop()
        server.close()


def test_a_taken_port_of_the_guard_ends_serve_with_2():
    """One line names the port and the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
        done = subprocess.run(
            [sys.executable, "-m", "tasker_health", "serve"],
            env={**environment, "TASKER_SERVER__PORT": "0", "TASKER_GUARD__PORT": str(port)},
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert f"guard.port = {port}" in done.stderr
    assert "TASKER_GUARD__PORT" in done.stderr


def test_without_a_guard_nothing_listens(guard):
    """`guard.enabled = false` starts none."""
    with served(**settings(guard, TASKER_GUARD__ENABLED="false")) as server:
        assert server.get("live").status_code == 200
        assert guard.get("live") is None


def test_draining_fails_readiness_at_once_and_loses_no_request(guard):
    """SIGTERM: unready at both ports, requests of a keep-alive client go on; then the server ends with 0."""
    server = Served(**settings(guard, TASKER_SERVER__DRAIN_SECONDS="2"))
    codes, failures, over = [], [], threading.Event()

    def ask():
        with httpx.Client(timeout=PATIENCE_SECONDS) as client:
            while not over.is_set():
                try:
                    codes.append(client.get(f"{server.url}/live").status_code)
                except httpx.TransportError as error:
                    failures.append(error)
                    return

    try:
        guard.becomes("ready", 200)
        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        server.process.send_signal(signal.SIGTERM)
        guard.becomes("ready", 503, '"reason":"draining"')
        response = server.get("ready")
        assert (response.status_code, response.json()["failed_checks"]) == (503, ["server"])
        assert response.headers["connection"] == "close"
        assert server.get("live").status_code == 200
        seen = len(codes)
        wait_until(lambda: len(codes) > seen + 20, "requests go on")
        assert failures == []
        over.set()
        for asker in askers:
            asker.join()
        assert server.process.wait(PATIENCE_SECONDS) == 0
    finally:
        over.set()
        server.stop()
        server.close()
    assert set(codes) == {200}


def test_a_second_sigterm_hurries_it(guard):
    """With minutes to drain it ends at once."""
    server = Served(**settings(guard, TASKER_SERVER__DRAIN_SECONDS="600"))
    try:
        guard.becomes("ready", 200)
        server.process.send_signal(signal.SIGTERM)
        guard.becomes("ready", 503, "draining")
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_SECONDS) == 0
    finally:
        server.stop()
        server.close()
