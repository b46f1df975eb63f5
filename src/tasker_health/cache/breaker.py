"""The circuit breaker: a cache that does not answer is left alone for a while, then tried by one.

The states are those of Nygard, *Release It!* (2007): closed, open, and half-open with one trial.
"""

from __future__ import annotations

OPEN_SECONDS = 0.5
"""How long it is left alone. A cache that comes back is used again within 2 s: this, and the period of whoever asks.
It takes no longer the more trials fail: the one question in that time costs nobody anything."""


class Breaker:
    """Says whether to ask; is told how it went. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._open_until: float | None = None
        self._on_trial = False

    @property
    def is_open(self) -> bool:
        """Whether the latest question has failed."""
        return self._open_until is not None

    def allows(self, now: float) -> bool:
        """Return whether to ask now; `True` to one asker only, when it was open."""
        if self._open_until is None:
            return True
        if now < self._open_until or self._on_trial:
            return False
        self._on_trial = True
        return True

    def succeeded(self) -> None:
        """Close: an answer has come."""
        self._open_until, self._on_trial = None, False

    def failed(self, now: float, *, on_trial: bool) -> None:
        """Open, anew when it was the trial that has failed.

        A question from before it was opened says nothing new, and leaves the trial to whoever makes it.
        """
        if on_trial:
            self._on_trial = False
        elif self._open_until is not None:
            return
        self._open_until = now + OPEN_SECONDS

    def left(self) -> None:
        """Forget the trial: who made it cannot tell how it went."""
        self._on_trial = False
