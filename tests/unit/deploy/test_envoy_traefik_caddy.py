"""Envoy, Traefik and Caddy: what is rendered holds the plan's figures, and the pages show what the commands print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from server import missing_part
from tasker_health.cli.deploy import app
from tasker_health.deploy import caddy, envoy, traefik
from tasker_health.deploy.backend import backends_of
from tasker_health.deploy.plan import plan_of
from tasker_health.deploy.proxy import Proxy
from tasker_health.errors import ConfigurationError
from tasker_health.loading import load_settings

PAGES = Path(__file__).parents[3] / "docs" / "deploy"
SERVERS = ["10.0.0.11:8080", "10.0.0.12:8080"]
PROBERS = {"envoy": envoy.ENVOY, "traefik": traefik.TRAEFIK, "caddy": caddy.CADDY}
ROOMS = {"envoy": envoy, "traefik": traefik, "caddy": caddy}
OTHERS = [
    (["localhost:8080", "[::1]:8080"], Proxy("[::1]:8000", 2.5), {"TASKER_SERVER__PREFIX": ""}),
    ([], Proxy("127.0.0.1:8000"), {"TASKER_GUARD__ENABLED": "false", "TASKER_HEALTH__SERVICE_NAME": "Orders & Co"}),
]


def files(name, servers=SERVERS, proxy=None, **variables):
    """Return what is rendered for *variables* of the environment."""
    plan = plan_of(load_settings(None, environ=variables), readiness=PROBERS[name])
    return ROOMS[name].render(plan, backends_of(servers, plan), proxy or Proxy())


def run(folder, *words):
    """Run a program of this environment in *folder*."""
    program = Path(sys.executable).parent / words[0]
    if not program.exists():
        missing_part(f"{words[0]} is not here: the group of dependencies that deployment is tried on")
    own = {**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    done = subprocess.run(
        [program, *words[1:]], cwd=folder, env=own, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize(("servers", "proxy", "variables"), [(SERVERS, None, {}), *OTHERS])
def test_envoy_takes_it(tmp_path, servers, proxy, variables):
    """Without a warning of its own configuration."""
    (tmp_path / "envoy.yaml").write_text(*files("envoy", servers, proxy, **variables).values())
    told = run(tmp_path, "envoy", "--mode", "validate", "--log-level", "warning", "-c", "envoy.yaml")
    assert "deprecated" not in told.lower()


@pytest.mark.parametrize(("servers", "proxy", "variables"), [(SERVERS, None, {}), *OTHERS])
def test_caddy_takes_it(tmp_path, servers, proxy, variables):
    """And would not write it otherwise."""
    (tmp_path / "Caddyfile").write_text(*files("caddy", servers, proxy, **variables).values())
    run(tmp_path, "caddy", "validate", "--adapter", "caddyfile", "--config", "Caddyfile")
    run(tmp_path, "caddy", "fmt", "--diff", "Caddyfile")


@pytest.mark.parametrize(("servers", "proxy", "variables"), [(SERVERS, None, {}), *OTHERS])
def test_traefik_is_given_yaml(servers, proxy, variables):
    """Of one service under its own name; `tests/e2e/test_deploy_balancers.py` starts it."""
    rendered = {name: yaml.safe_load(text) for name, text in files("traefik", servers, proxy, **variables).items()}
    dynamic = next(each["http"] for name, each in rendered.items() if name != "traefik.yaml")
    (service,) = dynamic["services"]
    assert f"{service}.yaml" in rendered
    assert rendered["traefik.yaml"]["providers"]["file"]["filename"] == f"/etc/traefik/{service}.yaml"
    assert {router["service"] for router in dynamic["routers"].values()} == {service}


@pytest.mark.parametrize("name", ROOMS)
def test_the_guard_is_asked_for_longer_than_an_answer_takes(name):
    """Every 2 s for 1.5 s, at `guard.port`; a drain is longer than it takes to be out."""
    text = "\n".join(files(name).values())
    assert "/tasker/health/ready" in text
    assert "8081" in text
    assert "1.5s" in text or "1500ms" in text
    plan = plan_of(load_settings(None, environ={}), readiness=PROBERS[name])
    assert plan.readiness_timeout_seconds < plan.readiness.timeout_seconds
    assert plan.readiness.seconds_until_out < load_settings(None, environ={}).server.drain_seconds


def test_envoy_asks_each_guard_at_its_own_port():
    """The others have one port for all, and say so."""
    servers = ["10.0.0.11:8080,guard=9001", "10.0.0.11:8090,guard=9002"]
    made = yaml.safe_load(*files("envoy", servers).values())
    (cluster,) = made["static_resources"]["clusters"]
    endpoints = [each["endpoint"] for each in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]]
    assert [each["health_check_config"]["port_value"] for each in endpoints] == [9001, 9002]
    for name in ("traefik", "caddy"):
        with pytest.raises(ConfigurationError, match=r"9001, 9002; .* asks all servers at one port"):
            files(name, servers)


def test_a_name_that_is_a_word_of_yaml_stays_a_name(tmp_path):
    """`null` and `on` are text where they name something, and Envoy takes them."""
    for name in ("null", "on"):
        ((_, dynamic),) = [
            (file, yaml.safe_load(text)["http"])
            for file, text in files("traefik", TASKER_HEALTH__SERVICE_NAME=name).items()
            if file != "traefik.yaml"
        ]
        assert list(dynamic["services"]) == [name]
        assert {each["service"] for each in dynamic["routers"].values()} == {name}
        assert dynamic["routers"][name]["entryPoints"] == [name]
    (tmp_path / "envoy.yaml").write_text(*files("envoy", TASKER_HEALTH__SERVICE_NAME="null").values())
    run(tmp_path, "envoy", "--mode", "validate", "--log-level", "warning", "-c", "envoy.yaml")


def test_envoy_takes_seconds_of_many_digits(tmp_path):
    """It reads nine of them at most; a request needs no more than milliseconds."""
    (tmp_path / "envoy.yaml").write_text(*files("envoy", proxy=Proxy("80", 1.12345678901234)).values())
    run(tmp_path, "envoy", "--mode", "validate", "--log-level", "warning", "-c", "envoy.yaml")


def test_a_service_is_not_called_traefik():
    """Both of its files would be one, and Traefik has an entry point of that name."""
    with pytest.raises(ConfigurationError, match=r"health\.service_name = 'traefik': another name"):
        files("traefik", TASKER_HEALTH__SERVICE_NAME="Traefik")


@pytest.mark.parametrize(
    ("prefix", "path"), [("/a.b/c", "/a.b/c/metrics"), ("/tasker", "/tasker/health/status"), ("", "/health/status")]
)
def test_traefik_hides_a_path_whose_slashes_are_encoded(prefix, path):
    """It leaves `%2F` as it is, and the server behind it does not."""
    dynamic = yaml.safe_load(files("traefik", TASKER_SERVER__PREFIX=prefix)["tasker.yaml"])["http"]
    patterns = re.findall(r"!PathRegexp\(`([^`]+)`\)", dynamic["routers"]["tasker"]["rule"])
    for slash in ("/", "%2F", "%2f"):
        assert any(re.search(each, "/" + path[1:].replace("/", slash)) for each in patterns)
    assert not any(re.search(each, "/taskers/a") or re.search(each, "/aXb/c/metrics") for each in patterns)


@pytest.mark.parametrize("name", ROOMS)
def test_what_is_wrong_is_refused_in_one_line(name, tmp_path):
    """And nothing is written."""
    for words in (["--server", "10.0.0.11"], ["--listen", "x"], ["--server", SERVERS[0], "--server", SERVERS[0]]):
        with pytest.raises(ConfigurationError) as told:
            app([name, *words, "--output", str(tmp_path / "out")], standalone_mode=False)
        assert "\n" not in str(told.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ROOMS)
def test_the_page_shows_what_the_command_prints(name, monkeypatch, tmp_path):
    """To mend: put what the command that stands above it writes into the page."""
    for each in [each for each in os.environ if each.startswith("TASKER_")]:
        monkeypatch.delenv(each)
    words = [name, "--server", SERVERS[0], "--server", SERVERS[1], "--output", name]
    monkeypatch.chdir(tmp_path)
    app(words, standalone_mode=False)
    page = (PAGES / f"{name}.md").read_text()
    assert f"tasker-health deploy {' '.join(words)}\n" in page
    for file in (tmp_path / name).iterdir():
        assert f"\n{file.read_text()}```\n" in page
