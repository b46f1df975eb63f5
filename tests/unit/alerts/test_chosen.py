"""Which channels the settings ask for, and what is said of those that cannot be."""

from __future__ import annotations

import sys

import pytest
from pydantic import ValidationError

import canary
from fakes import settings_of
from tasker_health.alerts.channels.chosen import chosen_channels
from tasker_health.errors import SettingsError


def alerts_of(**alerts):
    """Return settings with *alerts*."""
    return settings_of(alerts=alerts)


def hook(**values):
    """Return the settings of a signed webhook."""
    return {"url": "https://hooks.example/", "signing_key": canary.secret("signing"), **values}


def test_the_channels_of_the_settings():
    """PagerDuty where there is a key, then the webhooks by their names, in the order of the settings."""
    settings = alerts_of(
        pagerduty={"routing_key": canary.secret("routing")},
        webhooks={"ops": hook(), "chat": {"kind": "slack", "url": f"https://hooks.example/{canary.secret('chat')}"}},
    )
    assert [each.name for each in chosen_channels(settings)] == ["pagerduty", "ops", "chat"]
    assert chosen_channels(alerts_of()) == []


@pytest.mark.parametrize(
    ("module", "library", "extra", "alerts"),
    [
        ("pagerduty", "pagerduty", "pagerduty", {"pagerduty": {"routing_key": "k" * 32}}),
        ("endpoint", "httpx", "webhook", {"webhooks": {"ops": hook()}}),
    ],
)
def test_a_library_that_is_missing(monkeypatch, module, library, extra, alerts):
    """One line says which extra to install."""
    for name in (module, "cut_transport", "webhook", "slack"):
        monkeypatch.delitem(sys.modules, f"tasker_health.alerts.channels.{name}", raising=False)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SettingsError, match=rf"{library} is not installed; pip install 'tasker-health\[{extra}\]'"):
        chosen_channels(alerts_of(**alerts))


@pytest.mark.parametrize(
    "alerts",
    [{"pagerduty": {"routing_key": "k" * 32, "ca_file": "/none"}}, {"webhooks": {"ops": hook(ca_file="/none")}}],
)
def test_certificates_that_cannot_be_read(alerts):
    """One line names the setting and the file."""
    with pytest.raises(SettingsError, match=r"^alerts\.\S+\.ca_file = '/none': name a PEM file of certificates"):
        chosen_channels(alerts_of(**alerts))


@pytest.mark.parametrize("name", ["pagerduty", "datadog", "opentelemetry"])
def test_a_name_that_is_taken(name):
    """Two under one name would have one queue: what one of them takes, the other one would never get."""
    with pytest.raises(ValidationError, match=rf"webhooks\.{name}: this name is taken"):
        alerts_of(webhooks={name: hook()})


@pytest.mark.parametrize("key", ["", "whsec_"])
def test_a_key_that_is_none(key):
    """A variable that is not set leaves nothing: with that, everybody could sign."""
    with pytest.raises(ValidationError, match="everybody can sign"):
        alerts_of(webhooks={"ops": hook(signing_key=key)})


@pytest.mark.parametrize(
    "rest", ["", "/path", "hooks.example:99999/", "hooks.example:0/", "hooks example/", "h/\n", "[::/"]
)
def test_an_address_that_is_none(rest):
    """It is said at the start, not when somebody is to be told, and does not show the address."""
    with pytest.raises(ValidationError, match="a URL that begins with") as raised:
        alerts_of(webhooks={"ops": hook(url=f"https://{rest}")})
    assert "example" not in str(raised.value)


def test_a_key_that_cannot_be_sent():
    """A line end that a file of secrets left at the end of the key is told before anybody is to be paged."""
    with pytest.raises(SettingsError, match=r"routing_key = '\*\*\*': allowed: printable ASCII"):
        chosen_channels(alerts_of(pagerduty={"routing_key": "k" * 32 + "\n"}))
