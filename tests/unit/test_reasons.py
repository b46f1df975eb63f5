"""Which reason of the closed list an exception stands for."""

from __future__ import annotations

import errno
import socket
import sqlite3
import ssl

import pytest
import sqlalchemy.exc

from tasker_health.errors import CheckFailed, DatabaseFault
from tasker_health.model import Reason
from tasker_health.reasons import reason_of, words_of


class WithStateError(Exception):
    """An exception of a PostgreSQL driver."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__("text")
        self.sqlstate = sqlstate


class DriverError(Exception):
    """An exception of a driver that only speaks."""


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (WithStateError("28P01"), Reason.AUTHENTICATION_FAILED),
        (WithStateError("53300"), Reason.TOO_MANY_CONNECTIONS),
        (WithStateError("3D000"), Reason.MISSING),
        (WithStateError("42P01"), Reason.MISSING),
        (WithStateError("25006"), Reason.READ_ONLY),
        (WithStateError("57014"), Reason.TIMEOUT),
        (WithStateError("55P03"), Reason.TIMEOUT),
        (WithStateError("57P03"), Reason.REFUSED),
        (WithStateError("08006"), Reason.UNREACHABLE),
        (WithStateError("XX000"), Reason.ERROR),
        (DriverError(1045, "Access denied"), Reason.AUTHENTICATION_FAILED),
        (DriverError(1040, "Too many connections"), Reason.TOO_MANY_CONNECTIONS),
        (DriverError(1049, "Unknown database"), Reason.MISSING),
        (DriverError(1290, "--read-only"), Reason.READ_ONLY),
        (DriverError(1969, "max_statement_time exceeded"), Reason.TIMEOUT),
        (DriverError(2013, "Lost connection"), Reason.UNREACHABLE),
        (DriverError('FATAL: password authentication failed for user "x"'), Reason.AUTHENTICATION_FAILED),
        (DriverError('FATAL: role "x" does not exist'), Reason.AUTHENTICATION_FAILED),
        (DriverError('FATAL: database "x" does not exist'), Reason.MISSING),
        (DriverError("FATAL: sorry, too many clients already"), Reason.TOO_MANY_CONNECTIONS),
        (DriverError("FATAL: the database system is starting up"), Reason.REFUSED),
        (DriverError("connection to server failed: Connection refused"), Reason.REFUSED),
        (DriverError("connection to server failed: Connection reset by peer"), Reason.UNREACHABLE),
        (DriverError("the connection is lost"), Reason.UNREACHABLE),
        (DriverError("the connection is closed"), Reason.UNREACHABLE),
        (DriverError("no connection to the server"), Reason.UNREACHABLE),
        (DriverError("consuming input failed: Broken pipe"), Reason.UNREACHABLE),
        (ConnectionRefusedError(errno.ECONNREFUSED, "x"), Reason.REFUSED),
        (OSError(errno.EHOSTUNREACH, "x"), Reason.UNREACHABLE),
        (ConnectionResetError(errno.ECONNRESET, "x"), Reason.UNREACHABLE),
        (socket.gaierror(-2, "x"), Reason.UNREACHABLE),
        (ssl.SSLError("x"), Reason.UNREACHABLE),
        (TimeoutError(), Reason.TIMEOUT),
        (sqlalchemy.exc.TimeoutError("QueuePool limit"), Reason.POOL_EXHAUSTED),
        (CheckFailed("invalid"), Reason.INVALID),
        (DatabaseFault(Reason.MISSING), Reason.MISSING),
        (ValueError("connection refused"), Reason.ERROR),
        (KeyError("timed out"), Reason.ERROR),
    ],
    ids=repr,
)
def test_an_exception_has_its_reason(error, reason):
    """Codes decide, words only where a driver has no code, and an application's own words prove nothing."""
    assert reason_of(error) is reason


def test_the_reason_of_what_caused_it_is_found():
    """SQLAlchemy's wrapping and a plain `raise ... from` do not hide the driver's exception."""
    wrapped = sqlalchemy.exc.OperationalError("select", {}, WithStateError("28P01"))
    assert reason_of(wrapped) is Reason.AUTHENTICATION_FAILED
    outer = RuntimeError("x")
    outer.__cause__ = ConnectionRefusedError(errno.ECONNREFUSED, "x")
    assert reason_of(outer) is Reason.REFUSED


def test_a_chain_that_turns_in_a_circle_ends():
    """A cause that causes itself gives a reason and no endless loop."""
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert reason_of(first) is Reason.ERROR


def test_a_file_of_sqlite_that_was_replaced_is_missing_and_not_read_only(tmp_path):
    """What is written to a file that is no longer the one of its name is lost: SQLite refuses it."""
    file, other = tmp_path / "one.sqlite", tmp_path / "other.sqlite"
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("CREATE TABLE kept (id integer)")
    other.write_bytes(file.read_bytes())
    other.replace(file)
    with pytest.raises(sqlite3.OperationalError) as moved:
        connection.execute("INSERT INTO kept VALUES (1)")
    connection.close()
    assert moved.value.sqlite_errorname == "SQLITE_READONLY_DBMOVED"
    assert reason_of(moved.value) is Reason.MISSING


def test_a_file_of_sqlite_that_goes_within_a_transaction_is_missing(tmp_path):
    """Its journal is no longer where it was; SQLite calls that an I/O error."""
    (tmp_path / "here").mkdir()
    connection = sqlite3.connect(tmp_path / "here" / "one.sqlite", isolation_level=None)
    connection.execute("CREATE TABLE kept (id integer)")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO kept VALUES (1)")
    (tmp_path / "here").rename(tmp_path / "aside")
    with pytest.raises(sqlite3.OperationalError) as gone:
        connection.execute("COMMIT")
    connection.close()
    assert gone.value.sqlite_errorname == "SQLITE_IOERR_DELETE_NOENT"
    assert reason_of(gone.value) is Reason.MISSING


def test_sqlite_speaks_by_result_code(tmp_path):
    """Real exceptions of SQLite have their reasons."""
    with pytest.raises(sqlite3.OperationalError) as missing:
        sqlite3.connect(f"file:{tmp_path}/none.sqlite?mode=rw", uri=True)
    assert reason_of(missing.value) is Reason.MISSING
    garbage = tmp_path / "garbage.sqlite"
    garbage.write_bytes(b"this is not a database, but long enough" * 50)
    connection = sqlite3.connect(garbage)
    with pytest.raises(sqlite3.DatabaseError) as invalid:
        connection.execute("SELECT * FROM sqlite_master")
    with pytest.raises(sqlite3.OperationalError) as table:
        sqlite3.connect(":memory:").execute("SELECT * FROM none")
    connection.close()
    assert reason_of(invalid.value) is Reason.INVALID
    assert reason_of(table.value) is Reason.MISSING


def test_an_unknown_reason_of_a_check_is_refused():
    """A check can only give a reason of the closed list."""
    with pytest.raises(ValueError, match="'sad' is not a valid Reason"):
        CheckFailed("sad")


def test_what_a_terminal_obeys_does_not_reach_the_log():
    """A server's words may hold escape sequences."""
    assert words_of(OSError("said \x1b[31mno\x07")) == "OSError: said ?[31mno?"
