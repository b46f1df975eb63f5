"""The doctor at ports whose owner may not be looked at: what answers there tells whose they are."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager

import pytest

from fakes import settings_of
from tasker_health.cli.doctor import ports
from tasker_health.cli.doctor.asking import Reply
from tasker_health.cli.doctor.findings import Verdict
from tasker_health.cli.doctor.walk import Visit
from tasker_health.loading import Origins


@contextmanager
def taken():
    """Hold a port of this machine and yield its number."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held.getsockname()[1]


@pytest.fixture
def found(monkeypatch):
    """Return what finds the verdicts of server.port and guard.port, whoever has them being another user's process."""

    def looked(*answers):
        replies = iter(answers)

        async def fetch(*_asked, **_more):
            return next(replies)

        monkeypatch.setattr(ports, "listeners", lambda _: [])
        monkeypatch.setattr(ports, "fetch", fetch)
        with taken() as server, taken() as guard:
            settings = settings_of(server={"port": server}, guard={"port": guard}, health={"service_name": "bakery"})
            return asyncio.run(ports.look(Visit(settings, Origins())))

    return looked


def test_a_service_of_another_user_has_its_own_ports(found):
    """Its process may not be looked at, but it answers by the name of this service: no error."""
    own = Reply(200, {"alive": True, "service": "bakery"}, 0.001)
    rows = found(own, own)
    assert [each.verdict for each in rows] == [Verdict.OK, Verdict.OK]
    assert "taken, by this service as it seems" in rows[0].measured


def test_another_program_of_another_user_is_told_from_it(found):
    """The guard answers as ours; what has the server's port does not."""
    rows = found(Reply(200, {}, 0.001), Reply(200, {"alive": True, "service": "bakery"}, 0.001))
    assert [each.verdict for each in rows] == [Verdict.ERROR, Verdict.OK]
