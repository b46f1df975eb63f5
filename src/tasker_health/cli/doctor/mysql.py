"""What a doctor looks at in MySQL and MariaDB: limits, time-outs, and whether a proxy stands between."""

from __future__ import annotations

import ssl
import time
from typing import Any

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
from tasker_health.cli.doctor.findings import Finding, note
from tasker_health.settings import Settings

_SERVER = """
SELECT version() AS version, connection_id() AS id, @@max_connections AS maximum, @@wait_timeout AS idle,
    @@global.read_only AS refuses_writes, @@global.{limit} AS statement
"""


async def examine_mysql(asking: DatabaseAsking, settings: Settings) -> tuple[list[Finding], int]:
    """Return what is found, and how many more connections the server takes.

    Raises:
        DatabaseFault: It did not answer.
    """

    def look(connection: sa.Connection) -> tuple[Any, int, Network, int, float, float]:
        is_mariadb = getattr(connection.dialect, "is_mariadb", False)
        limit = "max_statement_time" if is_mariadb else "max_execution_time"
        server = connection.exec_driver_sql(_SERVER.format(limit=limit)).one()
        used = int(connection.exec_driver_sql("SHOW GLOBAL STATUS LIKE 'Threads_connected'").one()[1])
        asked = time.time()
        there = float(connection.exec_driver_sql("SELECT unix_timestamp(now(6))").scalar_one())
        answered = time.time()
        driver = connection.connection.driver_connection
        ahead = there - (asked + answered) / 2
        return server, used, _network(driver), driver.thread_id(), ahead, answered - asked  # type: ignore[union-attr]

    server, used, network, greeted_as, ahead, round_trip = await asking.ask(look)
    theirs = float(server.statement) / (1 if "mariadb" in server.version.lower() else 1000)
    words = f"ours {asking.settings.statement_timeout_seconds:g} s, set for each question; the server's own: "
    remedy = f"raise max_connections above {server.maximum}, or lower wait_timeout for those who sleep"
    findings = [
        Finding(what="server", measured=server.version),
        connections(used, server.maximum, settings.health.degraded_connection_ratio, remedy),
        transport(network, "database.url cannot ask for TLS here: let the way be one that nobody else reads"),
        keepalive(network, asking.settings),
        Finding(what="statement time-out", measured=words + (f"{theirs:g} s" if theirs else "none")),
        idle_end(float(server.idle), "wait_timeout", "raise wait_timeout for this user's sessions"),
        writing("read_only is on" if server.refuses_writes else "", asking.settings),
        clocks(ahead, round_trip),
        _proxy(stands_between=greeted_as != server.id),
    ]
    return [each for each in findings if each is not None], server.maximum - used


def _network(driver: Any) -> Network:
    transport_ = driver._writer.transport  # noqa: SLF001 -- nothing public has it
    tls: Any = transport_.get_extra_info("ssl_object")
    verified = tls is not None and tls.context.verify_mode is ssl.CERT_REQUIRED
    return network_of(transport_.get_extra_info("socket"), tls=tls.version() if tls else "", verified=verified)


def _proxy(*, stands_between: bool) -> Finding:
    if stands_between:
        return note("proxy", "one stands between", "what is measured here is its answer and the server's")
    return Finding(what="proxy", measured="none: the server answers itself")
