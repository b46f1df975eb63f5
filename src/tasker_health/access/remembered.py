"""Credentials that were verified a moment ago, so that they need not be verified again."""

from __future__ import annotations

import hmac
import secrets
from collections import OrderedDict

from tasker_health.access.principal import Principal
from tasker_health.clock import Clock, SystemClock

_SECONDS = 60.0
_MOST = 256


class Remembered:
    """Knows whose credentials were right, for a minute since they were last sent.

    Settings are read at start, so what was right stays right. What is kept is a digest under a key that only this
    process has: nobody learns a password from its memory, nor from how long it takes to find one.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._key = secrets.token_bytes(32)
        self._callers: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()

    def caller(self, credentials: bytes) -> Principal | None:
        """Return whose *credentials* these are, if they were right within the last minute."""
        digest = self._digest(credentials)
        caller, until = self._callers.get(digest, (None, 0.0))
        if caller is None or until <= self._clock.monotonic():
            self._callers.pop(digest, None)
            return None
        self.remember(credentials, caller)
        return caller

    def remember(self, credentials: bytes, caller: Principal) -> None:
        """Keep that *credentials* are those of *caller*; of too many, those that came longest ago are forgotten."""
        digest = self._digest(credentials)
        self._callers[digest] = caller, self._clock.monotonic() + _SECONDS
        self._callers.move_to_end(digest)
        if len(self._callers) > _MOST:
            self._callers.popitem(last=False)

    def _digest(self, credentials: bytes) -> bytes:
        return hmac.digest(self._key, credentials, "sha256")
