"""HAProxy takes every form of what is rendered, and the page shows what the command prints."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from faults.balancer import program
from tasker_health.cli.deploy import app
from tasker_health.deploy.backend import backends_of
from tasker_health.deploy.haproxy import HAPROXY, render
from tasker_health.deploy.plan import plan_of
from tasker_health.deploy.proxy import Proxy
from tasker_health.loading import load_settings

PAGE = Path(__file__).parents[3] / "docs" / "deploy" / "haproxy.md"
SERVERS = ["10.0.0.11:8080", "10.0.0.12:8080"]


def text(servers=SERVERS, proxy=None, **variables):
    """Return what is rendered for *variables* of the environment."""
    plan = plan_of(load_settings(None, environ=variables), readiness=HAPROXY)
    return render(plan, backends_of(servers, plan), proxy or Proxy())["haproxy.cfg"]


@pytest.mark.parametrize(
    ("servers", "proxy", "variables"),
    [
        (SERVERS, None, {}),
        ([], None, {}),
        (["localhost:8080,guard=9000", "[::1]:8080"], Proxy("[::1]:8000", 2.5), {}),
        (SERVERS, Proxy("127.0.0.1:8000"), {"TASKER_SERVER__PREFIX": ""}),
        (SERVERS, None, {"TASKER_GUARD__ENABLED": "false"}),
        (SERVERS, None, {"TASKER_GUARD__AGENT_PORT": "8082"}),
        (SERVERS, None, {"TASKER_HEALTH__SERVICE_NAME": "Orders & Co", "TASKER_SERVER__PREFIX": "/a/b-c_d.e~f"}),
    ],
    ids=["default", "one", "ipv6", "no-prefix", "no-guard", "agent", "names"],
)
def test_haproxy_takes_it(tmp_path, servers, proxy, variables):
    """Without a warning."""
    (tmp_path / "haproxy.cfg").write_text(text(servers, proxy, **variables))
    done = subprocess.run(
        [program("haproxy"), "-c", "-f", tmp_path / "haproxy.cfg"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr


def test_it_asks_the_guard_for_longer_than_an_answer_takes():
    """`/ready` at the guard's port, every 2 s, for 1.5 s; a server is out within 6 s, and drains for longer."""
    lines = {line.strip() for line in text().splitlines()}
    assert "http-check send meth GET uri /tasker/health/ready ver HTTP/1.1 hdr Host tasker" in lines
    assert "timeout check 1500ms" in lines
    assert "default-server check inter 2s fall 3 rise 2 slowstart 30s" in lines
    assert "server tasker-1 10.0.0.11:8080 port 8081" in lines
    plan = plan_of(load_settings(None, environ={}), readiness=HAPROXY)
    assert plan.readiness_timeout_seconds < plan.readiness.timeout_seconds
    assert plan.readiness.seconds_until_out < load_settings(None, environ={}).server.drain_seconds


def test_where_there_is_no_guard_it_asks_the_application():
    """At the port of its requests."""
    assert "server tasker-1 10.0.0.11:8080 port 8080\n" in text(TASKER_GUARD__ENABLED="false")


def test_an_agent_is_asked_only_where_there_is_one():
    """`guard.agent_port` of the settings, or that of one server."""
    assert " agent-check" not in text()
    servers = ["10.0.0.11:8080", "10.0.0.12:8080,agent=9002"]
    lines = [line for line in text(servers, TASKER_GUARD__AGENT_PORT="8082").splitlines() if "agent-check" in line]
    assert ["agent-port 8082" in lines[0], "agent-port 9002" in lines[1], len(lines)] == [True, True, 2]
    assert f"```haproxy\n{lines[0]}\n```\n" in PAGE.read_text()


def test_the_page_shows_what_the_command_prints(monkeypatch, capsys):
    """To mend: put the output of the command that stands above it into the page."""
    for name in [name for name in os.environ if name.startswith("TASKER_")]:
        monkeypatch.delenv(name)
    words = ["haproxy", "--server", SERVERS[0], "--server", SERVERS[1]]
    app(words, standalone_mode=False)
    page = PAGE.read_text()
    assert f"tasker-health deploy {' '.join(words)}\n" in page
    assert f"```haproxy\n{capsys.readouterr().out}```\n" in page
