"""A database for those who have no server: a file of SQLite that can be locked."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Self

_PATIENCE_SECONDS = 10.0
"""Longest wait for readers and writers to leave the file before it is locked."""


class HangingSqlite:
    """A file of SQLite, real in all but its size, that is locked on demand. A context manager.

    While it hangs, another connection holds the file exclusively: whoever reads waits, as behind a long write.

    Args:
        path: The file; it is made where there is none.

    Attributes:
        path: The same.
        url: Of SQLAlchemy, without a driver: `sqlite:////folder/file`.

    Raises:
        ValueError: The file has a write-ahead log, whose readers no lock holds up.
    """

    def __init__(self, path: str | Path) -> None:
        self.path: Path = Path(path).absolute()
        self.url: str = f"sqlite:///{self.path}"
        self._connection = sqlite3.connect(
            self.path, timeout=_PATIENCE_SECONDS, isolation_level=None, check_same_thread=False
        )
        (mode,) = self._connection.execute("PRAGMA journal_mode").fetchone()
        if mode == "wal":
            self._connection.close()
            raise ValueError(f"{self.path}: journal_mode is wal, in which readers wait for nobody; use another file")
        self._connection.execute("CREATE TABLE IF NOT EXISTS tasker_health_testing (id INTEGER)")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hang(self) -> None:
        """Lock it from now on.

        Raises:
            sqlite3.OperationalError: Somebody else's transaction has not ended within ten seconds.
        """
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN EXCLUSIVE")

    def release(self) -> None:
        """Unlock it."""
        if self._connection.in_transaction:
            self._connection.rollback()

    def close(self) -> None:
        """Unlock it, for good; the file stays."""
        self.release()
        self._connection.close()
