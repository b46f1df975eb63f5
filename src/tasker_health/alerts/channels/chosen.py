"""The channels that the settings ask for. A client library is imported only when it is needed."""

from __future__ import annotations

import ssl

from tasker_health.alerts import Channel
from tasker_health.clock import SystemClock
from tasker_health.errors import SettingsError
from tasker_health.settings import Settings
from tasker_health.settings.alerts import WebhookSettings


def chosen_channels(settings: Settings) -> list[Channel]:
    """Return who is told of alerts, in the order of the settings.

    Raises:
        ConfigurationError: A client library is not installed, or a file of certificates cannot be read.
    """
    wanted = settings.alerts
    channels: list[Channel] = []
    if wanted.pagerduty.routing_key is not None:
        channels.append(_pagerduty(settings, wanted.pagerduty.routing_key.get_secret_value()))
    return [*channels, *(_webhook(settings, name, webhook) for name, webhook in wanted.webhooks.items())]


def _pagerduty(settings: Settings, routing_key: str) -> Channel:
    wanted = settings.alerts.pagerduty
    try:
        from tasker_health.alerts.channels.pagerduty import KEY, PagerDutyChannel
    except ModuleNotFoundError as error:
        raise _missing(error, "alerts.pagerduty.routing_key", "'***'", "pagerduty", "httpx2") from None
    _require_sendable(KEY, routing_key)
    tls = tls_of("alerts.pagerduty", wanted.ca_file)
    return PagerDutyChannel(routing_key, wanted.url, tls, settings.alerts.timeout_seconds)


def _webhook(settings: Settings, name: str, wanted: WebhookSettings) -> Channel:
    key = f"alerts.webhooks.{name}"
    try:
        from tasker_health.alerts.channels.endpoint import Endpoint
        from tasker_health.alerts.channels.slack import SlackChannel
        from tasker_health.alerts.channels.webhook import WebhookChannel
    except ModuleNotFoundError as error:
        raise _missing(error, f"{key}.url", "'***'", "webhook", "httpx") from None
    url = wanted.url.get_secret_value()
    tls = tls_of(key, wanted.ca_file)
    endpoint = Endpoint(url, f"{key}.url", tls, settings.alerts.timeout_seconds)
    if wanted.signing_key is None:
        return SlackChannel(name, endpoint)
    return WebhookChannel(name, endpoint, wanted.signing_key.get_secret_value(), SystemClock())


def _missing(error: ModuleNotFoundError, key: str, value: str, extra: str, library: str) -> Exception:
    """Return what to say of a library that is not there; *error* itself where it is another one."""
    if (error.name or "").partition(".")[0] not in {extra, library, "httpcore"}:  # that comes with httpx
        return error
    return SettingsError(key, value, f"{error.name} is not installed; pip install 'tasker-health[{extra}]'")


def _require_sendable(key: str, value: str) -> None:
    if not (value.isascii() and value.isprintable() and value.strip() == value and value):
        raise SettingsError(key, "'***'", "allowed: printable ASCII without spaces around it")


def tls_of(key: str, ca_file: str | None) -> ssl.SSLContext:
    """Return how certificates are verified: by those in *ca_file*; without one by those that the machine trusts.

    Raises:
        SettingsError: The file of the settings *key* cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError):
        remedy = "name a PEM file of certificates that can be read"
        raise SettingsError(f"{key}.ca_file", repr(ca_file), remedy) from None
