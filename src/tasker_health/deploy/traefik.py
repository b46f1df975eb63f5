"""Traefik, which asks `/ready` itself and takes out whoever is not ready."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasker_health.deploy import Files
from tasker_health.deploy.backend import Backend, probe_port_of
from tasker_health.deploy.plan import Plan, Prober
from tasker_health.deploy.proxy import Proxy, hidden, require_http
from tasker_health.deploy.rendering import render as rendered
from tasker_health.errors import SettingsError

TRAEFIK = Prober(period_seconds=2, timeout_seconds=1.5, failure_threshold=1)
"""Traefik has no thresholds: one answer counts."""

RETRIES = 2
"""How often a request is tried again."""


def render(plan: Plan, servers: Sequence[Backend], proxy: Proxy) -> Files:
    """Return what Traefik reads at its start, and what it reads whenever that changes, with *plan*'s readiness.

    Raises:
        ConfigurationError: The servers speak TLS, or have probes at several ports, or the service has Traefik's name.
    """
    require_http(plan)
    if plan.name == "traefik":  # both files and Traefik's own entry point bear it
        raise SettingsError("health.service_name", repr(plan.name), "another name than Traefik's own")
    beginnings, paths = hidden(plan)
    hides = [f"!PathRegexp(`^{_either(each)}`)" for each in beginnings] + [f"!Path(`{each}`)" for each in paths]
    values = {
        "plan": plan,
        "servers": servers,
        "probe_port": probe_port_of(servers, "Traefik"),
        "listen": proxy.listen if ":" in proxy.listen else f":{proxy.listen}",
        "rule": " && ".join(["PathPrefix(`/`)", *hides]),
        "request_timeout_seconds": proxy.request_timeout_seconds,
        "retries": RETRIES,
    }
    return {
        "traefik.yaml": rendered("traefik/traefik.yaml", **values),
        f"{plan.name}.yaml": rendered("traefik/dynamic.yaml", **values),
    }


def _either(beginning: str) -> str:
    """Return *beginning* as a pattern: Traefik leaves `%2F` as it is, and the servers read it as a slash."""
    return "/" + re.escape(beginning[1:]).replace("/", "(/|%2[Ff])")
