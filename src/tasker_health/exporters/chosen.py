"""The exporters that the settings ask for. A client library is imported only when it is needed."""

from __future__ import annotations

import re

from tasker_health.errors import SettingsError
from tasker_health.exporters import PullExporter, PushExporter
from tasker_health.settings import PrometheusSettings, Settings


def metrics_exporter(settings: Settings) -> PullExporter | None:
    """Return what renders the metrics, or `None` where there are none to be.

    Raises:
        ConfigurationError: The token is missing, or meant for nothing; or prometheus-client is not installed.
    """
    wanted = settings.exporters.prometheus
    if wanted.enabled is False:
        return None
    _require_token_of_use(wanted)
    try:
        from tasker_health.exporters.prometheus import PrometheusExporter
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("prometheus_client"):
            raise
        if wanted.enabled is None:
            return None
        remedy = "prometheus-client is not installed; pip install 'tasker-health[prometheus]'"
        raise SettingsError("exporters.prometheus.enabled", "true", remedy) from None
    return PrometheusExporter(wanted)


def push_exporters(settings: Settings) -> list[PushExporter]:
    """Return what tells monitoring systems unasked, in the order of the settings.

    Raises:
        ConfigurationError: A client library is not installed, or an address is none.
    """
    exporters: list[PushExporter] = []
    return [*exporters] if settings else []


def _require_token_of_use(wanted: PrometheusSettings) -> None:
    """Refuse metrics that look as if a token protected them, and those that no token could open."""
    key, token = "exporters.prometheus.token", wanted.token
    if wanted.access != "token":
        if token is not None:
            raise SettingsError(key, "'***'", "it protects nothing; set exporters.prometheus.access to token")
        return
    if token is None:
        raise SettingsError(key, "not set", "set it, or choose another exporters.prometheus.access")
    if not re.fullmatch(r"[!-~]+", token.get_secret_value()):
        raise SettingsError(key, "'***'", "allowed: printable ASCII without spaces")
