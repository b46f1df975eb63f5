"""The servers that a balancer chooses from, as `--server` names them."""

from __future__ import annotations

import pytest

from tasker_health.deploy.backend import Backend, backends_of
from tasker_health.deploy.plan import Plan
from tasker_health.errors import ConfigurationError

PLAN = Plan("orders", "/tasker", 8080, 8081, readiness_timeout_seconds=0.8, drain_seconds=20, agent_port=8082)


def test_one_on_this_machine_where_none_is_named():
    """With the ports of the settings."""
    assert backends_of([], PLAN) == (Backend("orders-1", "127.0.0.1", 8080, 8081, 8082),)


def test_ports_of_its_own_go_before_those_of_the_settings():
    """And an IPv6 address stands in brackets wherever a port follows it."""
    one, two = backends_of(["a.internal:1", "[::1]:2,guard=3,agent=4"], PLAN)
    assert (one.address, one.probe_address, one.agent_port, one.is_named) == (
        "a.internal:1",
        "a.internal:8081",
        8082,
        True,
    )
    assert (two.address, two.probe_address, two.agent_port, two.is_named) == ("[::1]:2", "[::1]:3", 4, False)


@pytest.mark.parametrize(
    "server",
    [
        *("10.0.0.5", "x:0", "x:65536", "x:000080", "1.2.3:80", "[::1]:x", "::1:80", "[1.2.3.4]:80", ":80", "a b:1"),
        *("a:1,guard=", "a:1,b=1", "a:1,guard=1,guard=2", "a:²", "-a:1", "a..b:1", "a;b:1", "[fe80::1%eth0]:80", ""),
    ],
)
def test_what_is_no_server_is_refused(server):
    """In one line, with an example."""
    with pytest.raises(ConfigurationError, match=r"^--server '.*HOST:PORT, such as"):
        backends_of([server], PLAN)


def test_a_server_is_named_once():
    """Twice would be twice its share."""
    with pytest.raises(ConfigurationError, match="named twice"):
        backends_of(["a:1", "b:1", "a:1"], PLAN)


def test_a_port_of_what_there_is_not_is_refused():
    """Without a guard or an agent in the settings."""
    bare = Plan("orders", "/tasker", 8080, None, readiness_timeout_seconds=0.8, drain_seconds=20)
    assert backends_of(["a:1"], bare)[0].probe_port == 1
    for kind, setting in (("guard", "guard.enabled"), ("agent", "guard.agent_port")):
        with pytest.raises(ConfigurationError, match=f"set {setting}$"):
            backends_of([f"a:1,{kind}=2"], bare)
