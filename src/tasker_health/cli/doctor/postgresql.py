"""What a doctor looks at in PostgreSQL: its limits, its time-outs, and whether a pooler stands between."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import Any, NamedTuple

import sqlalchemy as sa

from tasker_health.cli.doctor.database_asking import DatabaseAsking
from tasker_health.cli.doctor.database_network import (
    Network,
    clocks,
    connections,
    idle_end,
    keepalive,
    network_of,
    transport,
    writing,
)
from tasker_health.cli.doctor.findings import Finding, Verdict, note, warning
from tasker_health.driver import PREPARE_AFTER
from tasker_health.settings import Settings

_ROUNDS = 3
_LONG_SECONDS = 600
_HOLD_SECONDS = 0.25
"""How long one client keeps a connection of the server busy while another one asks."""

_SERVER = """
SELECT current_setting('server_version') AS version, pg_backend_pid() AS pid,
    current_setting('max_connections')::integer AS maximum,
    current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer
        - coalesce(current_setting('reserved_connections', true), '0')::integer AS usable,
    (SELECT coalesce(sum(numbackends), 0)::integer FROM pg_catalog.pg_stat_database) AS used,
    current_setting('default_transaction_read_only') = 'on' AS refuses_writes, pg_is_in_recovery() AS is_standby
"""
_TIME_OUTS = """
SELECT name, CASE WHEN left(name, 3) = 'tcp' THEN setting ELSE reset_val END AS value FROM pg_catalog.pg_settings
WHERE name IN ('statement_timeout', 'idle_session_timeout', 'tcp_keepalives_idle', 'tcp_keepalives_interval',
    'tcp_keepalives_count')
"""
_CLOCK = "SELECT extract(epoch FROM clock_timestamp())::float8"
_PREPARED = "SELECT count(*) FROM pg_catalog.pg_prepared_statements"


class _Seen(NamedTuple):
    """What one connection sees of its server."""

    server: Any
    time_outs: dict[str, int]
    network: Network
    is_pooled: bool
    ahead_seconds: float
    round_trip_seconds: float


def _look(connection: sa.Connection) -> _Seen:
    server = connection.exec_driver_sql(_SERVER).one()
    time_outs = {row.name: int(row.value) for row in connection.exec_driver_sql(_TIME_OUTS)}
    asked = time.time()
    there = connection.exec_driver_sql(_CLOCK).scalar_one()
    answered = time.time()
    pgconn = _driver(connection).pgconn
    with socket.socket(fileno=os.dup(pgconn.socket)) as own:
        mode = next((each.val for each in pgconn.info if each.keyword == b"sslmode"), b"")
        network = network_of(
            own, tls="TLS" if pgconn.ssl_in_use else "", verified=mode in {b"verify-ca", b"verify-full"}
        )
    is_pooled = pgconn.backend_pid != server.pid
    return _Seen(server, time_outs, network, is_pooled, there - (asked + answered) / 2, answered - asked)


def _driver(connection: sa.Connection) -> Any:
    return connection.connection.driver_connection


async def examine_postgresql(asking: DatabaseAsking, settings: Settings) -> tuple[list[Finding], int]:
    """Return what is found, and how many more connections the server takes.

    Raises:
        DatabaseFault: It did not answer.
    """
    seen = await asking.ask(_look)
    mode = await _pooling(asking) if seen.is_pooled else ""
    server, ratio = seen.server, settings.health.degraded_connection_ratio
    findings = [
        Finding(what="server", measured=f"PostgreSQL {server.version}{', a standby' if server.is_standby else ''}"),
        connections(server.used, server.maximum, ratio, "raise max_connections, or put a pooler before it"),
        transport(seen.network, "add ?sslmode=verify-full&sslrootcert=/path/to/ca.pem to database.url"),
        keepalive(seen.network, asking.settings),
        *_time_outs(seen, asking),
        writing(_why_read_only(server), asking.settings),
        clocks(seen.ahead_seconds, seen.round_trip_seconds),
        _pooler(mode),
        await _prepared(asking, mode),
    ]
    return [each for each in findings if each is not None], server.usable - server.used


def _time_outs(seen: _Seen, asking: DatabaseAsking) -> list[Finding]:
    own = asking.settings.statement_timeout_seconds
    theirs = seen.time_outs["statement_timeout"] / 1000
    words = f"ours {own:g} s, set for each question; the server's own: {f'{theirs:g} s' if theirs else 'none'}"
    idle = seen.time_outs.get("idle_session_timeout", 0) / 1000
    silence = seen.time_outs["tcp_keepalives_idle"]
    found = [
        Finding(what="statement time-out", measured=words),
        idle_end(idle, "idle_session_timeout", "ALTER ROLE of this user SET idle_session_timeout = 0"),
    ]
    if silence:
        notices = silence + seen.time_outs["tcp_keepalives_count"] * seen.time_outs["tcp_keepalives_interval"]
        what, words = "server's keepalive", f"a client that has died keeps its connection there for {notices} s"
        remedy = "tcp_keepalives_idle = 60, tcp_keepalives_interval = 10 on the server: it is free after two minutes"
        found.append(Finding(what=what, measured=words) if notices <= _LONG_SECONDS else note(what, words, remedy))
    return found


def _why_read_only(server: Any) -> str:
    if server.is_standby:
        return "a standby"
    return "default_transaction_read_only is on" if server.refuses_writes else ""


async def _pooling(asking: DatabaseAsking) -> str:
    """Return how the pooler lends its connections: `transaction`, or `session` as far as can be seen.

    One client that is idle keeps its connection in session mode, whatever another one does meanwhile.
    """
    for _ in range(_ROUNDS):
        mine = await asking.ask(_process)
        begun = asyncio.Event()
        process: list[int] = []

        def hold(connection: sa.Connection, begun: asyncio.Event = begun, process: list[int] = process) -> None:
            process.append(_process(connection))
            begun.set()
            connection.exec_driver_sql(f"SELECT pg_sleep({_HOLD_SECONDS})")

        holding = asyncio.ensure_future(asking.ask(hold, asking.other))
        beginning = asyncio.ensure_future(begun.wait())
        await asyncio.wait({holding, beginning}, return_when=asyncio.FIRST_COMPLETED)
        beginning.cancel()
        now = await asking.ask(_process)
        await holding
        if now != mine or mine in process:
            return "transaction"
    return "session"


def _process(connection: sa.Connection) -> int:
    found: int = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
    return found


def _pooler(mode: str) -> Finding:
    if not mode:
        return Finding(what="pooler", measured="none: the server answers itself")
    if mode == "session":
        return Finding(what="pooler", measured="one stands between; each client keeps its connection (session mode)")
    words = "one stands between; each transaction may get another connection (transaction mode)"
    return Finding(what="pooler", measured=words)


async def _prepared(asking: DatabaseAsking, mode: str) -> Finding:
    what = "prepared statements"
    if not mode:
        return await _prepared_directly(asking, what)
    wanted = asking.settings.prepared_statements
    if not wanted:
        return Finding(what=what, measured="off, as they must be behind a pooler in transaction mode")
    if mode == "session":
        return note(what, "left off: a pooler stands between", "ask the server itself to have them")
    words = "wanted, and left off: behind such a pooler their names mean what others have prepared, or nothing"
    remedy = "database.prepared_statements = false (TASKER_DATABASE__PREPARED_STATEMENTS=false)"
    return warning(what, words, f"{remedy} says so, and spares a question at each connect")


async def _prepared_directly(asking: DatabaseAsking, what: str) -> Finding:
    if not asking.settings.prepared_statements:
        return note(what, "off", "nothing stands between: database.prepared_statements = true spares planning")

    def ask(connection: sa.Connection) -> int:
        for _ in range(PREPARE_AFTER + 1):
            connection.exec_driver_sql("SELECT 1")
        found: int = connection.exec_driver_sql(_PREPARED).scalar_one()
        return found

    count = await asking.ask(ask)
    if count:
        return Finding(what=what, measured=f"on: what was asked {PREPARE_AFTER} times on a connection")
    return Finding(what=what, measured="on, and none was prepared", verdict=Verdict.UNKNOWN)
