"""What we must know of each database driver: how to connect, how to bound a statement, how to end a call.

Add one by adding a `Driver` to the table; a SQLAlchemy URL of any other driver is asked in a thread of its own.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

Arguments = tuple[sa.URL, dict[str, Any]]


@dataclass(frozen=True)
class Driver:
    """How one driver is used.

    Attributes:
        name: SQLAlchemy's name of it, such as `postgresql+psycopg`; empty: the URL's own, in a thread.
        remedy: What to do when it is not installed.
        connect_arguments: From the URL to the URL and the arguments to connect with.
        begin: Opens a question in a new transaction and bounds its statements; given the connection and seconds.
        abort: Ends the call that a driver's connection is in, at once and without asking the server.
        drop: Lets go of a driver's connection whose event loop has ended.
    """

    name: str
    remedy: str
    connect_arguments: Callable[[sa.URL], Arguments]
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


# --- PostgreSQL -------------------------------------------------------------------------------------------------


def _postgresql_arguments(url: sa.URL) -> Arguments:
    query = dict(url.query)
    if "ssl" in query:  # asyncpg's name for libpq's
        query.setdefault("sslmode", query.pop("ssl"))
    arguments = {"application_name": "tasker-health"}
    return (
        url.set(drivername="postgresql+psycopg", query=query),
        {key: value for key, value in arguments.items() if key not in query},
    )


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


def _mysql_arguments(url: sa.URL) -> Arguments:
    return url.set(drivername=f"{url.get_backend_name()}+aiomysql"), {}


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
    driver._writer.transport.get_extra_info("socket").shutdown(socket.SHUT_RDWR)  # noqa: SLF001 -- nothing public has it


# --- SQLite -----------------------------------------------------------------------------------------------------


def _sqlite_arguments(url: sa.URL) -> Arguments:
    """Open the file only when it is there: a probe must not create the database that it misses."""
    own = url.set(drivername="sqlite+aiosqlite")
    if own.database in {None, "", ":memory:"} or str(own.database).startswith("file:"):
        return own, {}
    path = quote(os.path.abspath(str(own.database)))  # noqa: PTH100 -- must not follow links
    return own.set(database=f"file:{path}", query={"uri": "true", "mode": "rw", **own.query}), {}


def _sqlite_begin(connection: sa.Connection, seconds: float) -> None:
    # An interrupt does not end a wait for a lock, so that wait is bounded too.
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {max(1, round(seconds * 1000))}")


async def _sqlite_abort(driver: Any) -> None:
    await driver.interrupt()


# --- any other --------------------------------------------------------------------------------------------------


def _own_arguments(url: sa.URL) -> Arguments:
    return url, {}


def _own_begin(_connection: sa.Connection, _seconds: float) -> None:
    """Leave the connection as it is: what bounds its statements is not known."""


async def _own_abort(_driver: Any) -> None:
    """Leave the call: it holds its one thread until the driver gives up."""


_POSTGRESQL = Driver(
    "postgresql+psycopg",
    "pip install 'tasker-health[postgresql]'",
    _postgresql_arguments,
    _postgresql_begin,
    _postgresql_abort,
    lambda driver: driver.pgconn.finish(),
)
_MYSQL = Driver(
    "mysql+aiomysql",
    "pip install 'tasker-health[mysql]'",
    _mysql_arguments,
    _mysql_begin,
    _mysql_abort,
    _mysql_drop,
)
_SQLITE = Driver(
    "sqlite+aiosqlite",
    "pip install 'tasker-health[sqlite]'",
    _sqlite_arguments,
    _sqlite_begin,
    _sqlite_abort,
    lambda driver: driver.stop(),
)
_IN_A_THREAD = Driver(
    "", "install the driver that the URL names", _own_arguments, _own_begin, _own_abort, lambda driver: driver.close()
)

_BY_BACKEND = {"postgresql": _POSTGRESQL, "mysql": _MYSQL, "mariadb": _MYSQL, "sqlite": _SQLITE}
