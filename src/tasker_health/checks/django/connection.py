"""A database asked through Django's own driver, for what no URL of ours can say.

The drivers block, so each question has a thread. At its deadline the connection's own socket is shut down, which ends
the call, where the driver shows one. One that does not, or is still connecting, holds that one thread until it gives
up by itself, and nobody asks again before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from tasker_health.deadline import in_thread, retrieve
from tasker_health.errors import DatabaseFault
from tasker_health.model import Reason
from tasker_health.reasons import reason_of, words_of

T = TypeVar("T")

_CONNECT_SECONDS = 2
"""The least that libpq knows."""

_LIMITS = {
    "postgresql": {"connect_timeout": _CONNECT_SECONDS},
    "mysql": {"connect_timeout": _CONNECT_SECONDS, "read_timeout": _CONNECT_SECONDS},
}
"""By vendor, what bounds a driver where nothing else does."""


class DjangoConnection:
    """A connection of our own for each question, which no thread of the application shares.

    Args:
        alias: Name of the row of DATABASES.
        settings: That row.
    """

    def __init__(self, alias: str, settings: Mapping[str, Any]) -> None:
        from django.db.utils import load_backend

        self._alias = alias
        self._wrapper: type[Any] = load_backend(settings["ENGINE"]).DatabaseWrapper
        options = {**_LIMITS.get(self._wrapper.vendor, {}), **(settings.get("OPTIONS") or {})}
        options.pop("pool", None)  # the application's
        self._settings = {**settings, "OPTIONS": options, "CONN_MAX_AGE": 0}
        self._busy, self._pid = threading.Lock(), os.getpid()
        self._open: Any = None

    async def run(self, work: Callable[[Any], T], *, deadline_seconds: float) -> T:
        """Return what *work* answers, given something with `execute`. See `Database.run`.

        Raises:
            DatabaseFault: The database cannot be reached, did not answer within *deadline_seconds*, or refused.
        """
        if self._pid != os.getpid():  # forked: the parent's thread, which may hold it, is not here
            self._busy, self._pid = threading.Lock(), os.getpid()
        if not self._busy.acquire(blocking=False):
            raise DatabaseFault(Reason.TIMEOUT, "an earlier question is still being asked")
        answer = self._begin(work)
        try:
            done, _ = await asyncio.wait({answer}, timeout=deadline_seconds)
        finally:
            if not answer.done():
                answer.add_done_callback(retrieve)
                self._shut()
        if not done:
            raise DatabaseFault(Reason.TIMEOUT, f"no answer within {deadline_seconds:.3f} s")
        try:
            return answer.result()
        except DatabaseFault:
            raise
        except Exception as error:  # noqa: BLE001 -- every driver has its own
            driver = _drivers_own(error)
            raise DatabaseFault(reason_of(driver), self._without_secret(driver)) from None

    def _begin(self, work: Callable[[Any], T]) -> asyncio.Future[T]:
        busy = self._busy

        def ask() -> T:
            try:
                return self._ask(work)
            finally:
                busy.release()

        try:
            return in_thread(ask, f"django-{self._alias}")
        except BaseException:
            busy.release()
            raise

    def _ask(self, work: Callable[[Any], T]) -> T:
        if self._wrapper.vendor == "sqlite" and not _is_there(str(self._settings["NAME"])):
            raise DatabaseFault(Reason.MISSING, "the file is not there")  # Django's driver would make it
        wrapper = self._open = self._wrapper(self._settings, self._alias)
        try:
            with wrapper.cursor() as cursor:
                return work(_Executing(cursor, wrapper))
        finally:
            self._open = None
            wrapper.close()

    def _shut(self) -> None:
        """End the call that the driver is in, without asking the server."""
        driver = getattr(self._open, "connection", None)
        channel = driver if hasattr(driver, "fileno") else getattr(driver, "_sock", None)  # as PyMySQL calls it
        with contextlib.suppress(Exception), socket.socket(fileno=os.dup(channel.fileno())) as own:  # type: ignore[union-attr]
            own.shutdown(socket.SHUT_RDWR)

    def _without_secret(self, error: BaseException) -> str:
        words, password = words_of(error).partition(": ")[2], str(self._settings.get("PASSWORD") or "")
        return words.replace(password, "***") if password else words


class _Executing:
    """A cursor that takes statements as SQLAlchemy's connection does."""

    def __init__(self, cursor: Any, wrapper: Any) -> None:
        self._cursor = cursor
        self.vendor: str = wrapper.vendor
        self.from_nothing: str = wrapper.features.bare_select_suffix

    def execute(self, statement: object) -> list[Any]:
        """Return the rows of *statement*, which has no parameters."""
        self._cursor.execute(str(statement))
        rows: list[Any] = self._cursor.fetchall()
        return rows


def _drivers_own(error: BaseException) -> BaseException:
    """Return the driver's exception that Django's *error* stands for: what caused that one is then seen, too."""
    return error.__cause__ or error if type(error).__module__ == "django.db.utils" else error


def _is_there(name: str) -> bool:
    return name.startswith("file:") or Path(name).exists()
