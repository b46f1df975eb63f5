"""What a doctor finds of the settings: where each value came from, and which of them contradict one another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from tasker_health.cli.doctor.findings import Finding, note, warning
from tasker_health.cli.doctor.walk import Visit
from tasker_health.loading import Origins, Path_, printable
from tasker_health.settings import Settings


async def look(visit: Visit) -> list[Finding]:
    """Return where the values come from, and what contradicts what."""
    return [*contradictions(visit.settings), *_given(visit.settings, visit.origins), _defaults(visit)]


def _given(settings: Settings, origins: Origins) -> list[Finding]:
    """Return a row for each value that is not left to its default."""
    rows = []
    for path, origin in sorted(origins.items()):
        what = ".".join(path)
        shown = printable(_value_at(settings, path), path, origins)
        rows.append(Finding(what=what, measured=f"{shown} from {origin.removeprefix(what).strip(' ()') or origin}"))
    return rows


def _value_at(settings: Any, path: Path_) -> Any:
    """Return the value in force at *path*; of what may be a secret, what it is."""
    value = settings
    for name in path:
        if isinstance(value, BaseModel):
            fields = type(value).model_fields
            value = getattr(value, next((each for each, field in fields.items() if name in {each, field.alias}), name))
        elif isinstance(value, Mapping):
            value = value.get(name)
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _defaults(visit: Visit) -> Finding:
    number = _leaves(visit.settings) - len(visit.origins)
    return Finding(what="defaults", measured=f"{number} more, as they come", figures={"defaults": float(number)})


def _leaves(value: Any) -> int:
    if isinstance(value, BaseModel):
        return sum(_leaves(getattr(value, name)) for name in type(value).model_fields)
    return sum(map(_leaves, value.values())) if isinstance(value, Mapping) else 1


def contradictions(settings: Settings) -> list[Finding]:
    """Return which settings cannot both mean what they say."""
    health, found = settings.health, []
    if health.cache_duration_seconds >= health.status_max_stale_seconds:
        measured = (
            f"{health.cache_duration_seconds:g} is not less than health.status_max_stale_seconds ="
            f" {health.status_max_stale_seconds:g}: a kept status is too old before it is read anew"
        )
        remedy = f"less than {health.status_max_stale_seconds:g}; 15 is usual"
        found.append(warning("health.cache_duration_seconds", measured, remedy))
    if health.heartbeat_seconds >= health.liveness_stall_seconds:
        measured = (
            f"{health.heartbeat_seconds:g} is not less than health.liveness_stall_seconds ="
            f" {health.liveness_stall_seconds:g}: a process that is well is taken for wedged between two beats"
        )
        found.append(warning("health.heartbeat_seconds", measured, "0.25 is usual"))
    if health.loop_lag_warning_seconds >= health.liveness_stall_seconds:
        measured = f"{health.loop_lag_warning_seconds:g}: it is not alive (health.liveness_stall_seconds) before that"
        found.append(warning("health.loop_lag_warning_seconds", measured, "0.5 is usual"))
    return [*found, *_without_effect(settings)]


def _without_effect(settings: Settings) -> list[Finding]:
    """Return what is set, and changes nothing."""
    found = []
    if settings.guard.enabled is False and settings.guard.agent_port is not None:
        measured = f"{settings.guard.agent_port}, but guard.enabled is false: nobody answers there"
        found.append(warning("guard.agent_port", measured, "guard.enabled = true, or leave it out"))
    if settings.cache.url.get_secret_value() == "memory://" and settings.cache.signing_key is not None:
        found.append(note("cache.signing_key", "set, but memory:// is not signed", "it waits for a shared cache.url"))
    for name, source in settings.sources.items():
        if source.kind != "tasker" and source.checkpoint_file is not None:
            what = f"sources.{name}.checkpoint_file"
            found.append(note(what, f"set, but a {source.kind} source keeps none", "leave it out"))
    return found
