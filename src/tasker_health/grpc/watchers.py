"""Those who watch a service: told the present state, and then every change, while they are there."""

from __future__ import annotations

import asyncio
import logging

from tasker_health.grpc.services import Services, Serving

log = logging.getLogger(__name__)

MOST_WATCHERS = 512
"""How many may watch at a time; each holds a stream and a task."""

_LEAST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.25, 1.0


class Watcher:
    """One client that watches *service*; for one that reads slowly only the latest state is kept.

    Attributes:
        service: What it watches.
    """

    def __init__(self, service: str) -> None:
        self.service = service
        self._state: Serving | None = None
        self._told: Serving | None = None
        self._ended = False
        self._news = asyncio.Event()

    def begin(self, state: Serving) -> None:
        """Take the *state* that was asked for at the beginning, unless a newer one has come meanwhile."""
        if self._state is None:
            self.tell(state)

    def tell(self, state: Serving) -> None:
        """Take a new *state*."""
        self._state = state
        self._news.set()

    def end(self) -> None:
        """Have `next` say that there is no more."""
        self._ended = True
        self._news.set()

    async def next(self) -> Serving | None:
        """Return the state once it is another than the one that was returned last; `None`: there is no more."""
        while not self._ended:
            if self._state is not self._told:
                self._told = self._state
                return self._told
            self._news.clear()
            await self._news.wait()
        return None


class Watchers:
    """Looks for all watchers at once, as often as a readiness answer grows too old to serve, and not in between.

    Args:
        services: Who knows how each is.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._watchers: set[Watcher] = set()
        self._looking: asyncio.Task[None] | None = None
        self._ended = False

    def __len__(self) -> int:
        return len(self._watchers)

    def add(self, service: str) -> Watcher | None:
        """Return a new watcher of *service*; `None`: there are too many."""
        if len(self._watchers) >= MOST_WATCHERS:
            return None
        watcher = Watcher(service)
        self._watchers.add(watcher)
        if self._ended:
            watcher.end()
        elif self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look_for_ever())
        return watcher

    def remove(self, watcher: Watcher) -> None:
        """Forget *watcher*; without any, nothing is looked at."""
        self._watchers.discard(watcher)
        if not self._watchers:
            self._rest()

    def drain(self) -> None:
        """Tell everybody at once that what stands for traffic does not serve."""
        for watcher in self._watchers:
            if self._services.is_drained(watcher.service) and watcher.service in self._services.names:
                watcher.tell(Serving.NOT_SERVING)

    def end(self) -> None:
        """Have everybody leave, also who comes later."""
        self._ended = True
        self._rest()
        for watcher in self._watchers:
            watcher.end()

    def _rest(self) -> None:
        if self._looking is not None:
            self._looking.cancel()
            self._looking = None

    async def _look_for_ever(self) -> None:
        while True:
            # Not before the present answer is too old: nobody asks a dependency more often because somebody watches.
            due = self._services.seconds_to_the_next_answer
            await asyncio.sleep(min(max(due, _LEAST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS))
            names = {watcher.service for watcher in self._watchers}
            try:
                states = await self._services.states(names)
            except Exception:
                log.exception("what is watched cannot be looked at")
                states = dict.fromkeys(names, Serving.NOT_SERVING)
            for watcher in self._watchers:
                if watcher.service in states:
                    watcher.tell(states[watcher.service])
