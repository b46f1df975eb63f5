"""What a doctor finds of the guard: is it there, whose is it, and how old is the heartbeat that it sees."""

from __future__ import annotations

import asyncio
import time

from tasker_health.cli.doctor.asking import Reply, fetch
from tasker_health.cli.doctor.findings import Finding, Verdict, error, not_looked_at, note, warning
from tasker_health.cli.doctor.listeners import Process, listeners
from tasker_health.cli.doctor.ports import owners
from tasker_health.cli.doctor.walk import Visit
from tasker_health.settings import Settings

_COMES_BACK_SECONDS = 3.0
"""A guard that has died is started again after 0.1 s; where the machine is busy, later."""

_PATIENCE_SECONDS = 1.0
_OK = 200


async def look(visit: Visit) -> list[Finding]:
    """Return how the guard is, and what it sees of the application."""
    settings = visit.settings
    if settings.guard.enabled is False:
        remedy = "a wedged application cannot answer: guard.enabled = true, and let probers ask guard.port"
        return [note("guard", "none: the application answers for itself", remedy)]
    if not settings.guard.port:
        return [Finding(what="guard", measured="guard.port = 0: where it listens is in its log")]
    if visit.cause("ports"):
        return [not_looked_at("guard", "ports")]
    live, holders = await _found(settings)
    if live.refused:
        return [_absent(settings)]
    guards = [each for each in holders if each.guards]
    if live.status is None:
        return [_silent(settings, guards, live)]
    whose = f", {guards[0]}, of process {guards[0].guards}" if guards else ""
    return [
        Finding(what="guard", measured=f"port {settings.guard.port}: answers in {live.milliseconds:g} ms{whose}"),
        *(await _reported(settings, guards) if live.status == _OK else [_stalled(live, guards)]),
    ]


async def _found(settings: Settings) -> tuple[Reply, list[Process]]:
    """Return what the guard answers, and who listens; one that has just died is waited for."""
    ends_at = time.monotonic() + (_COMES_BACK_SECONDS if await owners(settings) else 0)
    while True:
        live = await _ask(settings, "live")
        if not live.refused or time.monotonic() >= ends_at:
            return live, listeners(settings.guard.port)
        await asyncio.sleep(0.1)


async def _ask(settings: Settings, endpoint: str) -> Reply:
    host = settings.guard.host or settings.server.host
    return await fetch(host, settings.guard.port, f"{settings.server.prefix}/health/{endpoint}", _PATIENCE_SECONDS)


def _absent(settings: Settings) -> Finding:
    """Return what it means that nobody listens where the guard should."""
    holders = listeners(settings.server.port) if settings.server.port else []
    port = f"port {settings.guard.port}: nobody listens"
    if not holders:
        return Finding(what="guard", measured=f"{port}, and no service is seen", verdict=Verdict.UNKNOWN)
    who = holders[0]
    if settings.guard.enabled or any(each.is_command for each in holders):
        measured = f"{port}, though the service runs: {who}"
        return error("guard", measured, f"end process {who.pid} and start it again: it starts its guard")
    words = "an application has one where guard.enabled is true"
    return note("guard", f"{port}: the application has none", words)


def _silent(settings: Settings, guards: list[Process], live: Reply) -> Finding:
    why = live.words or f"takes connections, but does not answer within {_PATIENCE_SECONDS:g} s"
    remedy = f"kill -KILL {guards[0].pid}: the application starts another" if guards else "end what listens there"
    return error("guard", f"port {settings.guard.port}: {why}", remedy)


def _stalled(live: Reply, guards: list[Process]) -> Finding:
    """Return how old the heartbeat is, which the guard calls too old."""
    seconds = live.body.get("stalled_seconds")
    reason = "worker_stalled" if live.body.get("reason") == "worker_stalled" else "event_loop_stalled"
    figures = {"stalled_seconds": float(seconds)} if isinstance(seconds, (int, float)) else {}
    age = "".join(f" for {each:.1f} s" for each in figures.values())
    return error("heartbeat", f"{reason}{age}: a kubelet restarts it", _restart(guards), figures)


def _restart(guards: list[Process]) -> str:
    whose = f"process {guards[0].guards}" if guards else "it"
    return f"restart {whose}; where its threads stand is in its log: what blocks the event loop belongs into a thread"


async def _reported(settings: Settings, guards: list[Process]) -> list[Finding]:
    """Return what the application has published last: whether it still does, and what it says of its loop."""
    ready = await _ask(settings, "ready")
    checks = ready.body.get("checks")
    named = {name: each for name, each in checks.items() if isinstance(each, dict)} if isinstance(checks, dict) else {}
    if named.get("application", {}).get("reason") == "stalled":
        measured = "stalled: the application publishes nothing any more, so that its event loop seems blocked"
        return [error("heartbeat", measured, _restart(guards))]
    found = [Finding(what="heartbeat", measured="beats: the application is alive")]
    if named.get("workers", {}).get("reason") == "stalled":
        found = [
            warning("heartbeat", "beats, but not that of every worker: some stall, others serve", _restart(guards))
        ]
    if named.get("event_loop", {}).get("reason") == "stalled":
        lag = f"lags by more than health.loop_lag_warning_seconds = {settings.health.loop_lag_warning_seconds:g}"
        remedy = "where its threads stand is in its log: what blocks the event loop belongs into a thread"
        found.append(warning("loop", lag, remedy))
    if ready.status is None:
        measured = f"ready: {ready.words or 'no answer in time'}"
        return [*found, Finding(what="report", measured=measured, verdict=Verdict.UNKNOWN)]
    return [*found, Finding(what="report", measured=f"{ready.status} for ready, as the application published it")]
