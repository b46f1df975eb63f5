"""What watches the service: Prometheus with rules and alerts, Alertmanager's routes, and Grafana's dashboard."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from tasker_health.deploy import Files
from tasker_health.deploy.dashboard import dashboard
from tasker_health.deploy.plan import Plan
from tasker_health.deploy.rendering import render as rendered
from tasker_health.deploy.rules import windows_of
from tasker_health.deploy.rules.chosen import alert_rules
from tasker_health.deploy.rules_trial import trial_of
from tasker_health.errors import ConfigurationError, SettingsError
from tasker_health.settings import HealthSettings, Settings

INTERVAL_SECONDS = 15
"""From one scrape to the next, and from one look at the rules to the next."""

FILES = (
    "prometheus/prometheus.yml",
    "prometheus/rules.yml",
    "prometheus/rules_test.yml",
    "alertmanager/alertmanager.yml",
    "grafana/datasources.yml",
    "grafana/dashboards.yml",
)
DASHBOARD = "grafana/dashboard.json"

RUNBOOKS = "docs/monitoring.md"
"""The page of this project that says what to do, where nobody says where it is published."""

BY = "namespace, job"
"""What tells one fleet from another; outside of Kubernetes there is no namespace, which does no harm."""

_LONGEST_INTERVAL_SECONDS = 3600
_LONGEST_FOR_SECONDS = 86_400
_JOB = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:-]{0,199}")
_PAGE = re.compile(r"(https?://|[A-Za-z0-9./])[!#-&(-;=?-\[\]-z~]*")
"""A URL, or the path of a page; a scheme that a browser would run is none."""


@dataclass(frozen=True)
class Watch:
    """How the service is watched.

    Attributes:
        job: Label `job` of its series: what its scrapes are named for.
        targets: Where it is scraped, `HOST:PORT`.
        alertmanager: Where Alertmanager is, `HOST:PORT`.
        prometheus: Where Grafana finds Prometheus, `HOST:PORT`.
        interval_seconds: From one scrape to the next.
        for_seconds: So long every alert holds before anybody is told; `None`: as long as is fit for each.
        timeout_seconds: How long a scrape should wait.
        is_hurried: Whether the interval was asked for, so that a scrape waits no longer than that.
        credentials_file: File with the bearer token that Prometheus sends.
        trusts_anybody: Whether it looks at the certificate of a target that has another name.
        runbooks: URL of the page that says what to do.
    """

    job: str
    targets: tuple[str, ...]
    alertmanager: str = "127.0.0.1:9093"
    prometheus: str = "127.0.0.1:9090"
    interval_seconds: int = INTERVAL_SECONDS
    for_seconds: int | None = None
    timeout_seconds: int = 10
    is_hurried: bool = False
    credentials_file: str | None = None
    trusts_anybody: bool = False
    runbooks: str = RUNBOOKS

    @property
    def interval(self) -> str:
        """Its interval, as Prometheus reads it."""
        return f"{self.interval_seconds}s"

    @property
    def scrape_timeout_seconds(self) -> int:
        """How long a scrape waits."""
        return min(self.timeout_seconds, self.scrape_interval_seconds)

    @property
    def scrape_interval_seconds(self) -> int:
        """How often the service is scraped: no more often than a scrape may take, unless that was asked for."""
        return self.interval_seconds if self.is_hurried else max(self.interval_seconds, self.timeout_seconds)

    @property
    def group_wait(self) -> str:
        """How long Alertmanager waits for more of the same."""
        return f"{2 * self.interval_seconds}s"

    @property
    def group_interval(self) -> str:
        """How long it waits before it tells that a group has changed: an end is told within it."""
        return f"{4 * self.interval_seconds}s"


def watch_of(  # noqa: PLR0913 -- each is an option of the command
    plan: Plan,
    settings: Settings,
    *,
    targets: tuple[str, ...],
    job: str | None = None,
    interval_seconds: int | None = None,
    for_seconds: int | None = None,
    alertmanager: str = "127.0.0.1:9093",
    prometheus: str = "127.0.0.1:9090",
    credentials_file: str | None = None,
    trusts_anybody: bool = False,
    runbooks: str = RUNBOOKS,
) -> Watch:
    """Return how a service with *plan* and *settings* is watched. See `Watch`.

    Raises:
        SettingsError: The service serves no metrics.
        ConfigurationError: An option is none that Prometheus takes.
    """
    if settings.exporters.prometheus.enabled is False:
        raise SettingsError("exporters.prometheus.enabled", "false", "true, or there is nothing to be scraped")
    if job is not None and not _JOB.fullmatch(job):
        raise ConfigurationError(f"--job {job!r}: at most 200 of A-Z, a-z, 0-9 and _./:-, such as {plan.name}")
    if interval_seconds is not None and not 1 <= interval_seconds <= _LONGEST_INTERVAL_SECONDS:
        raise ConfigurationError(f"--interval {interval_seconds}: 1 to {_LONGEST_INTERVAL_SECONDS} s")
    if for_seconds is not None and not 0 <= for_seconds <= _LONGEST_FOR_SECONDS:
        raise ConfigurationError(f"--for-seconds {for_seconds}: 0 to {_LONGEST_FOR_SECONDS} s")
    if not _PAGE.fullmatch(runbooks) or (":" in runbooks and not runbooks.startswith(("https://", "http://"))):
        raise ConfigurationError(f"--runbooks {runbooks!r}: a URL, such as https://docs.example.org/monitoring")
    secret = metrics_secret(settings)
    return Watch(
        job=job or plan.name,
        targets=targets,
        alertmanager=_address("--alertmanager", alertmanager),
        prometheus=_address("--prometheus", prometheus),
        interval_seconds=interval_seconds or INTERVAL_SECONDS,
        for_seconds=for_seconds,
        timeout_seconds=plan.scrape_timeout_seconds,
        is_hurried=interval_seconds is not None,
        credentials_file=(credentials_file or f"/run/secrets/{secret}") if secret else None,
        trusts_anybody=trusts_anybody,
        runbooks=runbooks,
    )


def metrics_secret(settings: Settings) -> str | None:
    """Return the name of the bearer token that Prometheus sends, if it needs one."""
    access = settings.exporters.prometheus.access
    if access == "token":
        return "exporters_prometheus_token"
    return "metrics_token" if access == "inherit" and settings.health.status_requires_authentication else None


def render(plan: Plan, settings: Settings, watch: Watch, *, command: str = "prometheus") -> Files:
    """Return Prometheus' files, Alertmanager's and Grafana's, each in a folder of its own.

    Args:
        plan: Where the metrics are.
        settings: The thresholds of the service.
        watch: How it is watched.
        command: Name of the target that is written, for the first line of each file.
    """
    values = {
        "plan": plan,
        "watch": watch,
        "command": command,
        **rules_of(settings.health, watch, f'job="{watch.job}"'),
    }
    return {
        **{name: rendered(name, **values) for name in FILES},
        DASHBOARD: dashboard(settings.health, watch.job, watch.interval),
    }


def rules_of(health: HealthSettings, watch: Watch, selector: str) -> dict[str, Any]:
    """Return what the templates of the rules and of their test ask for.

    Args:
        health: The thresholds of the service.
        watch: How it is watched.
        selector: Of its series, such as `job="orders"`.
    """
    windows = windows_of(health, watch.interval_seconds)
    rules = [
        rule if watch.for_seconds is None else replace(rule, for_seconds=watch.for_seconds)
        for rule in alert_rules(health, windows, selector, BY)
    ]
    patience = [rule.for_seconds for rule in rules]
    return {
        "by": BY,
        "job": selector,
        "windows": windows,
        "alerts": rules,
        "trial": trial_of(health, windows, patience, watch.interval_seconds),
    }


def _address(option: str, address: str) -> str:
    """Return *address* if it is a host and a port."""
    host, _, port = address.rpartition(":")
    if not re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", host) or not re.fullmatch(r"[1-9]\d{0,4}", port):
        raise ConfigurationError(f"{option} {address!r}: HOST:PORT, such as 127.0.0.1:9093")
    return address
