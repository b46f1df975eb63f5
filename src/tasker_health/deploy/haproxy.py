"""HAProxy, which asks `/ready` itself and takes out whoever is not ready."""

from __future__ import annotations

from collections.abc import Sequence

from tasker_health.deploy import Files
from tasker_health.deploy.backend import Backend
from tasker_health.deploy.plan import Plan, Prober
from tasker_health.deploy.proxy import Proxy, hidden, require_http
from tasker_health.deploy.rendering import render as rendered

HAPROXY = Prober(period_seconds=2, timeout_seconds=1.5, success_threshold=2)
"""HAProxy's own period, and thresholds that one slip does not reach."""

RETRIES = 2
"""How often a request is tried again: once for each of two servers; where all answer 503, all are asked so often."""

SLOW_START_SECONDS = 30
"""Over how long a server that comes back gets its full share."""


def render(
    plan: Plan, servers: Sequence[Backend], proxy: Proxy, *, slow_start_seconds: float = SLOW_START_SECONDS
) -> Files:
    """Return a whole configuration, with *plan*'s readiness as what HAProxy asks.

    Raises:
        ConfigurationError: The servers speak TLS.
    """
    require_http(plan)
    beginnings, paths = hidden(plan)
    text = rendered(
        "haproxy/haproxy.cfg",
        plan=plan,
        servers=servers,
        listen=proxy.listen if ":" in proxy.listen else f":{proxy.listen}",
        request_timeout_seconds=proxy.request_timeout_seconds,
        slow_start_seconds=slow_start_seconds,
        retries=RETRIES,
        hidden=[*(f"-m beg {each}" for each in beginnings), *(f"-m str {each}" for each in paths)],
    )
    return {"haproxy.cfg": text}
