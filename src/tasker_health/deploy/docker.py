"""A container image, with Docker's own health check on liveness."""

from __future__ import annotations

import re

from tasker_health import __version__
from tasker_health.deploy import Files
from tasker_health.deploy.plan import Plan, Prober
from tasker_health.deploy.rendering import render as rendered
from tasker_health.errors import ConfigurationError

DOCKER = Prober(initial_delay_seconds=5, period_seconds=30, timeout_seconds=3)
"""The health check of the image: who asks is Docker, and what it asks is live."""

USER = 10001
"""Who runs in the container: a number, because Kubernetes can tell of a number alone that it is not root's."""

_APPLICATION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def render(plan: Plan, *, app: str | None = None) -> Files:
    """Return the files of an image that runs `tasker-health serve`, or *app* under uvicorn.

    Args:
        plan: Of the service.
        app: An ASGI application of one's own, as `orders.main:app`; its requirements are its own, too.

    Raises:
        ConfigurationError: *app* names none.
    """
    if app is not None and not _APPLICATION.fullmatch(app):
        raise ConfigurationError(f"--app {app!r}: a module and a name in it, such as orders.main:app")
    values = {
        "plan": plan,
        "app": app,
        "version": __version__,
        "user": USER,
        "environment": [f"{name}={value}" for name, value in environment(plan).items()],
        "probe": probe(plan),
    }
    names = ["Dockerfile", ".dockerignore"] + ([] if app else ["requirements.txt"])
    return {name: rendered(f"docker/{name.removeprefix('.')}", **values) for name in names}


def environment(plan: Plan) -> dict[str, str]:
    """Return what a container of *plan* is told, so that what asks it and what it does agree."""
    told = {
        "TASKER_SERVER__HOST": "0.0.0.0",  # noqa: S104 -- of the container  # nosec B104
        "TASKER_SERVER__PORT": f"{plan.port}",
        "TASKER_SERVER__PREFIX": plan.prefix,
        "TASKER_SERVER__DRAIN_SECONDS": f"{plan.drain_seconds:g}",
        "TASKER_HEALTH__READINESS_TIMEOUT_SECONDS": f"{plan.readiness_timeout_seconds:g}",
        "TASKER_GUARD__ENABLED": "false" if plan.guard_port is None else "true",
    }
    if plan.guard_port is not None:
        told["TASKER_GUARD__HOST"] = told["TASKER_SERVER__HOST"]
        told["TASKER_GUARD__PORT"] = f"{plan.guard_port}"
    if plan.agent_port is not None:
        told["TASKER_GUARD__AGENT_PORT"] = f"{plan.agent_port}"
    return told


def probe(plan: Plan) -> list[str]:
    """Return the command of the health check: without a shell and without curl, which the image need not have."""
    url = f"{plan.probe_scheme}://127.0.0.1:{plan.probe_port}{plan.live_path}"
    trust = ["--insecure"] if plan.probe_scheme == "https" else []  # it asks its own container
    return ["tasker-health", "probe", "--container", *trust, url]
