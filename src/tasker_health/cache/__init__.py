"""The room of caches: where a fleet keeps, for all of its processes, the facts that one of them has read.

A cache keeps bytes by key and knows nothing of what they mean. The rules for whoever writes one:

* A key is 1 to 200 characters of printable ASCII without a space.
* `get` answers the bytes and how old they are **by the cache's own clock**: the clocks of the processes may differ by
  minutes. Where that clock is coarse the age is rounded up, never down.
* `get` transfers at most `MOST_BYTES` + 1 bytes, whatever lies under the key; who asked sees that it is too much.
* What is no longer kept, was never kept, or has outlived its time is `None`. What is of another kind than bytes, or
  has no end of its time, is `CacheFault(Reason.INVALID)`: it is not ours.
* Every question ends within `timeout_seconds` of the cache, connecting included, with `CacheFault(Reason.TIMEOUT)` if
  need be; a broken connection is dropped, and the next question opens a new one. Nothing is retried.
* A question may be cancelled at any moment; the next one is not answered with what was meant for it.
* All trouble is a `CacheFault`, whose detail holds no password. Nothing is asked before the first question.
* It belongs to the event loop of its first question; on another one, or after a fork, it begins anew, and leaves the
  connections of a parent process to the parent.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

MOST_BYTES = 512 * 1024
"""Most bytes of one entry: Memcached keeps no more than 1 MiB, and a status is some KiB."""


class Held(NamedTuple):
    """What a cache holds under a key.

    Attributes:
        value: The bytes, at most `MOST_BYTES` + 1 of them.
        age_seconds: How long ago they were put there, by the cache's own clock.
    """

    value: bytes
    age_seconds: float


class Cache(Protocol):
    """Keeps bytes by key, and leases by key.

    Attributes:
        name: `memory`, `redis`, `memcached` or `sql`.
        coarse_seconds: By how much `age_seconds` may be above the truth; 0 where the clock is fine.
    """

    name: str
    coarse_seconds: float

    async def get(self, key: str) -> Held | None:
        """Return what lies under *key*, or `None`.

        Raises:
            CacheFault: It cannot be asked, or what lies there is not ours.
        """

    async def put(self, key: str, value: bytes, keep_seconds: float) -> None:
        """Keep *value* under *key* for *keep_seconds*, in place of what was there; its age begins at 0.

        Raises:
            CacheFault: It cannot be asked, or refuses.
        """

    async def acquire(self, key: str, holder: str, seconds: float) -> bool:
        """Return whether *holder* has the lease *key* for *seconds* from now on.

        It is granted when nobody has it, when it has run out, and again to the one who has it. It ends by itself.

        Raises:
            CacheFault: It cannot be asked, or refuses.
        """

    async def release(self, key: str, holder: str) -> None:
        """Give up the lease *key*, if *holder* has it; that of another one stays.

        Raises:
            CacheFault: It cannot be asked, or refuses.
        """

    async def close(self) -> None:
        """Give up connections; the next question opens new ones. Raises nothing."""
