"""Keys that change: read again when they are old or lack one, by one reader, and never more often than allowed."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable

from tasker_health.access.jwks import KeySet
from tasker_health.clock import Clock, SystemClock
from tasker_health.deadline import retrieve
from tasker_health.errors import TaskerHealthError
from tasker_health.reasons import words_of

log = logging.getLogger(__name__)

_SHARE = 0.9
"""Of the time that authentication may take: what is over is for what follows."""

Load = Callable[[], Awaitable[KeySet]]


class KeysFault(TaskerHealthError):  # noqa: N818 -- as the other faults: not the caller's error
    """There are no keys to verify anybody's token with."""


class RefreshedKeys:
    """The newest keys that *load* has answered.

    No caller makes *load* run twice at once, or sooner than *cooldown_seconds* after its last end. While it runs, or
    when it raises, the keys that there are serve on, for *kept_seconds* after they were last confirmed.

    Args:
        load: Answers the keys, or raises.
        place: Where they come from, for the log.
        max_age_seconds: From this age on they are read again, while the old ones serve.
        cooldown_seconds: Least time between two readings.
        timeout_seconds: How long authentication may take; who waits for keys waits a little less.
        kept_seconds: How long they serve without being confirmed.
        keys: The first ones, when they are there already.
        clock: Tests pass their own.
    """

    def __init__(
        self,
        load: Load,
        place: str,
        *,
        max_age_seconds: float,
        cooldown_seconds: float,
        timeout_seconds: float,
        kept_seconds: float = math.inf,
        keys: KeySet | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._load = load
        self._place = place
        self._max_age_seconds = max_age_seconds
        self._cooldown_seconds = cooldown_seconds
        self._patience_seconds = _SHARE * timeout_seconds
        self._kept_seconds = kept_seconds
        self._monotonic = (clock or SystemClock()).monotonic
        self._keys = keys
        self._confirmed_at = -math.inf if keys is None else self._monotonic()
        self._tried_at = self._confirmed_at
        self._task: asyncio.Task[None] | None = None
        self._said = ""

    def current(self) -> KeySet | None:
        """Return the keys that serve now, at once; when they are old, they begin to be read again.

        `None`: there are none, or nobody has asked for so long that this asker should wait for newer ones: a key
        that was withdrawn meanwhile would pass once more.
        """
        now = self._monotonic()
        age = now - self._confirmed_at
        if age > self._max_age_seconds:
            forgotten = now - self._tried_at > max(2 * self._max_age_seconds, self._cooldown_seconds)
            if forgotten and not self._running():
                return None
            self._begin()
        return self._keys if age <= self._kept_seconds else None

    async def wait(self) -> KeySet:
        """Return the keys, which are read first unless that happened a moment ago.

        Raises:
            KeysFault: There are none, or none that are new enough.
        """
        self._begin()
        if self._task is not None:
            # Who leaves, leaves the reading to the others.
            await asyncio.wait({self._task}, timeout=self._patience_seconds)
        if self._keys is None or self._monotonic() - self._confirmed_at > self._kept_seconds:
            raise KeysFault(f"no keys to verify tokens with, from {self._place}: {self._said or 'not read yet'}")
        return self._keys

    def _begin(self) -> None:
        """Begin to read, unless that runs already, or ended a moment ago."""
        if self._running():
            return
        self._task = None
        if self._monotonic() - self._tried_at < self._cooldown_seconds:
            return
        self._task = asyncio.get_running_loop().create_task(self._read(), name="tasker-health-keys")
        self._task.add_done_callback(retrieve)

    def _running(self) -> bool:
        """Whether it is being read, on this loop: what an earlier one has left behind never ends."""
        task = self._task
        return task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()

    async def _read(self) -> None:
        try:
            keys = await self._load()
            if not len(keys) and self._keys is None:
                raise ValueError("no key there is for an algorithm of auth.jwt.algorithms")  # noqa: TRY301
        except Exception as error:  # noqa: BLE001 -- whatever a server or a file may be
            self._say(words_of(error))
        else:
            self._adopt(keys)
        finally:
            self._tried_at = self._monotonic()

    def _adopt(self, keys: KeySet) -> None:
        self._confirmed_at = self._monotonic()
        if self._keys is None or keys.digest != self._keys.digest:
            # The same keys stay the same object: what was verified with them stays verified.
            self._keys = keys
            log.info("keys to verify tokens with: %d, from %s", len(keys), self._place)
        self._say(
            "" if len(keys) else "no key there is for an algorithm of auth.jwt.algorithms: every token is refused"
        )

    def _say(self, words: str) -> None:
        """Log *words* unless they were the last."""
        if words and words != self._said:
            log.warning("keys to verify tokens with, from %s: %s", self._place, words)
        self._said = words
