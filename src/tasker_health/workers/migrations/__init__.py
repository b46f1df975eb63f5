"""The migrations of the table of heartbeats, by Alembic, in a version table of its own.

A worker applies them when `workers.make_table` says so; else who owns the database, by `tasker-health workers migrate`.
Both run the statements that `--sql` prints: they are written first, and then run one by one under a lock. Alembic's own
way of running them has one connection in the whole process, and workers in several threads may begin at once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tasker_health.errors import DatabaseFault, LedgerFault
from tasker_health.model import Reason

if TYPE_CHECKING:  # an extra, which who only reads heartbeats needs not
    from alembic.script import ScriptDirectory

VERSION_TABLE = "tasker_health_version"
HEAD = "0001"
"""The newest of them."""

KNOWN = (HEAD,)
"""All of them, the oldest first."""

_LOCK = 0x7461736B_65726865
"""Of PostgreSQL, for one transaction."""

_SECONDS = 30
"""Longest wait for the lock of MariaDB and MySQL; the question's own deadline may be sooner."""

_MAKES_VERSION = f"CREATE TABLE {VERSION_TABLE} "
_MAKES_VERSION_IF_MISSING = f"CREATE TABLE IF NOT EXISTS {VERSION_TABLE} "

_writing = threading.Lock()


def upgrade(connection: sa.Connection, version: str | None) -> None:
    """Bring the table from *version* up to date within the transaction of *connection*; whoever calls commits it.

    Args:
        connection: Under `locked`.
        version: Which it has; `None`: it is not there, or is and nobody has written down its version.

    Raises:
        LedgerFault: Alembic is not installed.
        DBAPIError: The database refuses.
    """
    for statement in _statements(connection.dialect.name, version):
        # The table of versions may have been left when the other one was dropped.
        connection.exec_driver_sql(statement.replace(_MAKES_VERSION, _MAKES_VERSION_IF_MISSING, 1))


def statements(dialect: str) -> str:
    """Return in SQL what brings a database of *dialect* without the table up to date.

    Raises:
        LedgerFault: Alembic is not installed.
    """
    return "".join(f"{each};\n\n" for each in _statements(dialect, None))


@contextmanager
def locked(connection: sa.Connection) -> Iterator[None]:
    """Let nobody else bring the table up to date meanwhile, and see what others have done before.

    Raises:
        DatabaseFault: Somebody else takes too long.
    """
    name = connection.dialect.name
    if name == "postgresql":
        # Where `repeatable read` is the default, what was done before the lock would not be seen behind it.
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
        yield
    elif name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        yield
    else:
        if connection.exec_driver_sql(f"SELECT GET_LOCK('{VERSION_TABLE}', {_SECONDS})").scalar() != 1:
            raise DatabaseFault(Reason.TIMEOUT, "another process makes the table of heartbeats")
        yield
        connection.commit()  # before the next one looks
        # Where something is raised the connection is closed, and that gives it up, too.
        connection.exec_driver_sql(f"SELECT RELEASE_LOCK('{VERSION_TABLE}')")


class _Written:
    """Takes the statements that Alembic writes, each for itself: the part of a file that it uses."""

    def __init__(self) -> None:
        self.statements: list[str] = []

    def write(self, text: str) -> None:
        statement = text.strip().rstrip(";")
        if statement and not statement.startswith("--") and statement not in {"BEGIN", "COMMIT"}:
            self.statements.append(statement)

    def flush(self) -> None:
        """Do nothing: it is all here."""


def _statements(dialect: str, version: str | None) -> list[str]:
    try:
        from alembic.config import Config
        from alembic.runtime.environment import EnvironmentContext
        from alembic.script import ScriptDirectory
    except ModuleNotFoundError as error:
        remedy = "pip install 'tasker-health[workers]'"
        raise LedgerFault(
            Reason.MISSING, f"the table of heartbeats is not there to be made: {error.name} is not installed; {remedy}"
        ) from None
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    script = ScriptDirectory.from_config(config)
    written = _Written()
    # Nothing in here waits, so a lock of threads is enough: Alembic's `op` is one for the whole process.
    with (
        _writing,
        EnvironmentContext(config, script, fn=_to_head(script), as_sql=True, destination_rev="head") as context,
    ):
        context.configure(
            dialect_name=dialect,
            output_buffer=written,  # type: ignore[arg-type]
            starting_rev=version,
            version_table=VERSION_TABLE,
        )
        with context.begin_transaction():
            context.run_migrations()
    return written.statements


def _to_head(script: ScriptDirectory) -> object:
    def steps(revision: object, _context: object) -> object:
        return script._upgrade_revs("head", revision)  # type: ignore[arg-type]  # noqa: SLF001 -- as Alembic's command

    return steps
