"""Why a caller is let in or not: the same verdict as the gate's, and a reason for each step."""

from __future__ import annotations

import asyncio

import pytest

from contract.test_access_table import CREDENTIALS, SWITCHES, expected, headers_of, health_of
from fakes import settings_of
from tasker_health.access.explanation import Outcome, explain
from tasker_health.access.gate import Gate
from tasker_health.errors import AuthenticationError
from tasker_health.request import Request


def explained(gate, headers=()):
    """Return what is said of a request with *headers*."""
    raw = [(name.lower().encode(), value.encode()) for name, value in headers]
    return asyncio.run(explain(gate, Request("GET", "/tasker/health/status", raw, "192.0.2.1")))


@pytest.mark.parametrize("switches", SWITCHES, ids=str)
@pytest.mark.parametrize("credentials", CREDENTIALS)
@pytest.mark.parametrize("kind", ["token", "jwt"])
def test_the_verdict_is_that_of_the_table(switches, credentials, kind):
    """In every row and column, for tokens and for JWTs; the last step says why."""
    found = explained(health_of(*switches, cached=False)._gate, headers_of(kind, credentials))
    code = expected(*switches, credentials)
    assert found.code == code
    assert (found.steps[-1].outcome is Outcome.REFUSED) == (code != 200)


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        ("none", "nobody is known: send credentials"),
        ("wrong", "unknown"),
        ("expired", "expired"),
        ("without permission", "tasker.health_status:index"),
    ],
)
def test_each_refusal_says_why(credentials, words):
    """So that an operator need not guess."""
    found = explained(health_of(True, True, True, cached=False)._gate, headers_of("token", credentials))
    assert words in found.steps[-1].words


def test_a_chunked_request_is_refused_as_the_server_refuses_it():
    """Whose headers may have come behind the body is told so, and not let in."""
    headers = [*headers_of("token", "admin"), ("Transfer-Encoding", "chunked")]
    found = explained(health_of(True, True, True, cached=False)._gate, headers)
    assert (found.code, found.steps[-1].outcome) == (401, Outcome.REFUSED)
    assert "chunked" in found.steps[-1].words


def test_a_caller_is_named_and_the_credentials_are_not():
    """With the name of the settings; a secret stands in no step."""
    headers = headers_of("token", "admin")
    found = explained(health_of(True, True, True, cached=False)._gate, headers)
    assert any("boss" in step.words for step in found.steps)
    assert headers[0][1].partition(" ")[2] not in repr(found)


class Broken:
    """An authenticator that breaks, with a secret in its words."""

    async def authenticate(self, request):
        """Break."""
        raise RuntimeError("postgresql://someone:hidden@host/name")


class Refusing:
    """An authenticator that says why, with a secret in its words."""

    async def authenticate(self, request):
        """Refuse."""
        raise AuthenticationError("token=hidden is not known")


def test_what_broke_is_said_without_its_secrets():
    """The text of an exception may hold a password."""
    found = explained(Gate(settings_of(), authenticator=Broken()))
    assert (found.code, found.steps[-1].outcome) == (500, Outcome.FAULT)
    assert "RuntimeError" in found.steps[-1].words
    assert "hidden" not in repr(found)
    found = explained(Gate(settings_of(), authenticator=Refusing()))
    assert found.code == 401
    assert "hidden" not in repr(found)


def test_nothing_is_counted_and_nobody_waits():
    """An explanation is no attempt."""
    gate = health_of(True, True, True, cached=False)._gate
    for _ in range(30):
        explained(gate, headers_of("token", "wrong"))
    assert gate.counts.authentication_failures == 0
    assert not gate._limiter._failures
