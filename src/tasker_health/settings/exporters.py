"""Settings of the exporters, a group for each."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr

from tasker_health.settings.kinds import Group, PositiveSeconds, Words


def _tags(value: tuple[str, ...]) -> tuple[str, ...]:
    bad = next(
        (tag for tag in value if not tag.isprintable() or "|" in tag or " " in tag or len(tag) > _LONGEST_TAG), None
    )
    if bad is not None:
        raise ValueError("tags such as env:production, without spaces and |, at most 200 characters each")
    return value


_LONGEST_TAG = 200
"""Datadog cuts what is longer (its documentation, "Getting started with tags")."""

_Tags = Annotated[Words, AfterValidator(_tags)]


class PrometheusSettings(Group):
    """Metrics for Prometheus, at `/metrics` under the prefix."""

    enabled: bool | None = Field(None, description="Serve them; unset means where prometheus-client is installed.")
    access: Literal["inherit", "open", "token"] = Field(
        "inherit", description="Who may read them: as for the status, everybody, or who has the token."
    )
    token: SecretStr | None = Field(None, description="The bearer token, needed where access is token.")
    guide_names: bool = Field(True, description="Tell them under the guide's names as well.")


class DatadogSettings(Group):
    """Metrics and service checks for a Datadog Agent, by DogStatsD."""

    enabled: bool = Field(False, description="Send them.")
    address: str = Field(
        "127.0.0.1:8125", min_length=1, description="host:port (UDP), or unix:///path of the Agent's socket."
    )
    interval_seconds: PositiveSeconds = Field(30, description="Period of sending.")
    tags: _Tags = Field((), description="Tags of everything that is sent, such as env:production,team:orders.")
    guide_names: bool = Field(True, description="Send them under the guide's names as well.")


class OpenTelemetrySettings(Group):
    """The same instruments by OpenTelemetry."""

    enabled: bool = Field(False, description="Tell them, and write trace ids into the log.")
    endpoint: str | None = Field(
        None,
        min_length=1,
        description="OTLP over HTTP, such as http://collector:4318/v1/metrics; unset: the meter provider of the"
        " application, or what OTEL_EXPORTER_OTLP_ENDPOINT says.",
    )
    headers: dict[str, SecretStr] = Field({}, description="Sent along, by the name of the header.")
    interval_seconds: PositiveSeconds = Field(60, description="Period of sending.")
    timeout_seconds: PositiveSeconds = Field(10, description="Longest wait for the endpoint.")
    resource_attributes: dict[str, str] = Field(
        {}, description="Told of this process beside service.name, service.version and service.instance.id."
    )


class ExporterSettings(Group):
    """Exporters by name."""

    prometheus: PrometheusSettings = Field(PrometheusSettings(), description="Metrics for Prometheus.")
    datadog: DatadogSettings = Field(DatadogSettings(), description="Metrics for Datadog.")
    opentelemetry: OpenTelemetrySettings = Field(OpenTelemetrySettings(), description="Metrics by OpenTelemetry.")
