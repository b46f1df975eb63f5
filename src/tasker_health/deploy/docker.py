"""A container image, with Docker's own health check on liveness."""

from __future__ import annotations

import re
from dataclasses import replace

from tasker_health import __version__
from tasker_health.deploy import Files
from tasker_health.deploy.application import require_application
from tasker_health.deploy.environment import Environment, environment_of
from tasker_health.deploy.plan import Plan, Prober
from tasker_health.deploy.rendering import render as rendered
from tasker_health.errors import SettingsError
from tasker_health.settings import Settings

DOCKER = Prober(initial_delay_seconds=5, period_seconds=30, timeout_seconds=3)
"""The health check of the image: who asks is Docker, and what it asks is live."""

USER = 10001
"""Who runs in the container: a number, because Kubernetes can tell of a number alone that it is not root's."""

_PLAIN = re.compile(r"[A-Za-z0-9_./:,@%+=~-]+")


def render(plan: Plan, settings: Settings, *, app: str | None = None) -> Files:
    """Return the files of an image that runs `tasker-health serve`, or *app* under uvicorn.

    Args:
        plan: Of the service.
        settings: In force; those that are secret are not in the image.
        app: An ASGI application of one's own, as `orders.main:app`; its requirements are its own, too.

    Raises:
        ConfigurationError: *app* names none, or a setting cannot be said by a variable.
    """
    require_application(app)
    if app is not None:
        plan = replace(plan, tls=False)  # uvicorn reads no settings of ours
    told = environment(plan, settings)
    values = {
        "plan": plan,
        "app": app,
        "version": __version__,
        "user": USER,
        "variables": [f"{name}={_quoted(name, value)}" for name, value in told.variables.items()],
        "secrets": sorted(told.secrets),
        "probe": probe(plan),
    }
    names = ["Dockerfile", ".dockerignore"] + ([] if app else ["requirements.txt"])
    return {name: rendered(f"docker/{name.removeprefix('.')}", **values) for name in names}


def environment(plan: Plan, settings: Settings) -> Environment:
    """Return what a container is told: the settings in force, and to listen where others reach it.

    Raises:
        SettingsError: A setting cannot be said by a variable.
    """
    told = environment_of(settings, plan)
    hosts = {"TASKER_SERVER__HOST": "0.0.0.0"}  # noqa: S104 -- of the container
    if plan.guard_port is not None:
        hosts["TASKER_GUARD__HOST"] = hosts["TASKER_SERVER__HOST"]
    return replace(told, variables={**hosts, **told.variables})


def probe(plan: Plan) -> list[str]:
    """Return the command of the health check: without a shell and without curl, which the image need not have."""
    url = f"{plan.probe_scheme}://127.0.0.1:{plan.probe_port}{plan.live_path}"
    trust = ["--insecure"] if plan.probe_scheme == "https" else []  # it asks its own container
    return ["tasker-health", "probe", "--container", *trust, url]


def _quoted(name: str, value: str) -> str:
    """Return *value* as `ENV` reads it: nothing in it is a variable, a quote or an end."""
    if _PLAIN.fullmatch(value):
        return value
    if not value.isprintable():
        raise SettingsError(name, "set", "a line of text: a Dockerfile cannot say another one")
    return '"' + re.sub(r'([\\"$])', r"\\\1", value) + '"'
