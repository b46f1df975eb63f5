"""Envoy, which asks `/ready` itself and takes out whoever is not ready."""

from __future__ import annotations

from collections.abc import Sequence

from tasker_health.deploy import Files
from tasker_health.deploy.backend import Backend
from tasker_health.deploy.plan import Plan, Prober
from tasker_health.deploy.proxy import Proxy, hidden, require_http
from tasker_health.deploy.rendering import render as rendered

ENVOY = Prober(period_seconds=2, timeout_seconds=1.5, success_threshold=2)
"""Thresholds that one slip does not reach."""

RETRIES = 2
"""How often a request is tried again."""

SLOW_START_SECONDS = 30
"""Over how long a server that comes back gets its full share."""


def render(plan: Plan, servers: Sequence[Backend], proxy: Proxy) -> Files:
    """Return a whole configuration, with *plan*'s readiness as what Envoy asks.

    Raises:
        ConfigurationError: The servers speak TLS.
    """
    require_http(plan)
    beginnings, paths = hidden(plan)
    host, port = proxy.address
    text = rendered(
        "envoy/envoy.yaml",
        plan=plan,
        servers=servers,
        named=any(server.is_named for server in servers),
        listen_host=host or "0.0.0.0",  # noqa: S104 -- a balancer is for everybody
        listen_port=port,
        request_timeout_seconds=round(proxy.request_timeout_seconds, 3),  # it takes nine digits at most
        slow_start_seconds=SLOW_START_SECONDS,
        retries=RETRIES,
        beginnings=beginnings,
        paths=[path for path in paths if path != "/health"],
    )
    return {"envoy.yaml": text}
