"""The doctor at ports: taken, wanted twice, not to be had, and whose they are by what answers there."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from contextlib import contextmanager

import pytest

from answering import answering, http
from fakes import settings_of
from loop import in_loop
from server import free_port
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


def rows_of(**groups):
    """Return the rows by what they are of."""
    settings = settings_of(**{"server": {"port": 0}, "guard": {"port": 0}, **groups})
    return {each.what: each for each in asyncio.run(ports.look(Visit(settings, Origins())))}


def test_every_port_that_is_wanted_is_looked_at():
    """Those of gRPC and of the agent only where they are wanted; whoever has one is told by name and number."""
    assert set(rows_of()) == {"server.port", "guard.port"}
    assert set(rows_of(guard={"enabled": False, "agent_port": 9})) == {"server.port"}
    with taken() as agent, taken() as grpc:
        rows = rows_of(guard={"port": 0, "agent_port": agent}, grpc={"enabled": True, "port": grpc})
    for key, port, variable in (
        ("guard.agent_port", agent, "TASKER_GUARD__AGENT_PORT"),
        ("grpc.port", grpc, "TASKER_GRPC__PORT"),
    ):
        assert rows[key].verdict is Verdict.ERROR
        assert f"{port} at 127.0.0.1: taken by " in rows[key].measured
        assert rows[key].remedy == f"end process {os.getpid()}, or choose another with {variable}"
    assert rows["server.port"].measured == "0: whichever is free"


def test_a_port_that_is_wanted_twice_is_told_at_the_second():
    """Also where one of them listens everywhere; at two addresses of this machine both can have it."""
    port = free_port()
    for host in ("127.0.0.1", "0.0.0.0"):
        rows = rows_of(guard={"port": 0, "agent_port": port}, grpc={"enabled": True, "host": host, "port": port})
        assert rows["guard.agent_port"].verdict is Verdict.OK
        assert rows["grpc.port"].verdict is Verdict.ERROR
        assert rows["grpc.port"].measured == f"{port}, as guard.agent_port: only one of them can have it"
    rows = rows_of(guard={"port": 0, "agent_port": port}, grpc={"enabled": True, "host": "127.0.0.2", "port": port})
    assert rows["grpc.port"].measured == f"{port} at 127.0.0.2: free"


def test_a_host_of_another_machine_is_told_once_by_the_setting_that_names_it():
    """What listens where the server does has no host of its own to put right."""
    elsewhere = {"host": "192.0.2.1", "port": free_port()}
    rows = rows_of(server=elsewhere, guard={"port": free_port()}, grpc={"enabled": True, "port": free_port()})
    assert {what: each.verdict for what, each in rows.items()} == {
        "server.host": Verdict.ERROR,
        "guard.port": Verdict.UNKNOWN,
        "grpc.port": Verdict.UNKNOWN,
    }
    assert rows["guard.port"].measured == "not looked at: server.host"
    assert rows["server.host"].remedy == "name an address of this machine"
    assert rows_of(guard=elsewhere)["guard.host"].verdict is Verdict.ERROR


def test_a_port_that_only_root_may_have_is_told(monkeypatch):
    """By its own setting, with what to choose."""

    def forbidden(_self, _address):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket.socket, "bind", forbidden)
    row = rows_of(server={"port": 443})["server.port"]
    assert (row.verdict, row.measured) == (Verdict.ERROR, "443 at 127.0.0.1: not permitted")
    assert row.remedy == "choose one above 1023"


@in_loop
async def test_all_ports_of_the_process_that_answers_as_the_service_are_its_own():
    """One that answers by another name is another service, and said to be."""
    with taken() as grpc:
        async with answering(live=http({"alive": True, "service": "bakery"})) as port:
            groups = {"server": {"port": port}, "guard": {"port": 0}, "grpc": {"enabled": True, "port": grpc}}
            own, other = [
                {each.what: each for each in await ports.look(Visit(settings_of(**groups, health=health), Origins()))}
                for health in ({"service_name": "bakery"}, {"service_name": "brewery"})
            ]
    for key in ("server.port", "grpc.port"):
        assert own[key].verdict is Verdict.OK
        assert "this service has it, " in own[key].measured
        assert other[key].verdict is Verdict.ERROR
        assert "which does not answer as this service" in other[key].measured
