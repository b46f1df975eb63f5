"""The service in Compose, with the database, the cache and the monitoring that stand around it."""

from __future__ import annotations

from tasker_health import __version__
from tasker_health.deploy import Files, prometheus
from tasker_health.deploy.docker import environment, probe
from tasker_health.deploy.plan import Plan
from tasker_health.deploy.prometheus import metrics_secret, watch_of
from tasker_health.deploy.rendering import render as rendered
from tasker_health.errors import ConfigurationError, SettingsError
from tasker_health.settings import Settings

AROUND = ("postgres", "valkey", "prometheus", "alertmanager", "grafana")
"""The other services, by name."""

_OWN_SECRETS = {"TASKER_DATABASE__URL_FILE": "database.url", "TASKER_CACHE__SIGNING_KEY_FILE": "cache.signing_key"}
_OWN_CACHE = "TASKER_CACHE__URL"


def render(plan: Plan, settings: Settings) -> Files:
    """Return `compose.yaml` and the files that it mounts.

    Raises:
        SettingsError: The service bears the name of another one here, or a setting cannot be said by a variable, or
            there are no metrics.
        ConfigurationError: Two secret settings would be one file.
    """
    if plan.name in AROUND:
        raise SettingsError(
            "health.service_name", repr(plan.name), f"another name than those of Compose's others: {', '.join(AROUND)}"
        )
    told = environment(plan, settings)
    secrets = {
        name: path.replace(".", "_")
        for name, path in {**_OWN_SECRETS, **told.secrets}.items()
        if name != f"{_OWN_CACHE}_FILE"
    }
    twice = sorted({name for name in secrets.values() if list(secrets.values()).count(name) > 1})
    if twice:
        raise ConfigurationError(f"secrets/{twice[0]}: the file of two settings; give the check of one another name")
    metrics = metrics_secret(settings)
    values = {
        "plan": plan,
        "version": __version__,
        "variables": {**told.variables, _OWN_CACHE: "valkey://valkey:6379/0"},
        "secrets": secrets,
        "probe": probe(plan),
        "metrics_secret": metrics,
        "merge": "<<",
    }
    watch = watch_of(
        plan,
        settings,
        targets=(f"{plan.name}:{plan.port}",),
        alertmanager="alertmanager:9093",
        prometheus="prometheus:9090",
        trusts_anybody=True,
    )
    return {
        "compose.yaml": rendered("compose/compose.yaml", **values),
        **prometheus.render(plan, settings, watch, command="compose"),
    }
