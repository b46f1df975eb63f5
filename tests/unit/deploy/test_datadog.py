"""The Agent's check and its configuration: what is written from which settings; that they work, the harness shows."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from tasker_health.cli.deploy import app
from tasker_health.deploy.backend import backends_of
from tasker_health.deploy.datadog import TOKEN_FILE, render
from tasker_health.deploy.plan import plan_of
from tasker_health.errors import ConfigurationError
from tasker_health.loading import load_settings

PAGE = Path(__file__).parents[3] / "docs" / "deploy" / "datadog.md"
CHECK, CONF = "checks.d/tasker_health.py", "conf.d/tasker_health.d/conf.yaml"
TOKEN = {"TASKER_EXPORTERS__PROMETHEUS__ACCESS": "token", "TASKER_EXPORTERS__PROMETHEUS__TOKEN": "an-example"}
AUTHENTICATED = {
    "TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION": "true",
    "TASKER_AUTH__AUTHENTICATION_ENABLED": "true",
    "TASKER_AUTH__AUTHENTICATOR_CLASS": "orders.Authenticator",
}


def files(*servers, options=None, **variables):
    """Return what is rendered for *variables* of the environment."""
    settings = load_settings(None, environ=variables)
    plan = plan_of(settings)
    return render(plan, settings, backends_of(servers, plan), **(options or {}))


def instances(*servers, options=None, **variables):
    """Return the instances of the configuration, which is YAML."""
    return yaml.safe_load(files(*servers, options=options, **variables)[CONF])["instances"]


def test_each_server_is_an_instance():
    """The metrics at its port, liveness at its guard, longer than a status may take; nothing of a token."""
    one, two = instances("10.0.0.11:8080", "[::1]:9000,guard=9001", TASKER_HEALTH__STATUS_TIMEOUT_SECONDS="20")
    assert one["openmetrics_endpoint"] == "http://10.0.0.11:8080/tasker/metrics"
    assert one["live_url"] == "http://10.0.0.11:8081/tasker/health/live"
    assert two["openmetrics_endpoint"] == "http://[::1]:9000/tasker/metrics"
    assert two["live_url"] == "http://[::1]:9001/tasker/health/live"
    assert one["timeout"] == 25
    assert one["min_collection_interval"] == 30
    assert "auth_token" not in one


def test_tags_are_those_of_dogstatsd():
    """Of the settings, and the service, as Datadog takes it; a service of the settings' tags wins."""
    (instance,) = instances(TASKER_HEALTH__SERVICE_NAME="Orders", TASKER_EXPORTERS__DATADOG__TAGS="env:prod,team:a")
    assert instance["tags"] == ["env:prod", "team:a", "service:orders"]
    (instance,) = instances(TASKER_EXPORTERS__DATADOG__TAGS="service:shop")
    assert instance["tags"] == ["service:shop"]


@pytest.mark.parametrize("variables", [TOKEN, AUTHENTICATED], ids=["token", "inherit"])
def test_where_the_metrics_need_a_token_a_file_of_it_is_named(variables):
    """And the token is in none of the two."""
    (instance,) = instances(**variables)
    assert instance["auth_token"]["reader"] == {"type": "file", "path": TOKEN_FILE}
    assert instance["auth_token"]["writer"]["value"] == "Bearer <TOKEN>"
    (instance,) = instances(options={"token_file": "/run/secrets/it's"}, **variables)
    assert instance["auth_token"]["reader"]["path"] == "/run/secrets/it's"
    assert "an-example" not in "".join(files(**variables).values())


def test_tls_is_spoken_to_servers_that_do(tmp_path):
    """To the guard it is not."""
    variables = {
        "TASKER_SERVER__TLS_CERTIFICATE_FILE": str(tmp_path / "c"),
        "TASKER_SERVER__TLS_KEY_FILE": str(tmp_path / "k"),
    }
    (instance,) = instances("orders:8443", options={"ca_file": "/etc/ca.pem"}, **variables)
    assert instance["openmetrics_endpoint"].startswith("https://orders:8443/")
    assert instance["live_url"].startswith("http://orders:8081/")
    assert instance["tls_ca_cert"] == "/etc/ca.pem"


def test_the_guide_s_names_can_be_left_out():
    """The check is Python in both cases, and knows them or not."""
    for switch in ("true", "false"):
        text = files(TASKER_EXPORTERS__DATADOG__GUIDE_NAMES=switch)[CHECK]
        compile(text, CHECK, "exec")
        assert ("tasker.performance.avg_completion_time" in text) == (switch == "true")


@pytest.mark.parametrize(
    ("variables", "options", "said"),
    [
        ({"TASKER_EXPORTERS__PROMETHEUS__ENABLED": "false"}, {}, "exporters.prometheus.enabled"),
        ({}, {"token_file": "/token"}, "--token-file"),
        ({}, {"ca_file": "/ca.pem"}, "--ca-file"),
    ],
)
def test_what_contradicts_is_one_line(variables, options, said):
    """With what to change."""
    with pytest.raises(ConfigurationError) as raised:
        files(options=options, **variables)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_page_shows_what_the_command_writes(monkeypatch, tmp_path):
    """To mend: put the files that the command writes into the page."""
    for name in [name for name in os.environ if name.startswith("TASKER_")]:
        monkeypatch.delenv(name)
    words = ["datadog", "--server", "10.0.0.11:8080", "--server", "10.0.0.12:8080", "--output"]
    app([*words, str(tmp_path)], standalone_mode=False)
    page = PAGE.read_text()
    assert f"tasker-health deploy {' '.join(words)} /etc/datadog-agent\n" in page
    assert f"```yaml\n{(tmp_path / CONF).read_text()}```\n" in page
    assert (tmp_path / CHECK).is_file()
    (instance,) = instances(**TOKEN)
    shown = page.split("```yaml\n    auth_token")[1].split("```")[0]
    assert yaml.safe_load(f"auth_token{shown}".replace("\n    ", "\n"))["auth_token"] == instance["auth_token"]
