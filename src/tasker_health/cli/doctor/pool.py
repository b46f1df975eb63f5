"""What a doctor finds of the connections to the database: are there enough, who holds them, how long is the wait."""

from __future__ import annotations

import sqlalchemy as sa

from tasker_health.cli.doctor.database import examined, told
from tasker_health.cli.doctor.database_asking import DatabaseAsking
from tasker_health.cli.doctor.findings import SLOW_ANSWERS, Finding, Verdict, causing, error, not_looked_at
from tasker_health.cli.doctor.walk import Visit
from tasker_health.errors import DatabaseFault
from tasker_health.model import Reason

THINGS = frozenset({"connections", "idle connections", "pooler", "proxy", "pool", "the rest"})

_POSTGRESQL_HOLDERS = """
SELECT coalesce(nullif(application_name, ''), usename, 'unnamed') AS who, count(*) AS number
FROM pg_catalog.pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3
"""
_MYSQL_HOLDERS = """
SELECT user AS who, count(*) AS number FROM information_schema.processlist GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3
"""
_HOLDERS = {"postgresql": _POSTGRESQL_HOLDERS, "mysql": _MYSQL_HOLDERS, "mariadb": _MYSQL_HOLDERS}


async def look(visit: Visit) -> list[Finding]:
    """Return whether there are connections enough at the server, and in our pool."""
    url = visit.settings.database.url
    if url is None:
        return []
    if cause := visit.cause("database"):
        return [not_looked_at("pool", cause)]
    try:
        found = await examined(visit.settings, url.get_secret_value(), ("server", "pool"))
    except DatabaseFault as fault:
        if fault.reason in {Reason.TOO_MANY_CONNECTIONS, Reason.POOL_EXHAUSTED}:
            return causing(SLOW_ANSWERS, [error("connections", *told(fault))])
        return [not_looked_at("pool", "database")]
    found = [each for each in found if each.what in THINGS]
    if any(each.verdict is Verdict.WARNING for each in found if each.what in {"connections", "pool"}):
        found += await _holders(visit, url.get_secret_value())
    return causing(SLOW_ANSWERS, found, {"pool"})


async def _holders(visit: Visit, url: str) -> list[Finding]:
    """Return who holds the most connections, where that may be seen."""
    asking = DatabaseAsking(visit.settings.database, url)
    try:
        query = _HOLDERS.get(asking.pool.dialect)
        if query is None:
            return []

        def ask(connection: sa.Connection) -> list[tuple[str, int]]:
            return [(row.who, row.number) for row in connection.exec_driver_sql(query)]

        rows = await asking.ask(ask)
    except DatabaseFault:
        return []
    finally:
        await asking.close()
    words = ", ".join(f"{who}: {number}" for who, number in rows)
    return [Finding(what="who holds them", measured=words, verdict=Verdict.NOTE)]
