"""A unit of systemd: a service that says itself that it is ready and alive, and may do nothing that it need not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from pydantic import BaseModel, SecretStr

from tasker_health.deploy import Files
from tasker_health.deploy.plan import Plan
from tasker_health.deploy.rendering import render as rendered
from tasker_health.errors import ConfigurationError
from tasker_health.loading import PREFIX, Origins
from tasker_health.settings import Settings

START_SECONDS = 60
"""How long a start may take: what the guide gives a startup probe."""

_FIRST_FREE_PORT = 1024
_APPLICATION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_FOLDER = re.compile(r"(/[A-Za-z0-9._@+-]+)+")


def render(
    plan: Plan,
    settings: Settings,
    *,
    secrets: Sequence[str] = (),
    app: str | None = None,
    programs: str | None = None,
    has_config: bool = False,
) -> Files:
    """Return the unit of `tasker-health serve`, or of *app* under uvicorn.

    Args:
        plan: Of the service.
        settings: The same: where it listens.
        secrets: See `secrets_of`; the unit names their files.
        app: An ASGI application of one's own, as `orders.main:app`.
        programs: Folder of the programs of the virtual environment; `None`: `/opt/<name>/bin`.
        has_config: Whether it reads a TOML file, as a credential: there may be secrets in it.

    Raises:
        ConfigurationError: *app* or *programs* is none.
    """
    if app is not None and not _APPLICATION.fullmatch(app):
        raise ConfigurationError(f"--app {app!r}: a module and a name in it, such as orders.main:app")
    if programs is not None and not _FOLDER.fullmatch(programs):
        raise ConfigurationError(f"--programs {programs!r}: the path of a folder, such as /opt/orders/bin")
    if app is not None and has_config:
        raise ConfigurationError("--config with --app: an application reads its settings itself; give it variables")
    ports = [port for port in (plan.port, plan.guard_port, plan.agent_port) if port is not None]
    text = rendered(
        "systemd/unit.service",
        plan=plan,
        app=app,
        programs=programs or f"/opt/{plan.name}/bin",
        has_config=has_config,
        host=_quoted(settings.server.host).replace("$", "$$"),
        environment=[f"{name}={value}" for name, value in environment(plan, settings).items()],
        secrets=secrets,
        start_seconds=START_SECONDS,
        needs_low_port=min(ports) < _FIRST_FREE_PORT,
    )
    return {f"{plan.name}{'' if app else '-health'}.service": text}


def environment(plan: Plan, settings: Settings) -> dict[str, str]:
    """Return what the service is told, so that it and the figures of its unit agree."""
    told = {
        "TASKER_SERVER__HOST": settings.server.host,
        "TASKER_SERVER__PORT": f"{plan.port}",
        "TASKER_SERVER__PREFIX": plan.prefix,
        "TASKER_SERVER__DRAIN_SECONDS": f"{plan.drain_seconds:g}",
        "TASKER_HEALTH__SERVICE_NAME": settings.health.service_name,
        "TASKER_HEALTH__LIVENESS_STALL_SECONDS": f"{plan.stall_seconds:g}",
        "TASKER_GUARD__ENABLED": "false" if plan.guard_port is None else "true",
    }
    if plan.guard_port is not None:
        told["TASKER_GUARD__PORT"] = f"{plan.guard_port}"
    if settings.guard.host:
        told["TASKER_GUARD__HOST"] = settings.guard.host
    if plan.agent_port is not None:
        told["TASKER_GUARD__AGENT_PORT"] = f"{plan.agent_port}"
    return {name: _quoted(value) for name, value in told.items()}


def secrets_of(settings: Settings, origins: Origins) -> list[str]:
    """Return each secret that came from a variable, without its prefix: `DATABASE__URL`."""
    named = {path for path in _secrets_in(settings, ()) if origins.get(path, "").startswith(PREFIX)}
    return sorted("__".join(path).upper() for path in named)


def _secrets_in(value: object, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(value, SecretStr):
        yield path
    elif isinstance(value, BaseModel):
        for name in value.model_fields_set:
            yield from _secrets_in(getattr(value, name), (*path, name))
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _secrets_in(each, (*path, str(name)))


def _quoted(value: str) -> str:
    """Return *value* as systemd reads it within an assignment of `Environment=` (systemd.exec(5))."""
    if not value.isprintable():
        raise ConfigurationError(f"{value!r}: a unit holds no such characters; choose others")
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
