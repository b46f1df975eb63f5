"""The service in Compose, with the database, the cache and the monitoring that stand around it."""

from __future__ import annotations

from tasker_health import __version__
from tasker_health.deploy import Files
from tasker_health.deploy.docker import environment, probe
from tasker_health.deploy.plan import Plan
from tasker_health.deploy.rendering import render as rendered
from tasker_health.errors import SettingsError

AROUND = ("postgres", "valkey", "prometheus", "alertmanager", "grafana")
"""The other services, by name."""

_FILES = (
    "compose.yaml",
    "prometheus/prometheus.yml",
    "alertmanager/alertmanager.yml",
    "grafana/datasources.yml",
)


def render(plan: Plan, *, config: str | None = None, metrics: str = "open") -> Files:
    """Return `compose.yaml` and the files that it mounts.

    Args:
        plan: Of the service.
        config: Path of its TOML file, from where `compose.yaml` will lie.
        metrics: How Prometheus gets its figures: `open`, or with a bearer token that is a `caller` of the status or
            the `token` of the metrics.

    Raises:
        SettingsError: The service bears the name of another one here.
    """
    if plan.name in AROUND:
        raise SettingsError(
            "health.service_name", repr(plan.name), f"another name than those of Compose's others: {', '.join(AROUND)}"
        )
    values = {
        "plan": plan,
        "version": __version__,
        "environment": environment(plan),
        "probe": probe(plan),
        "config": config,
        "metrics": metrics,
        "merge": "<<",
    }
    return {name: rendered(f"compose/{name}", **values) for name in _FILES}
