"""A chart of the plain manifests: `values.yaml` holds the figures, and those that contradict one another are refused.

Paths and ports stand in the templates, at every place that has to agree on them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasker_health import __version__
from tasker_health.deploy import Files
from tasker_health.deploy.environment import Environment
from tasker_health.deploy.kubernetes import (
    PROMETHEUS_RULE,
    RESOURCES,
    SERVICE_MONITOR,
    facts,
    figures,
    handed_on,
    written,
)
from tasker_health.deploy.operator_rules import release_rules
from tasker_health.deploy.plan import GRACE_MARGIN_SECONDS, Plan
from tasker_health.deploy.rendering import quoted, word
from tasker_health.deploy.rendering import render as rendered
from tasker_health.deploy.workload import Workload
from tasker_health.errors import ConfigurationError

_FIXED = frozenset(
    f"TASKER_{name}"
    for name in ("SERVER__PORT", "SERVER__PREFIX", "GUARD__ENABLED", "GUARD__PORT", "GUARD__AGENT_PORT", "GRPC__PORT")
)


def render(plan: Plan, environment: Environment, workload: Workload) -> Files:
    """Return the files of a chart. Names are the release's, and so is the namespace.

    Raises:
        ConfigurationError: *workload* contradicts itself or *plan*.
    """
    if workload.namespace is not None:
        raise ConfigurationError(f"--namespace {workload.namespace}: a release has its own; give it to helm install")
    plan = workload.placed(plan)
    known = facts(plan, environment, workload)
    variables = handed_on(environment)
    numbers = figures(plan, workload)
    of_values = {
        "helm": True,
        "instance": "{{ .Release.Name }}",
        "namespace": None,
        "grace_seconds": "{{ " + _grace(workload) + " }}",
        "drain": "{{ .Values.drainSeconds | quote }}",
        "secret_name": "{{ .Values.secretName | quote }}",
        "environment": {
            name: quoted(value) if name in _FIXED else f'{{{{ index .Values.environment "{name}" | quote }}}}'
            for name, value in variables.items()
        },
        "figures": _looked_up(numbers, ".Values"),
        "rules": release_rules(plan, workload.health),
    }
    told = {
        "figures": written(numbers),
        "variables": {name: quoted(value) for name, value in variables.items() if name not in _FIXED},
        "secret_name": word(f"{plan.name}-health"),
        "version": __version__,
    }
    return {
        "Chart.yaml": rendered("helm/Chart.yaml", **known, **told),
        "values.yaml": rendered("helm/values.yaml", **known, **told),
        "templates/_figures.tpl": rendered("helm/_figures.tpl", **known),
        **{
            f"templates/{name}": rendered(f"kubernetes/{name}", **known, **of_values)
            for name in (*RESOURCES, SERVICE_MONITOR, PROMETHEUS_RULE)
        },
    }


def _grace(workload: Workload) -> str:
    parts = ["(ceil .Values.drainSeconds)", f"{GRACE_MARGIN_SECONDS}"]
    if workload.serves:
        parts.insert(0, ".Values.preStopSeconds")
    if workload.is_sidecar:
        parts.insert(0, ".Values.workerSeconds")
    return f"add {' '.join(parts)}"


def _looked_up(values: Mapping[str, Any], above: str) -> dict[str, Any]:
    """Return for each of *values* how a template of Helm asks for it."""
    return {
        name: _looked_up(each, f"{above}.{name}")
        if isinstance(each, Mapping)
        else f"{{{{ {above}.{name}{' | quote' if isinstance(each, str) else ''} }}}}"
        for name, each in values.items()
    }
