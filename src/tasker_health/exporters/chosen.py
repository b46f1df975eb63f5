"""The exporters that the settings ask for. A client library is imported only when it is needed."""

from __future__ import annotations

import logging
import os
import re

from tasker_health.errors import SettingsError
from tasker_health.exporters import PullExporter, PushExporter
from tasker_health.settings import DatadogSettings, PrometheusSettings, Settings

log = logging.getLogger(__name__)


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
    if settings.exporters.datadog.enabled and not _is_disabled_for_datadog():
        exporters.append(_datadog(settings.exporters.datadog))
    if settings.exporters.opentelemetry.enabled and not _is_disabled_for_opentelemetry():
        exporters.append(_opentelemetry(settings))
    return exporters


def _is_disabled_for_datadog() -> bool:
    """Whether the environment forbids what the settings ask for: the client would send nothing and say nothing."""
    disabled = os.environ.get("DD_DOGSTATSD_DISABLE") in {"True", "true", "yes", "1"}  # as the client reads it
    if disabled:
        log.warning("exporters.datadog: nothing is sent, as DD_DOGSTATSD_DISABLE is set")
    return disabled


def _is_disabled_for_opentelemetry() -> bool:
    """Whether the environment forbids it (OpenTelemetry's specification, "Environment Variable Specification")."""
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    if disabled:
        log.warning("exporters.opentelemetry: nothing is told, as OTEL_SDK_DISABLED is set")
    return disabled


def _opentelemetry(settings: Settings) -> PushExporter:
    try:
        from tasker_health.exporters.opentelemetry import OpenTelemetryExporter
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"opentelemetry", "requests"}:
            raise
        remedy = "the SDK is not installed; pip install 'tasker-health[opentelemetry]'"
        raise SettingsError("exporters.opentelemetry.enabled", "true", remedy) from None
    return OpenTelemetryExporter(settings.exporters.opentelemetry, settings.health.service_name)


def _datadog(wanted: DatadogSettings) -> PushExporter:
    try:
        from tasker_health.exporters.datadog import DatadogExporter
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "datadog":
            raise
        remedy = "datadog is not installed; pip install 'tasker-health[datadog]'"
        raise SettingsError("exporters.datadog.enabled", "true", remedy) from None
    return DatadogExporter(wanted)


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
