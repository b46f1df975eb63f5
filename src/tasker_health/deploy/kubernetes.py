"""Pods and what belongs to them, as plain manifests.

Kustomize's base and Helm's chart are made of the same templates: what differs is where a figure stands.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tasker_health.deploy import Files
from tasker_health.deploy.docker import USER
from tasker_health.deploy.environment import Environment
from tasker_health.deploy.operator_rules import operator_rules
from tasker_health.deploy.plan import STARTUP, Plan, Prober
from tasker_health.deploy.rendering import number, quoted, word
from tasker_health.deploy.rendering import render as rendered
from tasker_health.deploy.workload import Workload

SECRETS_FOLDER = "/run/secrets/tasker-health"
SERVICE_MONITOR = "servicemonitor.yaml"
PROMETHEUS_RULE = "prometheusrule.yaml"
RESOURCES = ("deployment.yaml", "service.yaml", "poddisruptionbudget.yaml", "networkpolicy.yaml")


def render(plan: Plan, environment: Environment, workload: Workload) -> Files:
    """Return one manifest of everything, and beside it, if it is wanted, what only Prometheus' operator understands.

    Raises:
        ConfigurationError: *workload* contradicts itself or *plan*.
    """
    files = resources(plan, environment, workload)
    monitors = {name: text for name, text in files.items() if name in {SERVICE_MONITOR, PROMETHEUS_RULE}}
    return {"kubernetes.yaml": "---\n".join(text for name, text in files.items() if name not in monitors), **monitors}


def resources(plan: Plan, environment: Environment, workload: Workload) -> dict[str, str]:
    """Return a manifest for each resource.

    Raises:
        ConfigurationError: *workload* contradicts itself or *plan*.
    """
    plan = workload.placed(plan)
    values = {
        **facts(plan, environment, workload),
        "helm": False,
        "instance": word(plan.name),
        "namespace": None if workload.namespace is None else word(workload.namespace),
        "grace_seconds": workload.grace_seconds(plan),
        "drain": quoted(number(plan.drain_seconds)),
        "secret_name": word(f"{plan.name}-health"),
        "environment": {name: quoted(value) for name, value in handed_on(environment).items()},
        "figures": written(figures(plan, workload)),
        "rules": operator_rules(plan, workload.health, workload.namespace),
    }
    wanted = {SERVICE_MONITOR: workload.service_monitor, PROMETHEUS_RULE: workload.prometheus_rule}
    names = [*RESOURCES, *(name for name, is_wanted in wanted.items() if is_wanted)]
    return {name: rendered(f"kubernetes/{name}", **values) for name in names}


def facts(plan: Plan, environment: Environment, workload: Workload) -> dict[str, object]:
    """Return what templates ask about, which is the same wherever figures stand. *plan* is placed."""
    return {
        "plan": plan,
        "workload": workload,
        "name": word(plan.name),
        "user": USER,
        "secrets": dict(environment.secrets),
        "secrets_folder": SECRETS_FOLDER,
        "metrics_port": "health" if workload.is_sidecar else "http",
    }


def figures(plan: Plan, workload: Workload) -> dict[str, Any]:
    """Return what an operator may want to change, by the names that Helm's values have. *plan* is placed."""
    delayed, beside = not workload.startup_probe, workload.is_sidecar
    memory = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}}
    return {
        "image": workload.image or f"{plan.name}:1.0.0",
        **({"sidecarImage": workload.sidecar_image, "workerSeconds": workload.worker_seconds} if beside else {}),
        "replicas": workload.replicas,
        **({"preStopSeconds": math.ceil(plan.pre_stop_seconds)} if workload.serves else {}),
        "drainSeconds": plan.drain_seconds,
        "probes": {
            **({"startup": _asked(STARTUP, delayed=False)} if workload.startup_probe else {}),
            "readiness": _asked(plan.readiness, delayed=delayed),
            "liveness": _asked(plan.liveness, delayed=delayed),
        },
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        **({"sidecarResources": memory} if beside else {}),
    }


def handed_on(environment: Environment) -> dict[str, str]:
    """Return its variables for Kubernetes, which would take `$(NAME)` for a reference to another one."""
    told = {name: value for name, value in environment.variables.items() if name != "TASKER_SERVER__DRAIN_SECONDS"}
    return {name: value.replace("$", "$$") for name, value in told.items()}


def written(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return *values* as YAML has them: text in quotes, figures without a point they do not need."""
    return {
        name: written(each) if isinstance(each, Mapping) else (quoted(each) if isinstance(each, str) else number(each))
        for name, each in values.items()
    }


def _asked(prober: Prober, *, delayed: bool) -> dict[str, int]:
    """Return the kubelet's figures, which are whole."""
    return {
        **({"initialDelaySeconds": math.ceil(prober.initial_delay_seconds)} if delayed else {}),
        "periodSeconds": math.ceil(prober.period_seconds),
        "timeoutSeconds": math.ceil(prober.timeout_seconds),
        "failureThreshold": prober.failure_threshold,
    }
