"""The rules for Prometheus' operator: those of `prometheus.py`, for what a ServiceMonitor has scraped."""

from __future__ import annotations

from tasker_health.deploy.plan import Plan
from tasker_health.deploy.prometheus import Watch, rules_of
from tasker_health.deploy.rendering import render as rendered
from tasker_health.settings import HealthSettings

MONITOR_INTERVAL_SECONDS = 30
"""Prometheus' own operator's usual one."""

_RELEASE, _NAMESPACE = "release.of.helm", "namespace.of.helm"


def operator_rules(plan: Plan, health: HealthSettings, namespace: str | None) -> str:
    """Return the groups of rules for a Service that is named as *plan* is, in *namespace*, if that is known."""
    return _rules(plan, health, plan.name, namespace)


def release_rules(plan: Plan, health: HealthSettings) -> str:
    """Return the same for a release of Helm, whose names come from it; braces of alerts are none of Helm's."""
    text = _rules(plan, health, _RELEASE, _NAMESPACE).replace("{{", '{{ "{{" }}')
    return text.replace(_RELEASE, "{{ .Release.Name }}").replace(_NAMESPACE, "{{ .Release.Namespace }}")


def _rules(plan: Plan, health: HealthSettings, job: str, namespace: str | None) -> str:
    interval_seconds = max(MONITOR_INTERVAL_SECONDS, plan.scrape_timeout_seconds)
    watch = Watch(job=job, targets=(), interval_seconds=interval_seconds)
    selector = f'job="{job}"' if namespace is None else f'namespace="{namespace}", job="{job}"'
    text = rendered("prometheus/rules.yml", watch=watch, command="kubernetes", **rules_of(health, watch, selector))
    return text[text.index("groups:") :]
