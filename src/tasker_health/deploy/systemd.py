"""A unit of systemd: a service that says itself that it is ready and alive, and may do nothing that it need not."""

from __future__ import annotations

import re
from dataclasses import replace

from tasker_health.deploy import Files
from tasker_health.deploy.application import require_application
from tasker_health.deploy.environment import Environment, environment_of
from tasker_health.deploy.plan import Plan
from tasker_health.deploy.rendering import render as rendered
from tasker_health.errors import ConfigurationError, SettingsError
from tasker_health.settings import Settings

START_SECONDS = 60
"""How long a start may take: what the guide gives a startup probe."""

_FIRST_FREE_PORT = 1024
_HOST = re.compile(r"[A-Za-z0-9:][A-Za-z0-9._:%-]*")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FOLDER = re.compile(r"(/[A-Za-z0-9._@+-]+)+")


def render(plan: Plan, settings: Settings, *, app: str | None = None, programs: str | None = None) -> Files:
    """Return the unit of `tasker-health serve`, or of *app* under uvicorn.

    Args:
        plan: Of the service.
        settings: In force; of those that are secret the unit names a file.
        app: An ASGI application of one's own, as `orders.main:app`.
        programs: Folder of the programs of the virtual environment; `None`: `/opt/<name>/bin`.

    Raises:
        ConfigurationError: *app*, *programs* or the host is none, or a setting cannot be said by a unit.
    """
    require_application(app)
    if programs is not None and not _FOLDER.fullmatch(programs):
        raise ConfigurationError(f"--programs {programs!r}: the path of a folder, such as /opt/orders/bin")
    if not _HOST.fullmatch(settings.server.host):  # uvicorn would take what follows a blank for options
        raise SettingsError("server.host", repr(settings.server.host), "an address or a name, such as 10.0.0.5")
    told = environment(plan, settings)
    grpc_port = settings.grpc.port if settings.grpc.enabled else None
    ports = [port for port in (plan.port, plan.guard_port, plan.agent_port, grpc_port) if port is not None]
    text = rendered(
        "systemd/unit.service",
        plan=plan,
        app=app,
        programs=programs or f"/opt/{plan.name}/bin",
        host=settings.server.host.replace("%", "%%"),
        variables=[f"{name}={_quoted(name, value)}" for name, value in told.variables.items()],
        secrets={name: name.removeprefix("TASKER_").removesuffix("_FILE").lower() for name in sorted(told.secrets)},
        start_seconds=START_SECONDS,
        needs_low_port=any(0 < port < _FIRST_FREE_PORT for port in ports),
    )
    return {f"{plan.name}{'' if app else '-health'}.service": text}


def environment(plan: Plan, settings: Settings) -> Environment:
    """Return what the service is told: the settings in force, and to listen where they say.

    Raises:
        SettingsError: A setting cannot be said by a variable.
    """
    hosts = {"TASKER_SERVER__HOST": settings.server.host}
    for group, host in (("GUARD", settings.guard.host), ("GRPC", settings.grpc.host)):
        if host:
            hosts[f"TASKER_{group}__HOST"] = host
    told = environment_of(settings, plan)
    for name in (*told.variables, *told.secrets):
        if not _VARIABLE.fullmatch(name):
            raise SettingsError(name, "set", "a name without a hyphen: systemd takes no such variable")
    return replace(told, variables={**hosts, **told.variables})


def _quoted(name: str, value: str) -> str:
    """Return *value* as systemd reads it between quotes (systemd.exec(5), systemd.unit(5))."""
    if not value.isprintable():
        raise SettingsError(name, "set", "a line of text: a unit cannot say another one")
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
