"""NGINX takes every form of what is rendered, and the page shows what the command prints."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from faults.balancer import main_file, program
from tasker_health.cli.deploy import app
from tasker_health.deploy.backend import backends_of
from tasker_health.deploy.nginx import render
from tasker_health.deploy.plan import plan_of
from tasker_health.deploy.proxy import Proxy
from tasker_health.loading import load_settings

PAGE = Path(__file__).parents[3] / "docs" / "deploy" / "nginx.md"
SERVERS = ["10.0.0.11:8080", "10.0.0.12:8080"]


def text(servers=SERVERS, proxy=None, **variables):
    """Return what is rendered for *variables* of the environment."""
    plan = plan_of(load_settings(None, environ=variables))
    return next(iter(render(plan, backends_of(servers, plan), proxy or Proxy()).values()))


@pytest.mark.parametrize(
    ("servers", "proxy", "variables"),
    [
        (SERVERS, None, {}),
        ([], None, {}),
        (["localhost:8080,guard=9000", "[::1]:8080"], Proxy("[::1]:8000", 2.5), {}),
        (SERVERS, Proxy("127.0.0.1:8000"), {"TASKER_SERVER__PREFIX": ""}),
        (SERVERS, None, {"TASKER_GUARD__ENABLED": "false"}),
        (SERVERS, None, {"TASKER_HEALTH__SERVICE_NAME": "Orders & Co", "TASKER_SERVER__PREFIX": "/a/b-c_d.e~f"}),
    ],
    ids=["default", "one", "ipv6", "no-prefix", "no-guard", "names"],
)
def test_nginx_takes_it(tmp_path, servers, proxy, variables):
    """Without a warning."""
    (tmp_path / "site.conf").write_text(text(servers, proxy, **variables))
    (tmp_path / "nginx.conf").write_text(main_file(tmp_path))
    done = subprocess.run(
        [program("nginx"), "-t", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def test_only_what_may_be_done_twice_is_sent_twice():
    """No `non_idempotent`, bounded tries, and time left for the next server where one hangs."""
    words = text(["a:1", "b:1", "c:1", "d:1"], Proxy(request_timeout_seconds=20))
    directives = [line.strip() for line in words.splitlines() if not line.strip().startswith("#")]
    assert [line for line in directives if "proxy_next_upstream " in line] == [
        "proxy_next_upstream error timeout http_503;"
    ]
    assert "proxy_next_upstream_tries 3;" in directives
    assert "proxy_read_timeout 20s;" in directives
    assert "proxy_next_upstream_timeout 21s;" in directives


def test_its_health_is_the_guards_readiness():
    """Asked at the guards' ports each time, for longer than an answer takes, and not in the access log."""
    words = text()
    assert "server 10.0.0.11:8081 max_fails=0;" in words
    place = words.partition("location = /health {")[2].partition("}")[0]
    assert "proxy_pass http://tasker-probes/tasker/health/ready;" in place
    assert "access_log off;" in place
    assert "proxy_read_timeout 3s;" in place


def test_the_page_shows_what_the_command_prints(monkeypatch, capsys):
    """To mend: put the output of the command that stands above it into the page."""
    for name in [name for name in os.environ if name.startswith("TASKER_")]:
        monkeypatch.delenv(name)
    words = ["nginx", "--server", SERVERS[0], "--server", SERVERS[1]]
    app(words, standalone_mode=False)
    page = PAGE.read_text()
    assert f"tasker-health deploy {' '.join(words)}\n" in page
    assert f"```nginx\n{capsys.readouterr().out}```\n" in page
