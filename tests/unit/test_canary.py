"""The watch over secrets sees them wherever they come out."""

from __future__ import annotations

import logging
import subprocess
import sys

import httpx
import pytest

import canary


@pytest.fixture
def secret():
    """A secret of this test; what it is found in does not fail the session."""
    assert canary.finds() == []
    yield canary.secret("test")
    canary.finds()


def test_a_log_record_is_seen(secret):
    """In its message, its arguments and its traceback."""
    log = logging.getLogger("somebody")
    log.warning("with %s", secret)
    assert len(canary.finds()) == 1
    try:
        raise ValueError(secret)
    except ValueError:
        log.exception("it broke")
    assert len(canary.finds()) == 1
    log.warning("nothing")
    assert canary.finds() == []


@pytest.mark.parametrize("where", ["body", "header"])
def test_an_answer_is_seen(secret, where):
    """In its body and its headers."""

    def answer(_request):
        if where == "body":
            return httpx.Response(200, text=f"a {secret} b")
        return httpx.Response(200, headers={"x-name": secret})

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        client.get("http://somebody/")
    assert len(canary.finds()) == 1


def test_what_a_command_prints_is_seen(secret):
    """On standard output and on standard error, of our own command."""
    code = f"import sys; sys.argv[1:] and print({secret!r}, file=sys.stderr)"
    subprocess.run([sys.executable, "-c", code, "tasker_health"], capture_output=True, check=True)
    assert len(canary.finds()) == 1


def test_what_is_found_is_told_without_the_secret(secret):
    """The find itself must not spread it."""
    canary.look("a place", f"before {secret} after")
    [found] = canary.finds()
    assert secret not in found
    assert "a place" in found
