"""Caddy, which asks `/ready` itself and takes out whoever is not ready."""

from __future__ import annotations

from collections.abc import Sequence

from tasker_health.deploy import Files
from tasker_health.deploy.backend import Backend, probe_port_of
from tasker_health.deploy.plan import Plan, Prober
from tasker_health.deploy.proxy import Proxy, hidden, require_http
from tasker_health.deploy.rendering import render as rendered

CADDY = Prober(period_seconds=2, timeout_seconds=1.5, success_threshold=2)
"""Thresholds that one slip does not reach."""

RETRIES = 2
"""How often a request is tried again."""


def render(plan: Plan, servers: Sequence[Backend], proxy: Proxy) -> Files:
    """Return a Caddyfile, with *plan*'s readiness as what Caddy asks.

    Raises:
        ConfigurationError: The servers speak TLS, or have probes at several ports.
    """
    require_http(plan)
    beginnings, paths = hidden(plan)
    host, port = proxy.address
    text = rendered(
        "caddy/Caddyfile",
        plan=plan,
        servers=servers,
        probe_port=probe_port_of(servers, "Caddy"),
        listen_host=host,
        listen_port=port,
        request_timeout_seconds=proxy.request_timeout_seconds,
        retries=RETRIES,
        hidden=[*(f"{beginning}*" for beginning in beginnings), *(path for path in paths if path != "/health")],
    )
    return {"Caddyfile": text}
