"""`tasker-health doctor database`: measures the path to the database here and now, and says what to change."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence

from tasker_health.cli.doctor.database_asking import DatabaseAsking
from tasker_health.cli.doctor.database_speed import DatabaseSpeed
from tasker_health.cli.doctor.findings import (
    SLOW_ANSWERS,
    Finding,
    Verdict,
    causing,
    error,
    not_looked_at,
    tell,
    warning,
)
from tasker_health.cli.doctor.walk import Visit
from tasker_health.cli.logs import set_up_logging
from tasker_health.cli.probe import say
from tasker_health.errors import DatabaseFault, SettingsError
from tasker_health.model import Reason
from tasker_health.settings import Settings

NOT_ASKED = 2

_AWAY = {Reason.TIMEOUT, Reason.REFUSED, Reason.UNREACHABLE}

_REMEDIES = {
    Reason.TIMEOUT: "see whether the server is paused, or a firewall swallows what is sent",
    Reason.REFUSED: "start the server, or correct host and port of database.url",
    Reason.UNREACHABLE: "correct host and port of database.url, or open the way there",
    Reason.AUTHENTICATION_FAILED: "correct user and password of database.url, or grant what is missing",
    Reason.TOO_MANY_CONNECTIONS: "raise the server's maximum, or close what others leave open",
    Reason.MISSING: "create it, or correct database.url",
}

Step = Callable[[], Awaitable[list[Finding]]]


def examine_database(settings: Settings, *, as_json: bool) -> int:
    """Print what was found of `database.url`; return 1 when something is to be changed, 2 if it cannot be asked.

    Raises:
        ConfigurationError: There is no URL, or it cannot work.
    """
    set_up_logging(settings.log)
    if settings.database.url is None:
        raise SettingsError("database.url", "not set", "name the database that is to be examined")
    try:
        findings = asyncio.run(examined(settings, settings.database.url.get_secret_value()))
    except DatabaseFault as fault:
        say(sys.stderr, f"tasker-health: the database cannot be asked: {'; '.join(told(fault))}\n")
        return NOT_ASKED
    return tell(findings, as_json=as_json)


async def look(visit: Visit) -> list[Finding]:
    """Return what is found of the path to the database, and of its speed; other parts have connections and clocks."""
    url = visit.settings.database.url
    if url is None:
        return [Finding(what="database.url", measured="not set: readiness asks no database")]
    try:
        found = await examined(visit.settings, url.get_secret_value(), ("query", "server", "connect"))
    except DatabaseFault as fault:
        if fault.reason in {Reason.TOO_MANY_CONNECTIONS, Reason.POOL_EXHAUSTED}:
            return [not_looked_at("path", "pool")]
        return [error("path", *told(fault))]
    others = {"connections", "idle connections", "pooler", "proxy", "clocks"}
    return causing(SLOW_ANSWERS, [each for each in found if each.what not in others], {"query", "connect"})


async def examined(
    settings: Settings, url: str, steps: Sequence[str] = ("query", "server", "connect", "pool")
) -> list[Finding]:
    """Return what is found of the database at *url*.

    Args:
        settings: Of the service.
        url: Of the database.
        steps: What is looked at, in this order.

    Raises:
        DatabaseFault: The first question was not answered.
    """
    asking = DatabaseAsking(settings.database, url)
    speed = DatabaseSpeed(asking, settings.health.readiness_timeout_seconds)

    async def server() -> list[Finding]:
        found, speed.free = await _server(asking, settings)
        return found

    try:
        await asking.ask(lambda _connection: None)
        known: dict[str, Step] = {
            "query": lambda: _alone(speed.query()),
            "server": server,
            "connect": lambda: _alone(speed.connect()),
            "pool": lambda: _alone(speed.pool()),
        }
        return await _one_by_one({step: known[step] for step in steps})
    finally:
        await asking.close()


async def _server(asking: DatabaseAsking, settings: Settings) -> tuple[list[Finding], int | None]:
    """Return what is found in the server, and how many more connections it takes, where that is known."""
    if asking.pool.dialect == "postgresql":
        from tasker_health.cli.doctor.postgresql import examine_postgresql

        return await examine_postgresql(asking, settings)
    if asking.pool.dialect in {"mysql", "mariadb"}:
        from tasker_health.cli.doctor.mysql import examine_mysql

        return await examine_mysql(asking, settings)
    if asking.pool.dialect == "sqlite":
        from tasker_health.cli.doctor.sqlite import examine_sqlite

        return await examine_sqlite(asking), None
    return [], None


async def _alone(measured: Awaitable[Finding]) -> list[Finding]:
    return [await measured]


async def _one_by_one(steps: dict[str, Step]) -> list[Finding]:
    """Return what is found until the database answers no more."""
    found: list[Finding] = []
    for what, step in steps.items():
        try:
            found += await step()
        except DatabaseFault as fault:
            found.append(warning(what, *told(fault)))
            if fault.reason in _AWAY:
                return [*found, Finding(what="the rest", measured="not measured", verdict=Verdict.UNKNOWN)]
    return found


def told(fault: DatabaseFault) -> tuple[str, str]:
    """Return *fault* in words, and what to do about it."""
    return f"{fault.reason}: {fault}", _REMEDIES.get(fault.reason, "see the server's log")
