"""Settings of the exporters, a group for each."""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from tasker_health.settings.kinds import Group, PositiveSeconds, Words


def _tags(value: tuple[str, ...]) -> tuple[str, ...]:
    if not all(map(_TAG.fullmatch, value)) or sum(map(len, value)) > _MOST_OF_TAGS:
        raise ValueError(
            "tags such as env:production, each a letter and then letters, digits and _ - : . /, at most 200 characters;"
            f" all of them at most {_MOST_OF_TAGS}"
        )
    return value


_TAG = re.compile(r"[^\W\d_](?:[\w:./-]{0,198}[\w./-])?")
"""Datadog's rules (its documentation, "Getting started with tags"); what is longer would be cut."""

_MOST_OF_TAGS = 1000
"""Characters of all tags, which every line has: the Agent reads no datagram of more than 8192 bytes."""

_Tags = Annotated[Words, AfterValidator(_tags)]

_SOCKET = re.compile(r"unix(?:gram|stream)?://(/[^\0]{1,106})")
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+):([0-9]{1,5})")
_LAST_PORT = 65535


class DatadogTarget(NamedTuple):
    """Where a Datadog Agent listens: at host and port, or at a socket."""

    host: str | None = None
    port: int | None = None
    socket_path: str | None = None


def _target(address: str) -> DatadogTarget:
    if _SOCKET.fullmatch(address):
        return DatadogTarget(socket_path=address)
    found = _HOST_AND_PORT.fullmatch(address)
    if found is None or not 0 < int(found[2]) <= _LAST_PORT:
        raise ValueError("host:port, such as 127.0.0.1:8125, or unix:// and the path of a socket, at most 107 long")
    return DatadogTarget(found[1].strip("[]"), int(found[2]))


def _address(value: str) -> str:
    _target(value)
    return value


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
    address: Annotated[str, AfterValidator(_address)] = Field(
        "127.0.0.1:8125",
        description="host:port (UDP), or unix:///path of the Agent's socket. It goes before DD_AGENT_HOST.",
    )
    interval_seconds: PositiveSeconds = Field(30, description="Period of sending.")
    tags: _Tags = Field((), description="Tags of everything that is sent, such as env:production,team:orders.")
    guide_names: bool = Field(True, description="Send them under the guide's names as well.")

    @property
    def target(self) -> DatadogTarget:
        """What the address says."""
        return _target(self.address)


def _http_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not _PRINTABLE.fullmatch(value):
        raise ValueError("a URL such as http://collector:4318/v1/metrics")
    if parts.username is not None or parts.password is not None:
        raise ValueError("a URL without a user and a password; credentials belong into headers")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("a URL whose port is at most 65535") from None
    return value


def _sendable(value: dict[str, SecretStr]) -> dict[str, SecretStr]:
    if not all(_HEADER_NAME.fullmatch(name) for name in value):
        raise ValueError("names of headers, such as authorization")
    if not all(_HEADER_VALUE.fullmatch(each.get_secret_value()) for each in value.values()):
        raise ValueError("values of printable ASCII")
    return {name.replace("_", "-"): each for name, each in value.items()}  # a variable cannot have the latter


_PRINTABLE = re.compile(r"[!-~]+")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token (RFC 9110, 5.6.2)
_HEADER_VALUE = re.compile(r"[!-~]+( +[!-~]+)*")


class OpenTelemetrySettings(Group):
    """The same instruments by OpenTelemetry."""

    enabled: bool = Field(False, description="Tell them.")
    endpoint: Annotated[str, AfterValidator(_http_url)] | None = Field(
        None,
        description="OTLP over HTTP, such as http://collector:4318/v1/metrics; unset: the meter provider of the"
        " application, or what OTEL_EXPORTER_OTLP_ENDPOINT says.",
    )
    headers: Annotated[dict[str, SecretStr], AfterValidator(_sendable)] = Field(
        {}, description="Sent along, by the name of the header; _ stands for -."
    )
    interval_seconds: PositiveSeconds = Field(60, description="Period of sending.")
    timeout_seconds: PositiveSeconds = Field(
        10, description="Longest wait for the endpoint; at most 9 s, and nine tenths of the period."
    )
    resource_attributes: dict[str, str] = Field(
        {}, description="Told of this process beside service.name and service.instance.id, or in their place."
    )


class ExporterSettings(Group):
    """Exporters by name."""

    prometheus: PrometheusSettings = Field(PrometheusSettings(), description="Metrics for Prometheus.")
    datadog: DatadogSettings = Field(DatadogSettings(), description="Metrics for Datadog.")
    opentelemetry: OpenTelemetrySettings = Field(OpenTelemetrySettings(), description="Metrics by OpenTelemetry.")
