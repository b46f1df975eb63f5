"""The one table of settings: name, default, what is allowed, help.

The command's errors, `docs/settings.md` and the loader all read this table. The objects are frozen: they are
made once, at the edge, and passed in. Values that may hold a secret are `SecretStr`, which prints as stars.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from tasker_health.settings.access import AuthSettings
from tasker_health.settings.alerts import AlertSettings, PagerDutySettings, RuleSettings, WebhookSettings
from tasker_health.settings.checks import CheckSettings
from tasker_health.settings.database import CacheSettings, DatabaseSettings
from tasker_health.settings.exporters import (
    DatadogSettings,
    ExporterSettings,
    OpenTelemetrySettings,
    PrometheusSettings,
)
from tasker_health.settings.grpc import GrpcSettings
from tasker_health.settings.history import HistorySettings
from tasker_health.settings.kinds import CHECK_NAME, Count, Group, Name, Path, Port, PositiveSeconds, Ratio, Seconds
from tasker_health.settings.slo import SloSettings
from tasker_health.settings.sources import SourceSettings
from tasker_health.settings.workers import WorkerSettings

__all__ = [
    "CHECK_NAME",
    "AlertSettings",
    "AuthSettings",
    "CacheSettings",
    "CheckSettings",
    "DatabaseSettings",
    "DatadogSettings",
    "ExporterSettings",
    "GrpcSettings",
    "GuardSettings",
    "HealthSettings",
    "HistorySettings",
    "LogSettings",
    "MigrationsSettings",
    "OpenTelemetrySettings",
    "PagerDutySettings",
    "PrometheusSettings",
    "RuleSettings",
    "ServerSettings",
    "Settings",
    "SloSettings",
    "SourceSettings",
    "WebhookSettings",
    "WorkerSettings",
]


class ServerSettings(Group):
    """The standalone server."""

    host: str = Field("127.0.0.1", min_length=1, description="Address to listen on.")
    port: Port = Field(8080, description="Port to listen on; 0 takes a free one and prints it.")
    prefix: Path = Field("/tasker", description="Path under which every endpoint stands.")
    drain_seconds: Seconds = Field(
        10, description="How long requests are still answered after SIGTERM at most, before the server stops."
    )
    tls_certificate_file: str | None = Field(
        None, min_length=1, description="PEM file of the certificate and its chain, read again when it changes."
    )
    tls_key_file: str | None = Field(None, min_length=1, description="PEM file of its private key.")
    tls_key_password: SecretStr | None = Field(None, description="What opens the private key, if it is encrypted.")


class GuardSettings(Group):
    """The guard: the process that answers probes when the application cannot."""

    enabled: bool | None = Field(None, description="Start the guard; unset means yes for serve and demo.")
    host: str | None = Field(None, description="Address of the guard; unset means that of the server.")
    port: Port = Field(8081, description="Port of the guard.")
    agent_port: Port | None = Field(
        None, ge=1, description="Port on which the guard answers HAProxy's agent-check with a weight; unset: none."
    )


class HealthSettings(Group):
    """What is answered, from how old facts, and from where on it is degraded."""

    service_name: str = Field("tasker", min_length=1, description="The `service` of the liveness answer.")
    cache_duration_seconds: Seconds = Field(
        15, description="How long a status is answered from the cache; 0: no cache."
    )
    metrics_window_seconds: PositiveSeconds = Field(3600, description="Window of averages and ratios.")
    status_requires_authentication: bool = Field(False, description="Only known callers may read the status.")
    status_timeout_seconds: PositiveSeconds = Field(5, description="Longest wait for the facts of one status.")
    status_max_stale_seconds: PositiveSeconds = Field(
        60, description="Age beyond which facts make the status unhealthy."
    )
    readiness_timeout_seconds: PositiveSeconds = Field(
        0.8, description="Longest wait for a whole readiness answer; under the kubelet's own default of 1 s."
    )
    readiness_max_age_seconds: Seconds = Field(1, description="How long one readiness answer serves all askers.")
    readiness_quorum: Ratio | None = Field(
        None,
        gt=0,
        description="When a critical check fails for this share of all replicas at once, they stay ready and degraded;"
        " unset: never. Needs a shared cache.",
    )
    degraded_failure_ratio: Ratio = Field(0.05, description="Degraded above this share of failed tasks.")
    degraded_min_settled_tasks: Count = Field(20, description="Fewer settled tasks say nothing about the ratio.")
    degraded_connection_ratio: Ratio = Field(0.9, description="Degraded above this share of database connections.")
    degraded_blocked_tasks: Count = Field(1, description="Degraded from this many blocked tasks on.")
    stuck_after_seconds: PositiveSeconds = Field(
        900, description="A running task without a change for so long is stuck."
    )
    liveness_stall_seconds: Seconds = Field(30, ge=5, description="Silence that counts as wedged.")
    worker_stall_seconds: Seconds = Field(
        300, ge=5, description="A worker that takes no work for so long although some waits for it is wedged, too."
    )
    liveness_policy: Literal["all", "any"] = Field("all", description="Dead when all workers are stalled, or any.")
    heartbeat_seconds: PositiveSeconds = Field(0.25, description="Period of the heartbeat.")
    loop_lag_warning_seconds: PositiveSeconds = Field(0.5, description="Lag of the event loop that is degraded.")
    migrations_ahead: Literal["degraded", "error"] = Field(
        "degraded", description="What a database ahead of the code is."
    )


class MigrationsSettings(Group):
    """Where the code expects the schema to be."""

    kind: Literal["auto", "none", "alembic", "django", "rails", "dbos"] = Field(
        "auto",
        description="Tool that migrates the schema; auto: dbos where a dbos source is read, else none.",
    )
    location: str | None = Field(
        None,
        description="Alembic: the script directory, alembic.ini or pyproject.toml. Django: the settings module; unset:"
        " the one in force. Rails: db/migrate. DBOS: the PostgreSQL schema; unset: that of the source.",
    )
    url: SecretStr | None = Field(None, description="SQLAlchemy URL; unset: that of the source or the database.")


class LogSettings(Group):
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least severity that is written.")
    format: Literal["text", "json"] = Field("text", description="One line a record, as text or as JSON.")
    probes: bool = Field(
        False, description="Write a line for every probe answered: caller, code, time, connections, pool, cache."
    )


class Settings(Group):
    """All settings, by group."""

    server: ServerSettings = ServerSettings()
    guard: GuardSettings = GuardSettings()
    grpc: GrpcSettings = GrpcSettings()
    health: HealthSettings = HealthSettings()
    history: HistorySettings = HistorySettings()
    auth: AuthSettings = AuthSettings()
    cache: CacheSettings = CacheSettings()
    database: DatabaseSettings = DatabaseSettings()
    migrations: MigrationsSettings = MigrationsSettings()
    sources: dict[Name, SourceSettings] = Field(default_factory=dict)
    workers: WorkerSettings = WorkerSettings()
    slos: dict[Name, SloSettings] = Field(default_factory=dict)
    checks: dict[Name, CheckSettings] = Field(default_factory=dict)
    exporters: ExporterSettings = ExporterSettings()
    alerts: AlertSettings = AlertSettings()
    log: LogSettings = LogSettings()

    def guarded_by_default(self) -> Settings:
        """Return these settings with the guard enabled, unless they say otherwise."""
        if self.guard.enabled is not None:
            return self
        return self.model_copy(update={"guard": self.guard.model_copy(update={"enabled": True})})
