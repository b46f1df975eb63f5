"""What broke is told, once in a while, and without what the caller sent."""

from __future__ import annotations

import asyncio
import logging

import pytest

import canary
from fakes import settings_of
from tasker_health.access import faults as faults_module
from tasker_health.access.faults import AccessFault
from tasker_health.access.gate import Gate
from tasker_health.errors import SettingsError
from tasker_health.request import Request


class Quoting:
    """An authenticator that breaks, and quotes what was sent."""

    async def authenticate(self, request):
        """Break."""
        raise ValueError(f"cannot parse {request.header('authorization')!r} with {request.header('cookie')!r}")


def test_what_the_caller_sent_is_quoted_nowhere(caplog):
    """Neither in the log, nor to the operator, nor in the check: an exception's text may hold a token."""
    token, session = canary.secret("token"), canary.secret("session")
    gate = Gate(settings_of(), authenticator=Quoting())
    headers = [(b"authorization", f"Bearer {token}".encode()), (b"cookie", f"a=b; session={session}".encode())]
    with pytest.raises(AccessFault) as caught:
        asyncio.run(gate.admit(Request("GET", "/", headers)))
    said = f"{caplog.text} {caught.value.words} {gate.problems()}"
    assert "cannot parse" in said
    assert token not in said
    assert session not in said


def test_the_log_is_told_once_in_a_while(caplog, monkeypatch):
    """A flood of requests is no flood of lines; the check tells of it all the time."""
    now = 1000.0
    monkeypatch.setattr(faults_module.time, "monotonic", lambda: now)
    found = faults_module.Faults()
    for number in range(100):
        found.broke("Authentication", ValueError(str(number)))
        found.tell("user", "a user of type X is refused", logging.WARNING)
    assert len(caplog.records) == 2
    now += 11
    assert found.problems() == []
    found.broke("Authentication", ValueError("again"))
    assert len(caplog.records) == 3
    assert found.problems() == ["authentication broke: ValueError: again"]
    found.mended("Authentication")
    assert found.problems() == []


@pytest.mark.parametrize(
    ("auth", "words"),
    [
        ({"authenticator_class": "tokens,tokens"}, "named twice"),
        ({"users": {"ada": {"password_hash": "scrypt:..."}}}, "auth.users = set: nothing reads it; add basic"),
        ({"jwt": {"key": "k" * 32, "algorithms": ["HS256"]}, "authenticator_class": "starlette"}, "add jwt"),
        ({"tokens": {"ci": {"hash": "sha256:..."}}}, "add tokens"),
    ],
)
def test_settings_that_nothing_reads_do_not_start(auth, words):
    """They look as if they kept somebody out."""
    with pytest.raises(SettingsError, match=words):
        Gate(settings_of(auth=auth))
