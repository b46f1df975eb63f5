"""`tasker-health check`: the questions of /ready and /status, asked in this process."""

from __future__ import annotations

import asyncio
import sys

import msgspec
from rich.table import Table

from tasker_health.cli.console import Told
from tasker_health.cli.logs import set_up_logging
from tasker_health.cli.probe import forget
from tasker_health.health import Health
from tasker_health.model import CheckStatus, Readiness, StatusReport, SystemStatus
from tasker_health.settings import Settings
from tasker_health.web.tls import certificate_of

HEALTHY, UNHEALTHY = 0, 1

_COLOURS = {"ok": "green", "healthy": "green", "degraded": "yellow", "error": "red", "unhealthy": "red"}


def check_once(settings: Settings, *, fail_on: str, as_json: bool) -> int:
    """Print what /ready and /status answer now; return 0 when all is well and 1 when it is not.

    Raises:
        ConfigurationError: The settings cannot work.
    """
    set_up_logging(settings.log)
    health = Health(settings)
    certificate = certificate_of(settings.server)
    if certificate is not None:
        health.configuration.cautions.append(certificate.problems)
    ready, status = asyncio.run(_ask(health))
    try:
        if as_json:
            print(msgspec.json.encode({"ready": ready, "status": status}).decode(), flush=True)
        else:
            _print(ready, status)
    except OSError:  # nobody reads it; the code tells all the same
        forget(sys.stdout)
    return _code(ready, status, fail_on)


async def _ask(health: Health) -> tuple[Readiness, StatusReport | None]:
    """Return both answers; without a source there is no work to ask about, and so no status."""
    try:
        ready = await health.ready()
        return ready, await health.monitor.status() if health.settings.sources else None
    finally:
        await health.stop()


def _code(ready: Readiness, status: StatusReport | None, fail_on: str) -> int:
    if not ready.ready or (status is not None and status.status is SystemStatus.UNHEALTHY):
        return UNHEALTHY
    degraded = any(result.status is not CheckStatus.OK for result in ready.checks.values())
    degraded = degraded or (status is not None and status.status is SystemStatus.DEGRADED)
    return UNHEALTHY if degraded and fail_on == "degraded" else HEALTHY


def _print(ready: Readiness, status: StatusReport | None) -> None:
    table = Table("check", "status", "reason", "ms", box=None)
    for name, result in ready.checks.items():
        milliseconds = result.response_time_ms if isinstance(result.response_time_ms, int) else ""
        table.add_row(name, _coloured(result.status), str(result.reason or ""), str(milliseconds))
    if status is not None:
        for name, source in status.sources.items():
            why = [str(source.reason)] if source.reason else [str(reason) for reason in source.reasons]
            table.add_row(f"source {name}", _coloured(source.status), ", ".join(why), "")
    console = Told()
    console.print(table)
    console.print(f"ready: {_coloured('ok' if ready.ready else 'error')}", end="")
    console.print(f"  status: {_coloured(status.status)}" if status is not None else "  status: no source configured")


def _coloured(word: str) -> str:
    return f"[{_COLOURS.get(word, 'white')}]{word}[/]"
