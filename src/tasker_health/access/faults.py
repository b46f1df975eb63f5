"""What broke in an authenticator or a coordinator: told to the log and the `configuration` check, without secrets."""

from __future__ import annotations

import logging
import time
from contextvars import ContextVar

from tasker_health.reasons import words_of
from tasker_health.request import Request

log = logging.getLogger(__name__)

REQUEST: ContextVar[Request | None] = ContextVar("REQUEST", default=None)
"""Whose credentials are looked at: an exception may quote them."""

REMEMBERED_SECONDS = 10.0
"""How long the `configuration` check tells of a fault that was not seen again, and how often the log does."""

_LEAST_SECRET = 6


class AccessFault(Exception):  # noqa: N818 -- not the caller's error but ours: answered with 500
    """An authenticator or a coordinator broke.

    Attributes:
        error: The public name of what broke.
        words: Why, for the log and the operator.
    """

    def __init__(self, error: str, words: str) -> None:
        super().__init__(error)
        self.error = error
        self.words = words


class Faults:
    """Remembers what broke, for a while.

    The log is told at most once in that time: anybody could fill it by asking again and again.
    """

    def __init__(self) -> None:
        self._broken: dict[str, tuple[float, str]] = {}
        self._told_until: dict[str, float] = {}

    def problems(self) -> list[str]:
        """Return what broke within the last seconds.

        Not for ever: one odd request would otherwise keep this process out of service until the next good one.
        """
        now = time.monotonic()
        return [problem for until, problem in self._broken.values() if now < until]

    def mended(self, what: str) -> None:
        """Note that *what* works."""
        self._broken.pop(what, None)

    def broke(self, what: str, error: Exception) -> AccessFault:
        """Note that *what* broke with *error*; return what is answered."""
        words = without_credentials(words_of(error))
        self.tell(what, f"{what.lower()} failed closed: {words}", logging.ERROR)
        self._broken[what] = (time.monotonic() + REMEMBERED_SECONDS, f"{what.lower()} broke: {words}")
        return AccessFault(f"{what} Configuration Error", words)

    def busy(self, what: str) -> AccessFault:
        """Note that there are more callers than can be looked at, which is nobody's fault; return what is answered."""
        self.tell(f"{what} busy", f"{what.lower()}: too many callers at once; some are refused", logging.WARNING)
        return AccessFault(f"{what} Configuration Error", "too many callers at once")

    def tell(self, what: str, words: str, level: int) -> None:
        """Write *words* to the log, unless it was told of *what* a moment ago."""
        if time.monotonic() >= self._told_until.get(what, 0.0):
            self._told_until[what] = time.monotonic() + REMEMBERED_SECONDS
            log.log(level, "%s", words)


def without_credentials(words: str) -> str:
    """Return *words* without anything that the request that is looked at has sent in a header."""
    request = REQUEST.get()
    if request is None:
        return words
    sent = {part for _, value in request.raw_headers for part in _parts(value.decode("latin-1"))}
    for secret in sorted(sent, key=len, reverse=True):
        words = words.replace(secret, "***")
    return words


def _parts(value: str) -> list[str]:
    """Return *value* and its words, but for those that are too short to be a secret."""
    return [part for part in (value, *value.replace(";", " ").replace("=", " ").split()) if len(part) >= _LEAST_SECRET]
