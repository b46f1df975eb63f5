"""How a doctor asks a cache: in bounded time, under keys of its own, and with a remedy for each fault."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tasker_health.cache import Cache
from tasker_health.cli.doctor.findings import Finding, warning
from tasker_health.deadline import within
from tasker_health.errors import CacheFault
from tasker_health.model import Reason
from tasker_health.reasons import reason_of, words_of

T = TypeVar("T")

PATIENCE_SECONDS = 2.0
"""Longest wait for one answer. It is more than `cache.timeout_seconds`, so that it is seen what that should be."""

MOST_SECONDS = 12.0
"""Longest time of all questions together."""

KEEP_SECONDS = 30
"""How long what is put stays there at most, should nobody be left to take it away."""

_LEAST_SECONDS = 0.001
"""A question that is not even begun leaves a coroutine behind that nobody awaits."""

_CLOSE_SECONDS = 1.0

_REMEDIES = {
    Reason.TIMEOUT: "it hangs, or is slow or far away: look at its load, and at the network between",
    Reason.REFUSED: "start it, or correct host and port in cache.url",
    Reason.UNREACHABLE: "correct host and port in cache.url, or open the way to it",
    Reason.AUTHENTICATION_FAILED: "correct user and password in cache.url, or give that user the rights",
    Reason.TOO_MANY_CONNECTIONS: "raise its limit of clients, or find out who keeps so many",
    Reason.READ_ONLY: "cache.url leads to a replica: name the primary, or the sentinels that know it",
    Reason.UNKNOWN_VERSION: "use a newer server",
    Reason.MISSING: "correct the number or name of the database, or have the table of the cache made",
    Reason.INVALID: "correct cache.url: what answers there is no cache of that kind, or the key is another program's",
    Reason.ERROR: "it refuses: is it full, and may it evict?",
}


class Asking:
    """Asks one cache, through two clients as two processes would.

    Args:
        opened: Makes a new client.
        namespace: First part of the keys.

    Attributes:
        one, other: The clients; the same one where what is kept is of one client alone.
        opened: Makes a new client.
    """

    def __init__(self, opened: Callable[[], Cache], namespace: str) -> None:
        self.opened = opened
        self.one: Cache = opened()
        self.other: Cache = self.one if self.one.name == "memory" else opened()
        self._prefix = f"{namespace}:doctor:{secrets.token_hex(8)}"
        self._ends_at = time.monotonic() + MOST_SECONDS

    def key(self, name: str) -> str:
        """Return a key that nobody else uses."""
        return f"{self._prefix}:{name}"

    async def ask(self, question: Awaitable[T]) -> T:
        """Return the answer to *question*.

        Raises:
            CacheFault: There was none in time, or it refuses.
        """
        left = self._ends_at - time.monotonic()
        try:
            return await within(question, max(_LEAST_SECONDS, min(PATIENCE_SECONDS, left)))
        except CacheFault:
            raise
        except TimeoutError:
            is_over = left < PATIENCE_SECONDS
            words = "the time for measuring is over" if is_over else f"no answer within {PATIENCE_SECONDS:g} s"
            raise CacheFault(Reason.TIMEOUT, words) from None
        except Exception as error:  # noqa: BLE001 -- a cache of another's making may raise anything
            raise CacheFault(reason_of(error), words_of(error)) from None

    async def close(self, *more: Cache) -> None:
        """Close the clients, and *more* of them; one that hangs is left."""
        for client in more or (self.one, self.other):
            with contextlib.suppress(TimeoutError):
                await within(client.close(), _CLOSE_SECONDS)


def remedy_of(reason: Reason) -> str:
    """Return what to do about a cache that cannot be asked for *reason*."""
    return _REMEDIES.get(reason, _REMEDIES[Reason.ERROR])


def failed(what: str, fault: CacheFault) -> Finding:
    """Return what is found when *what* could not be measured for *fault*."""
    return warning(what, f"{fault.reason}: {fault}", remedy_of(fault.reason))
