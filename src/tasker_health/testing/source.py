"""A source whose facts a test sets."""

from __future__ import annotations

import asyncio

from tasker_health.errors import SourceFault
from tasker_health.model import Facts, Reason
from tasker_health.testing.facts import facts_of
from tasker_health.testing.gate import Gate


class FixedSource:
    """Answers the facts that the test says, as slowly as it says, or fails: `health.add_source(FixedSource())`.

    Args:
        facts: What it knows; unset: those of a healthy engine. See `facts_of`.
        name: Its name in the answer.

    Attributes:
        facts: The same; set it at any time.
        fault: Why it cannot be read from now on; `None`: it can.
        detail: What the fault says, for those who may see it and for the log.
        delay_seconds: How long each reading takes, in real time.
        reads: How often it was read.
        closed: How often it was closed.
    """

    def __init__(self, facts: Facts | None = None, *, name: str = "fixed") -> None:
        self.name = name
        self.facts: Facts = facts if facts is not None else facts_of()
        self.fault: Reason | None = None
        self.detail = "the test says so"
        self.delay_seconds: float = 0.0
        self.reads: int = 0
        self.closed: int = 0
        self._gate = Gate()

    def hang(self) -> None:
        """Answer nobody from now on. A thread may call it."""
        self._gate.clear()

    def release(self) -> None:
        """End the hanging: who waits is answered. A thread may call it."""
        self._gate.set()

    async def read(self, deadline_seconds: float) -> Facts:
        """Return the facts.

        Raises:
            SourceFault: `fault` says so.
        """
        del deadline_seconds
        self.reads += 1
        await self._gate.wait()
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        if self.fault is not None:
            raise SourceFault(self.fault, self.detail)
        return self.facts

    async def close(self) -> None:
        """Count it."""
        self.closed += 1
