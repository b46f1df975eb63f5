"""Tokens that were verified a moment ago: a signature need not be verified again for every probe."""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict

from tasker_health.access.jwks import KeySet
from tasker_health.access.principal import Principal
from tasker_health.clock import Clock, SystemClock

MOST_TOKENS = 1024
"""Tokens that are remembered; the one that was asked for least lately goes first."""

LONGEST_SECONDS = 60.0
"""How long a token is remembered."""


class VerifiedTokens:
    """Whom the tokens of the last minute stand for, by a keyed digest: no token is kept.

    Args:
        clock: Tests pass their own.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._key = secrets.token_bytes(32)
        self._by_digest: OrderedDict[bytes, tuple[float, Principal]] = OrderedDict()
        self._keys: KeySet | None = None

    def __len__(self) -> int:
        return len(self._by_digest)

    def get(self, token: str, keys: KeySet) -> Principal | None:
        """Return whom *token* stands for, as was found with these very *keys* and still holds; `None`: not known."""
        if keys is not self._keys:
            self._by_digest.clear()
            return None
        digest = self._digest(token)
        until, principal = self._by_digest.get(digest, (0.0, None))
        if principal is None:
            return None
        if self._clock.monotonic() >= until:
            del self._by_digest[digest]
            return None
        self._by_digest.move_to_end(digest)
        return principal

    def keep(self, token: str, principal: Principal, keys: KeySet, expires: float) -> None:
        """Remember that *token* stands for *principal*, as was found with *keys*, until *expires* at the latest.

        Args:
            token: The whole token.
            principal: Whom it stands for.
            keys: All keys that are trusted now.
            expires: When it ends, in seconds since the Unix epoch.
        """
        if keys is not self._keys:
            self._by_digest.clear()
            self._keys = keys
        # Measured from here on, so that a clock that is set back does not prolong it.
        seconds = min(LONGEST_SECONDS, expires - self._clock.now())
        if seconds <= 0:
            return
        self._by_digest[self._digest(token)] = (self._clock.monotonic() + seconds, principal)
        if len(self._by_digest) > MOST_TOKENS:
            self._by_digest.popitem(last=False)

    def _digest(self, token: str) -> bytes:
        return hashlib.blake2b(token.encode(), digest_size=32, key=self._key).digest()
