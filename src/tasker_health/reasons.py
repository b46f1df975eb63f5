"""Which reason of the closed list an exception stands for.

Drivers are told apart by what they put on their exceptions, so none of them is imported here:
PostgreSQL's SQLSTATE (documentation, appendix A), MySQL's and MariaDB's error numbers (their error reference),
SQLite's result codes (sqlite.org/rescode.html), the operating system's errno. libpq gives no SQLSTATE for a
connection that fails, so there its English message decides; one in another language is `error`.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator

from tasker_health.errors import CacheFault, CheckFailed, DatabaseFault, SourceFault
from tasker_health.model import Reason
from tasker_health.redaction import redacted

_SQLSTATE = {
    "28": Reason.AUTHENTICATION_FAILED,
    "42501": Reason.AUTHENTICATION_FAILED,
    "53300": Reason.TOO_MANY_CONNECTIONS,
    "3D000": Reason.MISSING,
    "3F000": Reason.MISSING,
    "42P01": Reason.MISSING,
    "42703": Reason.MISSING,
    "25006": Reason.READ_ONLY,
    "57014": Reason.TIMEOUT,
    "55P03": Reason.TIMEOUT,
    "25P03": Reason.TIMEOUT,
    "57P": Reason.REFUSED,
    "08": Reason.UNREACHABLE,
}
_MYSQL = {
    1044: Reason.AUTHENTICATION_FAILED,
    1045: Reason.AUTHENTICATION_FAILED,
    1142: Reason.AUTHENTICATION_FAILED,
    1698: Reason.AUTHENTICATION_FAILED,
    1040: Reason.TOO_MANY_CONNECTIONS,
    1203: Reason.TOO_MANY_CONNECTIONS,
    1226: Reason.TOO_MANY_CONNECTIONS,
    1049: Reason.MISSING,
    1054: Reason.MISSING,
    1146: Reason.MISSING,
    1290: Reason.READ_ONLY,
    1792: Reason.READ_ONLY,
    1836: Reason.READ_ONLY,
    1205: Reason.TIMEOUT,
    1969: Reason.TIMEOUT,
    3024: Reason.TIMEOUT,
    1053: Reason.REFUSED,
    2003: Reason.UNREACHABLE,
    2005: Reason.UNREACHABLE,
    2006: Reason.UNREACHABLE,
    2013: Reason.UNREACHABLE,
}
_CANNOT_CONNECT = 2003
_SQLITE = {
    "SQLITE_BUSY": Reason.TIMEOUT,
    "SQLITE_LOCKED": Reason.TIMEOUT,
    "SQLITE_INTERRUPT": Reason.TIMEOUT,
    "SQLITE_READONLY_DBMOVED": Reason.MISSING,  # what is open is no longer the file of that name
    "SQLITE_IOERR_DELETE_NOENT": Reason.MISSING,  # nor its journal, at the end of a transaction
    "SQLITE_READONLY": Reason.READ_ONLY,
    "SQLITE_CANTOPEN": Reason.MISSING,
    "SQLITE_PERM": Reason.AUTHENTICATION_FAILED,
    "SQLITE_AUTH": Reason.AUTHENTICATION_FAILED,
    "SQLITE_NOTADB": Reason.INVALID,
    "SQLITE_CORRUPT": Reason.INVALID,
}
_ERRNO = {
    errno.ECONNREFUSED: Reason.REFUSED,
    errno.ETIMEDOUT: Reason.TIMEOUT,
    errno.ENOENT: Reason.UNREACHABLE,
    errno.EHOSTUNREACH: Reason.UNREACHABLE,
    errno.ENETUNREACH: Reason.UNREACHABLE,
    errno.ECONNRESET: Reason.UNREACHABLE,
    errno.EPIPE: Reason.UNREACHABLE,
}
_WORDS = (
    ("password authentication failed", Reason.AUTHENTICATION_FAILED),
    ("no password supplied", Reason.AUTHENTICATION_FAILED),
    ("no pg_hba.conf entry", Reason.AUTHENTICATION_FAILED),
    ("authentication failed", Reason.AUTHENTICATION_FAILED),
    ("permission denied for", Reason.AUTHENTICATION_FAILED),
    ("too many clients", Reason.TOO_MANY_CONNECTIONS),
    ("too many connections", Reason.TOO_MANY_CONNECTIONS),
    ("no more connections allowed", Reason.TOO_MANY_CONNECTIONS),  # PgBouncer, beyond max_client_conn
    ("remaining connection slots", Reason.TOO_MANY_CONNECTIONS),
    ("connection refused", Reason.REFUSED),
    ("the database system is", Reason.REFUSED),
    ("timeout expired", Reason.TIMEOUT),
    ("timed out", Reason.TIMEOUT),
    ("no such table", Reason.MISSING),
    ("no such column", Reason.MISSING),
    ("role", Reason.AUTHENTICATION_FAILED),
    ("does not exist", Reason.MISSING),
    ("no such file or directory", Reason.UNREACHABLE),
    ("could not translate host name", Reason.UNREACHABLE),
    ("failed to resolve host", Reason.UNREACHABLE),
    ("name or service not known", Reason.UNREACHABLE),
    ("no route to host", Reason.UNREACHABLE),
    ("network is unreachable", Reason.UNREACHABLE),
    ("server closed the connection", Reason.UNREACHABLE),
    ("connection reset by peer", Reason.UNREACHABLE),
    ("lost connection", Reason.UNREACHABLE),
    ("the connection is lost", Reason.UNREACHABLE),
    ("the connection is closed", Reason.UNREACHABLE),
    ("no connection to the server", Reason.UNREACHABLE),
    ("broken pipe", Reason.UNREACHABLE),
)


def reason_of(error: BaseException) -> Reason:
    """Return the reason that *error*, or what caused it, stands for; `error` when nothing better is known."""
    try:
        reasons = (_own_reason(link) for link in _chain(error))
        return next((reason for reason in reasons if reason is not None), Reason.ERROR)
    except Exception:  # noqa: BLE001 -- an exception of the user's may have attributes that raise
        return Reason.ERROR


def words_of(error: BaseException) -> str:
    """Return what *error* says, for the log: in one line, without the passwords of URLs."""
    try:
        words = redacted(" ".join(str(getattr(error, "orig", None) or error).split()))
        # A server's words may hold what a terminal obeys.
        words = "".join(each if each.isprintable() else "?" for each in words)
    except Exception:  # noqa: BLE001 -- as above
        words = "it cannot be printed"
    return f"{type(error).__name__}: {words}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield *error* and what caused it, the driver's own exception before SQLAlchemy's wrapping of it."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        original = getattr(link, "orig", None)
        if isinstance(original, BaseException):
            yield from _chain(original)
        yield link
        link = link.__cause__ or link.__context__


def _own_reason(error: BaseException) -> Reason | None:
    if isinstance(error, CacheFault | CheckFailed | DatabaseFault | SourceFault):
        return error.reason
    if isinstance(error, TimeoutError):
        return Reason.POOL_EXHAUSTED if type(error).__module__.startswith("sqlalchemy") else Reason.TIMEOUT
    if isinstance(error, socket.gaierror | ssl.SSLError):
        return Reason.UNREACHABLE
    if isinstance(error, OSError):
        return _ERRNO.get(error.errno or 0)
    return _driver_reason(error)


def _driver_reason(error: BaseException) -> Reason | None:
    if type(error).__module__.startswith("sqlalchemy"):
        # SQLAlchemy's own QueuePool TimeoutError is no builtin TimeoutError.
        return Reason.POOL_EXHAUSTED if type(error).__name__ == "TimeoutError" else None
    number = error.args[0] if error.args else None
    if isinstance(number, int) and number in _MYSQL:
        return _mysql_reason(number, error)
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if isinstance(state, str):
        return next((_SQLSTATE[state[:n]] for n in (5, 3, 2) if state[:n] in _SQLSTATE), Reason.ERROR)
    name = getattr(error, "sqlite_errorname", None)
    if isinstance(name, str) and name != "SQLITE_ERROR":
        return next((reason for code, reason in _SQLITE.items() if name.startswith(code)), Reason.ERROR)
    return _spoken_reason(error)


def _mysql_reason(number: int, error: BaseException) -> Reason | None:
    cause = error.__cause__ or error.__context__
    if number == _CANNOT_CONNECT and isinstance(cause, OSError):
        return None  # the operating system's error behind it says more
    return _MYSQL[number]


def _spoken_reason(error: BaseException) -> Reason | None:
    if type(error).__module__.partition(".")[0] in {"builtins", "asyncio"}:
        return None  # words in an application's own exception prove nothing
    text = str(error).lower()
    return next((reason for words, reason in _WORDS if words in text), None)
