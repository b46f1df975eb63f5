"""compose.yaml and what it mounts: its figures agree, nothing in it is secret or root's, and Compose understands it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import canary
from command import run
from fakes import settings_of
from server import missing_part
from tasker_health.deploy.compose import AROUND, render
from tasker_health.deploy.docker import DOCKER
from tasker_health.deploy.plan import plan_of
from tasker_health.errors import ConfigurationError, SettingsError

PAGE = Path(__file__).parents[3] / "docs" / "deploy" / "compose.md"
EVERYTHING = {
    "server": {"tls_certificate_file": "/tls.crt", "tls_key_file": "/tls.key", "drain_seconds": 50},
    "guard": {"enabled": False},
    "health": {"service_name": "the $1 orders", "status_timeout_seconds": 40, "status_requires_authentication": True},
    "auth": {"authentication_enabled": True, "authenticator_class": "tokens"},
}


def files_of(**groups):
    """Return the files for these groups of settings."""
    settings = settings_of(**groups)
    return render(plan_of(settings, liveness=DOCKER), settings)


def composed(**groups):
    """Return compose.yaml as YAML has it."""
    return yaml.safe_load(files_of(**groups)["compose.yaml"])


@pytest.mark.parametrize("groups", [{}, EVERYTHING])
def test_compose_understands_it(groups, tmp_path):
    """`docker-compose config` checks names, types and what refers to what."""
    if shutil.which("docker-compose") is None:
        missing_part("docker-compose is not here: apt-get install docker-compose")
    files = files_of(**groups)
    assert _verdict(tmp_path, files["compose.yaml"]) == (0, "")
    broken = files["compose.yaml"].replace("valkey: {condition", "memcached: {condition")
    code, words = _verdict(tmp_path, broken)
    assert (code, "memcached" in words) == (1, True)


def _verdict(folder, text):
    (folder / "compose.yaml").write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_IMAGE")}
    done = subprocess.run(
        ["docker-compose", "config", "--quiet"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("groups", [{}, EVERYTHING])
def test_what_it_names_is_there(groups):
    """Every secret, volume and network that is used is declared and every one declared is used; no file is missing."""
    files = files_of(**groups)
    document = yaml.safe_load(files["compose.yaml"])
    services = document["services"].values()
    for kind in ("secrets", "networks"):
        assert {name for service in services for name in service.get(kind, ())} == set(document[kind])
    sources = {volume.split(":")[0] for service in services for volume in service.get("volumes", ())}
    assert {source for source in sources if not source.startswith(".")} == set(document["volumes"])
    for source in sources - set(document["volumes"]):
        assert any(f"./{name}".startswith(source) for name in files), source
    for service in services:
        secrets = {f"/run/secrets/{name}" for name in service.get("secrets", ())}
        assert {value for value in service.get("environment", {}).values() if "/run/secrets/" in value} <= secrets
        assert set(service.get("depends_on", ())) <= set(document["services"])


def test_everybody_is_confined_and_looked_after():
    """Nothing is writable but what is named, nobody is privileged, each has a health check and a stated image."""
    for name, service in composed()["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "/tmp" in service["tmpfs"]
        assert service["healthcheck"]["test"][0] == "CMD"
        assert service["image"].startswith("${")
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))


def test_the_figures_of_the_service_are_the_plans():
    """It is told its ports, asked there, and waited for until its drain is over."""
    service = composed(server={"port": 9080, "drain_seconds": 40}, guard={"port": 9081})["services"]["tasker"]
    assert service["environment"]["TASKER_SERVER__PORT"] == "9080"
    assert service["environment"]["TASKER_SERVER__DRAIN_SECONDS"] == "40"
    assert service["healthcheck"] == {
        "test": ["CMD", "tasker-health", "probe", "--container", "http://127.0.0.1:9081/tasker/health/live"],
        "interval": "30s",
        "timeout": "3s",
        "start_period": "5s",
        "retries": 3,
    }
    assert service["stop_grace_period"] == "50s"
    assert service["ports"] == ["127.0.0.1:9080:9080"]
    scrape = yaml.safe_load(files_of(server={"port": 9080})["prometheus/prometheus.yml"])["scrape_configs"][0]
    assert (scrape["metrics_path"], scrape["static_configs"]) == ("/tasker/metrics", [{"targets": ["tasker:9080"]}])


def test_databases_are_reached_by_the_service_alone():
    """Their network leads nowhere else, and no port of theirs is published."""
    document = composed()
    assert document["networks"]["data"] == {"internal": True}
    for name in ("postgres", "valkey"):
        assert document["services"][name]["networks"] == ["data"]
        assert "ports" not in document["services"][name]


@pytest.mark.parametrize(
    ("groups", "secret"),
    [
        ({}, None),
        (
            {
                "exporters": {"prometheus": {"access": "open"}},
                "health": EVERYTHING["health"],
                "auth": EVERYTHING["auth"],
            },
            None,
        ),
        ({"health": {"status_requires_authentication": True}, "auth": EVERYTHING["auth"]}, "metrics_token"),
        ({"exporters": {"prometheus": {"access": "token", "token": "KEPT"}}}, "exporters_prometheus_token"),
    ],
)
def test_prometheus_says_who_it_is_where_it_is_asked(groups, secret):
    """By a token from a file, which both read where it is the metrics' own."""
    kept = canary.secret("metrics")
    if secret == "exporters_prometheus_token":
        groups = {"exporters": {"prometheus": {"access": "token", "token": kept}}}
    files = files_of(**groups)
    scrape = yaml.safe_load(files["prometheus/prometheus.yml"])["scrape_configs"][0]
    assert scrape.get("authorization") == (secret and {"credentials_file": f"/run/secrets/{secret}"})
    services = yaml.safe_load(files["compose.yaml"])["services"]
    assert services["prometheus"].get("secrets") == (secret and [secret])
    assert kept not in "".join(files.values())


def test_its_own_cache_and_database_stand_for_those_of_the_settings():
    """The cache is that of this file; the URLs of the settings are not in it."""
    url = canary.secret("url")
    text = files_of(database={"url": f"postgresql://{url}@db/x"}, cache={"url": f"redis://{url}@r"})["compose.yaml"]
    environment = next(iter(yaml.safe_load(text)["services"].values()))["environment"]
    assert environment["TASKER_CACHE__URL"] == "valkey://valkey:6379/0"
    assert environment["TASKER_DATABASE__URL_FILE"] == "/run/secrets/database_url"
    assert "TASKER_CACHE__URL_FILE" not in environment  # two of one setting are refused at the start
    assert url not in text


def test_a_dollar_is_no_variable_of_compose():
    """It is doubled, as Compose wants it."""
    assert '"the $$1 orders"' in files_of(**EVERYTHING)["compose.yaml"]


@pytest.mark.parametrize("name", AROUND)
def test_the_service_is_not_called_as_another_one(name):
    """Two services of one name would be one."""
    with pytest.raises(SettingsError, match=r"health\.service_name.*another name"):
        files_of(health={"service_name": name})


@pytest.mark.parametrize("name", ["null", "on"])
def test_a_name_that_is_a_word_of_yaml_stays_a_name(name):
    """For Compose and for Prometheus."""
    files = files_of(health={"service_name": name})
    services = yaml.safe_load(files["compose.yaml"])["services"]
    assert name in services
    assert list(services["prometheus"]["depends_on"]) == [name]
    assert yaml.safe_load(files["prometheus/prometheus.yml"])["scrape_configs"][0]["job_name"] == name


def test_two_secrets_are_not_one_file():
    """The header `url` of one check and the URL of another one: each would be sent to the other's server."""
    url = canary.secret("url")
    checks = {
        "a": {"kind": "http", "url": f"https://{url}", "headers": {"url": url}},
        "a_headers": {"kind": "http", "url": f"https://{url}"},
    }
    with pytest.raises(ConfigurationError, match="secrets/checks_a_headers_url: the file of two settings"):
        files_of(checks=checks)


def test_the_page_shows_what_the_command_writes(tmp_path):
    """For the default settings: its own files as they are, and the names of those that `deploy prometheus` writes."""
    done = run("deploy", "compose", "--output", str(tmp_path / "here"), TASKER_GUARD__PORT="8081")
    assert done.returncode == 0, done.stderr
    written = {str(path.relative_to(tmp_path / "here")) for path in (tmp_path / "here").rglob("*") if path.is_file()}
    files = files_of()
    assert written == set(files)
    for name, text in files.items():
        assert (tmp_path / "here" / name).read_text() == text
        shown = f"\n{text}```\n" if name in {"compose.yaml", "prometheus/prometheus.yml"} else f"`{name}`"
        assert shown in PAGE.read_text(), name
