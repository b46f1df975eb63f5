"""Where the shop keeps everything: a SQLite file of its own, or a PostgreSQL that several processes share."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError

from tasker_health.demo.slots import AdvisorySlots, FileSlots, Slots
from tasker_health.errors import ConfigurationError
from tasker_health.redaction import redacted

DEFAULT_FILE = Path(".tasker-health") / "shop.sqlite"

_BUSY_SECONDS = 30


class Place:
    """The database of the shop.

    Args:
        database_url: A SQLAlchemy URL of SQLite or PostgreSQL; `None`: `.tasker-health/shop.sqlite`, here.

    Raises:
        ConfigurationError: It is neither.
    """

    def __init__(self, database_url: str | None) -> None:
        given = f"sqlite:///{DEFAULT_FILE}" if database_url is None else database_url
        try:
            url = sa.make_url(given)
        except (ArgumentError, ValueError):
            raise _not_usable(given, "not a URL") from None
        self._file: Path | None = None
        if url.get_backend_name() == "sqlite":
            if url.database in {None, "", ":memory:"} or str(url.database).startswith("file:"):
                raise _not_usable(given, "it must outlive the process")
            self._file = Path(str(url.database)).absolute()
            url = url.set(drivername="sqlite", database=str(self._file))
        elif url.get_backend_name() == "postgresql":
            url = url.set(drivername="postgresql")
        else:
            raise _not_usable(given, "DBOS does not run on it")
        self._url = url

    @property
    def url(self) -> str:
        """Its URL, with the password in it."""
        return self._url.render_as_string(hide_password=False)

    def __str__(self) -> str:
        """Its URL as it may be shown."""
        return redacted(str(self._url))

    def prepare(self) -> None:
        """Make the SQLite file, in WAL mode: DBOS leaves it in a mode in which a reader holds up its writers.

        Raises:
            ConfigurationError: The file cannot be made or written.
        """
        if self._file is None:
            return
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self._file, timeout=_BUSY_SECONDS)
            try:
                connection.execute("PRAGMA journal_mode = WAL").fetchone()  # lasts; a new connection finds it so
                connection.execute("BEGIN IMMEDIATE")  # finds a file that cannot be written
                connection.rollback()
            finally:
                connection.close()
        except (OSError, sqlite3.Error) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise ConfigurationError(
                f"--database-url {self}: {why}; name a file that can be written, or start where one can be made"
            ) from None

    def engine(self) -> sa.Engine:
        """Return a synchronous engine of the shop's own."""
        if self._file is not None:
            return sa.create_engine(self._url, connect_args={"timeout": _BUSY_SECONDS})
        return sa.create_engine(self._driver_url(), connect_args={"connect_timeout": 5}, pool_pre_ping=True)

    def slots(self) -> Slots:
        """Return the slots of the processes that share this place."""
        return AdvisorySlots(self._driver_url()) if self._file is None else FileSlots(self._file)

    def _driver_url(self) -> sa.URL:
        return self._url.set(drivername="postgresql+psycopg")


def _not_usable(given: str, why: str) -> ConfigurationError:
    shown = redacted(given) if "://" in given else "***"
    return ConfigurationError(
        f"--database-url {shown}: {why}; allowed are postgresql://user@host:5432/name and sqlite:////path/to/file"
    )
