"""What waits for one channel."""

from __future__ import annotations

from msgspec import Struct

from tasker_health.alerts import Event


class Pending(Struct, frozen=True, kw_only=True):
    """An event that one channel has not taken yet.

    Attributes:
        event: What is to be told.
        first_at: Since when it waits, on the monotonic clock (`Clock.monotonic`) of the process that has it in its
            hands: in the ledger it is an age, as the clocks of a fleet differ. It may lie before that clock began.
        attempts: How often a process of the fleet has tried in vain.
    """

    event: Event
    first_at: float
    attempts: int = 0
