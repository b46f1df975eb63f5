"""What we must know of each database driver: how to connect, how to bound a statement, how to end a call.

Add one by adding a `Driver` to the table; a SQLAlchemy URL of any other driver is asked in a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

Arguments = tuple[sa.URL, dict[str, Any]]

KEEPALIVE_COUNT = 3
"""How often TCP asks a silent server before it gives the connection up; all of them take as long as the silence."""

PREPARE_AFTER = 5
"""How often PostgreSQL is asked a statement on one connection before it is prepared, as psycopg does by default."""


@dataclass(frozen=True)
class Tuning:
    """How a connection is made.

    Attributes:
        prepared_statements: Whether statements that are asked again and again may be prepared.
        keepalive_seconds: Silence after which TCP asks whether the server is still there; 0: as the machine does.
    """

    prepared_statements: bool = True
    keepalive_seconds: float = 30


@dataclass(frozen=True)
class Driver:
    """How one driver is used.

    Attributes:
        name: SQLAlchemy's name of it, such as `postgresql+psycopg`; empty: the URL's own, in a thread.
        remedy: What to do when it is not installed.
        connect_arguments: From the URL to the URL and the arguments to connect with.
        opened: Tunes a driver's connection that has been opened.
        begin: Opens a question in a new transaction and bounds its statements; given the connection and seconds.
        abort: Ends the call that a driver's connection is in, at once and without asking the server.
        drop: Lets go of a driver's connection whose event loop has ended.
    """

    name: str
    remedy: str
    connect_arguments: Callable[[sa.URL, Tuning], Arguments]
    opened: Callable[[Any, Tuning], None]
    begin: Callable[[sa.Connection, float], None]
    abort: Callable[[Any], Awaitable[None]]
    drop: Callable[[Any], None]

    @property
    def is_async(self) -> bool:
        """Whether it runs on the event loop; otherwise it holds a thread."""
        return bool(self.name)


def driver_of(url: sa.URL) -> Driver:
    """Return the driver that *url* is asked through, whichever the application itself uses for it."""
    return _BY_BACKEND.get(url.get_backend_name(), _IN_A_THREAD)


def _keepalive(tuning: Tuning) -> tuple[int, int]:
    """Return after how many seconds of silence TCP asks, and after how many it asks again."""
    idle = max(1, round(tuning.keepalive_seconds))
    return idle, max(1, round(idle / KEEPALIVE_COUNT))


def _nothing(_driver: Any, _tuning: Tuning) -> None:
    """Leave the connection as it is."""


# --- PostgreSQL -------------------------------------------------------------------------------------------------


def _postgresql_arguments(url: sa.URL, tuning: Tuning) -> Arguments:
    from tasker_health.psycopg_connection import Connection

    query = dict(url.query)
    if "ssl" in query:  # asyncpg's name for libpq's
        query.setdefault("sslmode", query.pop("ssl"))
    arguments: dict[str, Any] = {"application_name": "tasker-health"}
    if tuning.keepalive_seconds:
        idle, interval = _keepalive(tuning)
        arguments |= {"keepalives": 1, "keepalives_idle": idle, "keepalives_interval": interval}
        # While something was sent and nothing comes back, TCP asks by other clocks than those.
        lost_ms = (idle + interval * KEEPALIVE_COUNT) * 1000
        arguments |= {"keepalives_count": KEEPALIVE_COUNT, "tcp_user_timeout": lost_ms}
    own = {key: value for key, value in arguments.items() if key not in query}
    own["prepare_threshold"] = PREPARE_AFTER if tuning.prepared_statements else None
    own["async_creator_fn"] = Connection.connect
    return url.set(drivername="postgresql+psycopg", query=query), own


def _postgresql_begin(connection: sa.Connection, seconds: float) -> None:
    # Local to the transaction, so that a pooler in transaction mode hands nothing on to the next client.
    milliseconds = max(1, round(seconds * 1000))
    connection.exec_driver_sql(
        f"SET LOCAL statement_timeout = {milliseconds}; SET LOCAL lock_timeout = {milliseconds};"
        " SET LOCAL TIME ZONE 'UTC'"
    )


async def _postgresql_abort(driver: Any) -> None:
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(driver.fileno())) as own:
        own.shutdown(socket.SHUT_RDWR)


# --- MySQL and MariaDB ------------------------------------------------------------------------------------------


def _mysql_arguments(url: sa.URL, _tuning: Tuning) -> Arguments:
    return url.set(drivername=f"{url.get_backend_name()}+aiomysql"), {}


def _mysql_opened(driver: Any, tuning: Tuning) -> None:
    own = _mysql_socket(driver)
    if not tuning.keepalive_seconds or own.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    idle, interval = _keepalive(tuning)
    own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, idle)
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, interval)
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, (idle + interval * KEEPALIVE_COUNT) * 1000)


def _mysql_socket(driver: Any) -> Any:
    return driver._writer.transport.get_extra_info("socket")  # noqa: SLF001 -- nothing public has it


def _mysql_begin(connection: sa.Connection, seconds: float) -> None:
    if getattr(connection.dialect, "is_mariadb", False):
        limit = f"max_statement_time = {seconds:.3f}"
    else:
        limit = f"max_execution_time = {max(1, round(seconds * 1000))}"
    lock_seconds = max(1, round(seconds))
    connection.exec_driver_sql(
        f"SET SESSION {limit}, SESSION innodb_lock_wait_timeout = {lock_seconds}, SESSION time_zone = '+00:00'"
    )


async def _mysql_abort(driver: Any) -> None:
    driver.close()  # the socket only; `ensure_closed` would say goodbye and wait


def _mysql_drop(driver: Any) -> None:
    # Its transport cannot be closed without its event loop; the garbage collector has the rest.
    _mysql_socket(driver).shutdown(socket.SHUT_RDWR)


# --- SQLite -----------------------------------------------------------------------------------------------------


def _sqlite_arguments(url: sa.URL, _tuning: Tuning) -> Arguments:
    """Open the file only when it is there: a probe must not create the database that it misses."""
    own, arguments = url.set(drivername="sqlite+aiosqlite"), {"async_creator_fn": _sqlite_connected}
    if own.database in {None, "", ":memory:"} or str(own.database).startswith("file:"):
        return own, arguments
    path = quote(os.path.abspath(str(own.database)))  # noqa: PTH100 -- must not follow links
    return own.set(database=f"file:{path}", query={"uri": "true", "mode": "rw", **own.query}), arguments


async def _sqlite_connected(*where: Any, **how: Any) -> Any:
    """Connect; leave no thread where that fails: aiosqlite's would speak to an event loop that may have ended."""
    import aiosqlite

    connection = aiosqlite.connect(*where, **how)
    thread: Any = getattr(connection, "_thread", connection)  # it was a thread itself before aiosqlite 0.22
    thread.daemon = True
    try:
        return await connection
    except Exception:
        while thread.is_alive():  # noqa: ASYNC110 -- a thread that ends sets no event
            await asyncio.sleep(0.001)
        raise


def _sqlite_begin(connection: sa.Connection, seconds: float) -> None:
    # An interrupt does not end a wait for a lock, so that wait is bounded too.
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {max(1, round(seconds * 1000))}")


async def _sqlite_abort(driver: Any) -> None:
    await driver.interrupt()


# --- any other --------------------------------------------------------------------------------------------------


def _own_arguments(url: sa.URL, _tuning: Tuning) -> Arguments:
    return url, {}


def _own_begin(_connection: sa.Connection, _seconds: float) -> None:
    """Leave the connection as it is: what bounds its statements is not known."""


async def _own_abort(_driver: Any) -> None:
    """Leave the call: it holds its one thread until the driver gives up."""


_POSTGRESQL = Driver(
    "postgresql+psycopg",
    "pip install 'tasker-health[postgresql]'",
    _postgresql_arguments,
    _nothing,
    _postgresql_begin,
    _postgresql_abort,
    lambda driver: driver.pgconn.finish(),
)
_MYSQL = Driver(
    "mysql+aiomysql",
    "pip install 'tasker-health[mysql]'",
    _mysql_arguments,
    _mysql_opened,
    _mysql_begin,
    _mysql_abort,
    _mysql_drop,
)
_SQLITE = Driver(
    "sqlite+aiosqlite",
    "pip install 'tasker-health[sqlite]'",
    _sqlite_arguments,
    _nothing,
    _sqlite_begin,
    _sqlite_abort,
    lambda driver: driver.stop(),
)
_IN_A_THREAD = Driver(
    "",
    "install the driver that the URL names",
    _own_arguments,
    _nothing,
    _own_begin,
    _own_abort,
    lambda driver: driver.close(),
)

_BY_BACKEND = {"postgresql": _POSTGRESQL, "mysql": _MYSQL, "mariadb": _MYSQL, "sqlite": _SQLITE}
