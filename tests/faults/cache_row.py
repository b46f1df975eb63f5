"""One row: an application of some processes with one cache, asked all the time while that is in trouble."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any

import msgspec

from fakes import settings_of
from faults.cache_answer import (
    CACHE_TIMEOUT_SECONDS,
    STATUS_TIMEOUT_SECONDS,
    TTL_SECONDS,
    Answer,
    Http,
    Look,
    Outcome,
    Truth,
)
from faults.cache_scene import CacheScene
from faults.cache_trouble import Trouble
from tasker_health.cache.sealing import Sealer
from tasker_health.health import Health

TROUBLE_SECONDS = 2.2
PATIENCE_SECONDS = 10
EVERY_SECONDS = {"status": 0.03, "status over HTTP": 0.1, "ready": 0.05, "ready over HTTP": 0.1}
APART_SECONDS = 0.02
"""Replicas are not probed within one millisecond for ever: one would have the room that another was refused."""


class Row:
    """An application of three processes with one cache: asked over HTTP, in Python, and for its readiness alone.

    Args:
        name: Of the row, and of its namespace.
        scene: The cache.
        trouble: What becomes wrong with it.
    """

    def __init__(self, name: str, scene: CacheScene, trouble: Trouble) -> None:
        self.name = name
        self._scene = scene
        self.outcome = Outcome(trouble)
        self._caches = [scene.cache(CACHE_TIMEOUT_SECONDS) for _ in range(3)]
        settings = settings_of(
            health={"cache_duration_seconds": TTL_SECONDS, "status_timeout_seconds": STATUS_TIMEOUT_SECONDS},
            cache={"namespace": name},
        )
        self.healths = [Health(settings, cache=cache) for cache in self._caches]
        for reader, health in enumerate(self.healths):
            health.add_source(Truth(reader))
        self.app = self.healths[0].asgi()
        scene.key = Sealer(name, settings.health.service_name, None).key("shop")
        self._https: list[Http] = []
        self._asking: list[asyncio.Task[None]] = []
        self._is_in_trouble = False

    async def settle(self, port: int) -> None:
        """Begin to ask, at *port* too, and return once all have used the cache and say that it is well."""
        http, looking = self._https = [Http(port, f"/{self.name}/tasker/health") for _ in range(2)]
        for health in self.healths:
            await health.start()
        self._asking = [
            asyncio.create_task(self._always("status", lambda: self._ask(0))),
            asyncio.create_task(self._always("status", lambda: self._ask(1))),
            asyncio.create_task(self._always("status over HTTP", lambda: self._ask_over(http))),
            asyncio.create_task(self._always("ready", lambda: self._look(1))),
            asyncio.create_task(self._always("ready", lambda: self._look(2), first_after_seconds=APART_SECONDS)),
            asyncio.create_task(self._always("ready over HTTP", lambda: self._look_over(looking))),
        ]
        await self._until(self._used_since(time.monotonic()))
        await asyncio.sleep(TTL_SECONDS)  # the first askers of all have waited for facts
        self.outcome.connections = (await asyncio.to_thread(self._scene.connections), 0)

    async def be_used(self) -> None:
        """Return once all have used the cache again and say that it is well."""
        await self._until(self._used_since(time.monotonic()))

    async def disturb(self) -> None:
        """Play the trouble, and return once the cache is used again."""
        outcome, trouble = self.outcome, self.outcome.trouble
        before = [self._counts(health) for health in self.healths]
        accepted = self._scene.proxy.accepted if self._scene.proxy else None
        self._is_in_trouble = True
        outcome.began = time.monotonic()
        await asyncio.to_thread(trouble.begin, self._scene)
        if not trouble.is_over_at_once:
            outcome.began = time.monotonic()
            before = [self._counts(health) for health in self.healths]
            await asyncio.sleep(TROUBLE_SECONDS)
            self._count(before)
        if accepted is not None:
            outcome.accepted = self._scene.proxy.accepted - accepted
        outcome.ending = time.monotonic()  # the cache may be back before whoever brings it back has seen that
        await asyncio.to_thread(trouble.end, self._scene)
        outcome.ended = time.monotonic()
        self._is_in_trouble = trouble.is_over_at_once
        await self._until(self._used_since(outcome.ended))
        outcome.back_seconds = time.monotonic() - outcome.ended
        if trouble.is_over_at_once:
            self._count(before)

    async def stop_asking(self) -> None:
        """Ask no more."""
        for http in self._https:
            http.close()
        for task in self._asking:
            task.cancel()
        for ended in await asyncio.gather(*self._asking, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                self.outcome.error = self.outcome.error or ended

    @property
    def more_connections(self) -> int:
        """How many connections more than at first all processes may open, when they ask several things at once."""
        return len(self.healths) * self._scene.more_connections

    def leaks(self) -> dict[str, int]:
        """Return how many connections to the cache there are more than before, if they are too many."""
        before, _ = self.outcome.connections
        self.outcome.connections = (before, self._scene.connections())
        more = self.outcome.connections[1] - before
        return {f"connections of {self.name}": more} if more > 1 + self.more_connections else {}

    async def stop(self) -> int:
        """Stop all; return how many connections are left, once the server has seen them end, or does not."""
        for health in self.healths:
            await health.stop()
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while (left := await asyncio.to_thread(self._scene.connections)) and time.monotonic() < ends_at:
            await asyncio.sleep(0.02)
        return left

    async def _always(self, what: str, ask: Any, first_after_seconds: float = 0) -> None:
        await asyncio.sleep(first_after_seconds)
        while True:
            due = time.monotonic() + EVERY_SECONDS[what]
            await ask()
            await asyncio.sleep(max(0, due - time.monotonic()))

    async def _ask(self, reader: int) -> None:
        sent_at = time.monotonic()
        report = await self.healths[reader].status()
        self._judge(Answer(reader, True, sent_at, time.monotonic() - sent_at, msgspec.to_builtins(report)))

    async def _ask_over(self, http: Http) -> None:
        sent_at = time.monotonic()
        _, body = await http.get("status")
        self._judge(Answer(0, False, sent_at, time.monotonic() - sent_at, body))

    def _judge(self, answer: Answer) -> None:
        if self._is_in_trouble:
            self.outcome.answers.append(answer)
        faults = answer.faults(self._caches[0].coarse_seconds)
        self.outcome.wrong += [(fault, answer) for fault in faults]

    async def _look(self, reader: int) -> None:
        report = await self.healths[reader].ready()
        self._see(reader, report.ready, msgspec.to_builtins(report.checks["cache"]))

    async def _look_over(self, http: Http) -> None:
        code, body = await http.get("ready")
        self._see(0, code == 200, body["checks"]["cache"])

    def _see(self, reader: int, is_ready: bool, check: dict[str, Any]) -> None:
        self.outcome.looks.append(Look(reader, time.monotonic(), is_ready, check["status"], check.get("reason")))

    def _used_since(self, moment: float) -> Any:
        """Return what tells whether all have read and written since *moment*, and say thereafter that it is well."""
        before = [self._counts(health)[0] for health in self.healths]
        used_at = math.inf

        def is_used() -> bool:
            nonlocal used_at
            now = [self._counts(health)[0] for health in self.healths]
            if used_at == math.inf and all(
                now[reader].get((question, "ok"), 0) > before[reader].get((question, "ok"), 0)
                for reader, question in ((0, "get"), (0, "put"), (1, "get"), (1, "put"), (2, "put"))
            ):
                used_at = time.monotonic()
            # What a probe has put is counted before the answer that tells what it has missed.
            latest = {look.asked_of: look for look in self.outcome.looks}
            return [each.status for each in latest.values() if each.at > max(used_at, moment)] == ["ok"] * 3

        return is_used

    async def _until(self, condition: Any) -> None:
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            for task in self._asking:
                if task.done():
                    task.result()
            assert time.monotonic() < ends_at, f"{self.name}: not in time: {self.outcome.looks[-3:]}"
            await asyncio.sleep(0.01)

    def _counts(self, health: Health) -> tuple[dict[tuple[str, str], int], dict[str, int], dict[str, int]]:
        counts = health.monitor.counters.cache
        return dict(counts.requests), dict(counts.faults), dict(counts.refused_entries)

    def _count(self, before: list[Any]) -> None:
        for reader, health in enumerate(self.healths):
            requests, *shown = self._counts(health)
            old_requests, *old_shown = before[reader]
            more = {each: number - old_requests.get(each, 0) for each, number in requests.items()}
            self.outcome.skipped[reader] = sum(n for (_, result), n in more.items() if result == "skipped")
            self.outcome.asked[reader] = sum(more.values()) - self.outcome.skipped[reader]
            self.outcome.shown[reader] = {
                str(reason)
                for now, old in zip(shown, old_shown, strict=True)
                for reason, number in now.items()
                if number > old.get(reason, 0)
            }
