"""Slots: the name of a process, which outlives it.

DBOS gives orphaned work back to the executor that began it, so an executor's name must be the same at its next
start, and no two processes may bear one at the same time. A process takes the lowest free slot and holds it by a
lock that dies with it, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

_LOCK_CLASS = 0x73686F70
"""First key of the advisory locks; the second one is the slot."""

_MOST = 1000


class Slots(Protocol):
    """The slots of all processes that share one database. Not for use from several threads at once."""

    def take(self, number: int) -> bool:
        """Take slot *number*; return whether it was free."""

    def give_back(self, number: int) -> None:
        """Give slot *number* back."""

    def keep(self, number: int) -> bool:
        """Return whether slot *number*, taken before, is still held, or could be taken again."""

    def close(self) -> None:
        """Give back every slot."""


def take_lowest(slots: Slots) -> int:
    """Take the lowest slot that is free, and return its number, from 1."""
    for number in range(1, _MOST):
        if slots.take(number):
            return number
    raise RuntimeError(f"{_MOST} processes share this database already; end one of them")


class FileSlots:
    """Slots as locked files beside a SQLite database.

    Args:
        database: Path of the database.
    """

    def __init__(self, database: Path) -> None:
        self._database = database
        self._files: dict[int, int] = {}

    def take(self, number: int) -> bool:
        """Take slot *number*; return whether it was free."""
        path = self._database.with_name(f"{self._database.name}.shop-{number}.lock")
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._files[number] = file
        return True

    def give_back(self, number: int) -> None:
        """Give slot *number* back. Its file stays: to remove it would let two processes lock two files of one name."""
        os.close(self._files.pop(number))

    def keep(self, number: int) -> bool:
        """Return whether slot *number* is still held."""
        return number in self._files

    def close(self) -> None:
        """Give back every slot."""
        for number in list(self._files):
            self.give_back(number)


class AdvisorySlots:
    """Slots as advisory locks of PostgreSQL, held by one session that does nothing else.

    Args:
        url: Of the database.
    """

    def __init__(self, url: sa.URL) -> None:
        self._engine = sa.create_engine(
            url,
            poolclass=sa.NullPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"connect_timeout": 5, "application_name": "tasker-health demo: slot"},
        )
        self._session: sa.Connection | None = None

    def take(self, number: int) -> bool:
        """Take slot *number*; return whether it was free."""
        return self._ask("SELECT pg_try_advisory_lock(:class, :number)", number)

    def give_back(self, number: int) -> None:
        """Give slot *number* back."""
        self._ask("SELECT pg_advisory_unlock(:class, :number)", number)

    def keep(self, number: int) -> bool:
        """Return whether slot *number* is still held; a session that the server ended is opened again."""
        try:
            return self._ask("SELECT true", number)
        except DBAPIError:
            self.close()
            return self.take(number)

    def close(self) -> None:
        """Give back every slot."""
        session, self._session = self._session, None
        if session is not None:
            with contextlib.suppress(DBAPIError):
                session.invalidate()
            session.close()

    def _ask(self, statement: str, number: int) -> bool:
        if self._session is None:
            self._session = self._engine.connect()
        values = {"class": _LOCK_CLASS, "number": number} if ":class" in statement else {}
        return bool(self._session.execute(sa.text(statement), values).scalar_one())
