"""The tables of DBOS without DBOS: as its own migrations make them, in a SQLite file."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from dbos._migration import sqlite_migrations


def empty_engine(file: Path) -> Path:
    """Make *file*, a database with the tables of DBOS and nothing in them, and return it."""
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE dbos_migrations (version INTEGER NOT NULL PRIMARY KEY)")
    connection.executescript(";".join(sqlite_migrations))
    connection.execute("INSERT INTO dbos_migrations VALUES (?)", (len(sqlite_migrations),))
    connection.commit()
    connection.close()
    return file
