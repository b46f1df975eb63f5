"""Eight writers of Tasker's tables at once: in turns that a seed decides, or each in a thread of its own."""

from __future__ import annotations

import random
import threading
from types import TracebackType
from typing import Any, Self

from integration.tasker_writers import Writer

WRITERS = 8
_STEPS_A_SECOND = 30
"""So many turns of the others pass while a writer wants to do nothing for a second."""


class Turns:
    """Lets the writers take turns in this thread: the same seed gives the same interleaving.

    Args:
        url: The database.
        seed: Of the writers and of who is next.
        options: Of the writers.
    """

    def __init__(self, url: str, seed: int, **options: Any) -> None:
        self.writers = [Writer(url, seed * 100 + number, **options) for number in range(WRITERS)]
        self._work = [writer.work() for writer in self.writers]
        self._rests = [0] * WRITERS
        self._random = random.Random(seed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        for writer in self.writers:
            writer.close()

    def step(self) -> None:
        """Let one of those who want to go on run one statement."""
        self._rests = [max(0, rest - 1) for rest in self._rests]
        awake = [number for number, rest in enumerate(self._rests) if not rest]
        if awake:
            number = self._random.choice(awake)
            self._rests[number] = round(next(self._work[number]) * _STEPS_A_SECOND)


class Threads:
    """Lets every writer run in a thread of its own, as fast as *think_seconds* between its statements allow."""

    def __init__(self, url: str, seed: int, *, think_seconds: float = 0.005, **options: Any) -> None:
        self.writers = [Writer(url, seed * 100 + number, **options) for number in range(WRITERS)]
        self.errors: list[BaseException] = []
        self._think_seconds = think_seconds
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(writer,)) for writer in self.writers]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        for writer in self.writers:
            writer.close()
        assert self.errors == []

    def _run(self, writer: Writer) -> None:
        try:
            for pause in writer.work():
                if self._over.wait(pause or self._think_seconds):
                    return
        except BaseException as error:
            self.errors.append(error)
