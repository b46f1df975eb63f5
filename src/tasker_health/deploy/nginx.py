"""NGINX, which learns from requests that fail: in open source it asks nobody."""

from __future__ import annotations

from collections.abc import Sequence

from tasker_health.deploy import Files
from tasker_health.deploy.backend import Backend
from tasker_health.deploy.plan import Plan
from tasker_health.deploy.proxy import Proxy, hidden, require_http
from tasker_health.deploy.rendering import render as rendered

FAIL_TIMEOUT_SECONDS = 10
"""NGINX' own: within so long failures count together, and for so long a server is left out."""

_MOST_TRIES = 3
_CONNECT_SECONDS = 1


def render(
    plan: Plan, servers: Sequence[Backend], proxy: Proxy, *, fail_timeout_seconds: float = FAIL_TIMEOUT_SECONDS
) -> Files:
    """Return a file to be included in `http`, whose `/health` is *plan*'s readiness.

    Raises:
        ConfigurationError: The servers speak TLS.
    """
    require_http(plan)
    beginnings, paths = hidden(plan)
    tries = min(len(servers), _MOST_TRIES)
    text = rendered(
        "nginx/nginx.conf",
        plan=plan,
        servers=servers,
        listen=proxy.listen,
        request_timeout_seconds=proxy.request_timeout_seconds,
        # One that hangs must leave time for the next.
        next_timeout_seconds=proxy.request_timeout_seconds + _CONNECT_SECONDS,
        tries=tries,
        fail_timeout_seconds=fail_timeout_seconds,
        hidden=[*(f"^~ {each}" for each in beginnings), *(f"= {each}" for each in paths if each != "/health")],
    )
    return {f"{plan.name}.conf": text}
