"""What an application answers while its cache is in trouble, and what of it is true."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from dataclasses import dataclass, field
from typing import Any

from fakes import facts_of
from faults.cache_trouble import Trouble
from tasker_health.cache.shared import LEASE_SECONDS
from tasker_health.model import Facts

TTL_SECONDS = 0.5
STATUS_TIMEOUT_SECONDS = 1.0
CACHE_TIMEOUT_SECONDS = 0.25
READ_SECONDS = 0.02
OLDEST_SECONDS = TTL_SECONDS + LEASE_SECONDS + 0.5
"""One refresh more than the time to live: a lease whose holder cannot give it up, a look, a reading, a slow machine."""

EPOCH = time.monotonic() - 1


class Truth:
    """A source whose facts say when they were read, and by whom."""

    name = "shop"

    def __init__(self, reader: int) -> None:
        self._reader = reader

    async def read(self, deadline_seconds: float) -> Facts:
        """Return the moment of this reading, in milliseconds, as the number of completed tasks."""
        read_at = time.monotonic()
        await asyncio.sleep(READ_SECONDS)
        return facts_of(completed=int((read_at - EPOCH) * 1000), pending=self._reader)

    async def close(self) -> None:
        """Have nothing to close."""


@dataclass(frozen=True)
class Answer:
    """One answer of `/status`, with what is true of it.

    Attributes:
        asked_of: Which process.
        is_direct: Whether it was asked in Python: over HTTP a question may arrive later than it was sent.
        sent_at: When it was asked, by CLOCK_MONOTONIC.
        seconds: How long it took.
        body: The answer.
    """

    asked_of: int
    is_direct: bool
    sent_at: float
    seconds: float
    body: dict[str, Any]

    def told(self) -> str:
        """Return the answer in one line, with how old its facts are in truth."""
        health = self.body["system_health"]
        read_at = EPOCH + (health["completed_tasks"] or 0) / 1000
        return (
            f"sent at {self.sent_at:.3f} to {self.asked_of}, took {self.seconds:.3f} s,"
            f" read at {read_at:.3f} by {health['pending_tasks']}, said {self.body['cache_info']}"
        )

    def faults(self, coarse_seconds: float) -> list[str]:
        """Return what is not true of it."""
        health, info = self.body["system_health"], self.body["cache_info"]
        if health["completed_tasks"] is None:
            return ["no facts"]
        read_at = EPOCH + health["completed_tasks"] / 1000
        young, old = self.sent_at - read_at, self.sent_at + self.seconds - read_at
        is_own = health["pending_tasks"] == self.asked_of
        slack = 0.2 + CACHE_TIMEOUT_SECONDS  # what was told was that long on its way to the cache
        wrong = {
            "not healthy": self.body["status"] != "healthy",
            "too old": young > OLDEST_SECONDS,
            "an age below the truth": info["age_seconds"] < math.floor(young - slack),
            "an age above the truth": info["age_seconds"] > old + slack + coarse_seconds,
            "waited for, and said to be cached": self.is_direct and is_own and young < -0.01 and info["cached"],
            "read by another process, and not said to be cached": not is_own and not info["cached"],
            "old, and not said to be cached": young > STATUS_TIMEOUT_SECONDS and not info["cached"],
            "expired, and not said to be stale": info["cached"] and young > TTL_SECONDS + slack and "stale" not in info,
            "young, and said to be stale": old + coarse_seconds < TTL_SECONDS - 0.3 and "stale" in info,
        }
        return [fault for fault, is_so in wrong.items() if is_so]


@dataclass(frozen=True)
class Look:
    """One answer of `/ready`: when it came, its code or whether it was ready, and what it says of the cache."""

    asked_of: int
    at: float
    is_ready: bool
    status: str
    reason: str | None


@dataclass
class Outcome:
    """What was seen of one row.

    Attributes:
        answers: Of `/status` under the trouble.
        wrong: What was not true of an answer, from the beginning to the end.
        looks: Of `/ready`, from the beginning to the end.
        seconds: How long the trouble lasted.
        asked: How often each process asked the cache under the trouble.
        skipped: How often each did not, as it was to be left alone.
        shown: What each process has counted under the trouble: faults and entries that it did not believe, by reason.
        accepted: Connections at the proxy under the trouble.
        back_seconds: From the end of the trouble to a cache that is used by all, with their checks well.
        connections: To the cache, before and after.
        lag_seconds: By how much the event loop was ever late.
        error: What went wrong in playing.
    """

    trouble: Trouble
    answers: list[Answer] = field(default_factory=list)
    wrong: list[tuple[str, Answer]] = field(default_factory=list)
    looks: list[Look] = field(default_factory=list)
    began: float = 0.0
    ending: float = 0.0
    ended: float = 0.0
    asked: dict[int, int] = field(default_factory=dict)
    skipped: dict[int, int] = field(default_factory=dict)
    shown: dict[int, set[str]] = field(default_factory=dict)
    accepted: int | None = None
    back_seconds: float = math.inf
    connections: tuple[int, int] = (0, 0)
    lag_seconds: float = 0.0
    error: BaseException | None = None

    @property
    def seconds(self) -> float:
        """How long the trouble lasted."""
        return self.ended - self.began

    def quantile_ms(self, share: float) -> float:
        """Return the milliseconds that *share* of the answers took at most."""
        took = sorted(answer.seconds for answer in self.answers)
        return took[max(0, math.ceil(share * len(took)) - 1)] * 1000


class Http:
    """One connection to *port*, kept open; a client of many features would keep the event loop busier than we do."""

    def __init__(self, port: int, prefix: str) -> None:
        self._port, self._prefix = port, prefix
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, name: str) -> tuple[int, Any]:
        """Return code and body of the endpoint *name*."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(f"GET {self._prefix}/{name} HTTP/1.1\r\nHost: probe\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])
        return int(head.split(b" ", 2)[1]), json.loads(await reader.readexactly(length))

    def close(self) -> None:
        """Hang up."""
        if self._streams is not None:
            self._streams[1].close()
