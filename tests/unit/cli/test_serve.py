"""What `serve` says at its start about who can reach it."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from served import served
from tasker_health.cli.serve import is_loopback

WORDS = "everybody who reaches it can read the status"
KNOWN = {
    "TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION": "true",
    "TASKER_AUTH__AUTHENTICATION_ENABLED": "true",
    "TASKER_AUTH__AUTHENTICATOR_CLASS": "tokens",
    "TASKER_AUTH__TOKENS__OPS__HASH": f"sha256:{hashlib.sha256(b'of nobody').hexdigest()}",
}
PERMITTED = {
    "TASKER_AUTH__AUTHORIZATION_ENABLED": "true",
    "TASKER_AUTH__AUTHORIZATION_COORDINATOR_CLASS": "tasker_health:BaseCoordinator",
}


@pytest.mark.parametrize(
    ("variables", "times"),
    [
        ({}, 0),
        ({"TASKER_SERVER__HOST": "localhost"}, 0),
        ({"TASKER_SERVER__HOST": "::1"}, 0),
        ({"TASKER_SERVER__HOST": "0.0.0.0"}, 1),
        ({"TASKER_SERVER__HOST": "::"}, 1),
        ({"TASKER_SERVER__HOST": "0.0.0.0", "TASKER_AUTH__AUTHENTICATION_ENABLED": "false"}, 1),
        ({"TASKER_SERVER__HOST": "0.0.0.0", **KNOWN}, 0),
        ({"TASKER_SERVER__HOST": "0.0.0.0", **PERMITTED}, 0),
        ({"TASKER_SERVER__HOST": "0.0.0.0", **KNOWN, "TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION": "false"}, 1),
    ],
    ids=lambda value: ",".join(value.values()) if isinstance(value, dict) else "",
)
def test_a_status_that_everybody_reaches_is_told_once(variables, times):
    """One warning, with the settings that help, when it listens beyond this machine and asks nobody who they are."""
    with served(**variables) as server:
        assert server.get("live").status_code == 200
        assert server.log.count(WORDS) == times
        if times:
            line = next(line for line in server.log.splitlines() if WORDS in line)
            assert "WARNING" in line
            for word in ("server.host", "health.status_requires_authentication", "auth.authentication_enabled"):
                assert word in line


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("::ffff:0.0.0.0", False),
        ("10.0.0.1", False),
        ("203.0.113.7", False),
        ("fe80::1%eth0", False),
    ],
)
def test_only_addresses_of_this_machine_are_loopback(address, expected):
    """Private networks are not: other pods are in them."""
    assert is_loopback(address) is expected


def test_what_was_imported_is_kept_out_of_the_garbage_collector():
    """A full collection while it serves finds little to go through, and does not hold the event loop for long."""
    script = (
        "import gc; from tasker_health.cli import serve; from tasker_health.settings import Settings;"
        "serve.serve = lambda *_, announce, **__: announce('http://127.0.0.1:1');"
        "serve.serve_until_stopped(Settings(guard={'enabled': False}));"
        "print(gc.get_freeze_count() > 10 * len(gc.get_objects()))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "True\n"
