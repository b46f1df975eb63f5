"""Waiting that ends, where a check cannot show it: a thread that cannot be made."""

from __future__ import annotations

import asyncio
import threading

import pytest

from tasker_health.deadline import MOST_THREADS, in_thread


def test_threads_that_could_not_be_made_are_not_counted_as_running(monkeypatch):
    """A call is answered as soon as there is memory for a thread again, however often there was none."""

    def no_memory(*_args, **_options):
        raise MemoryError

    async def play():
        with monkeypatch.context() as without_memory:
            without_memory.setattr(threading, "Thread", no_memory)
            for _ in range(MOST_THREADS):
                with pytest.raises(MemoryError):
                    in_thread(lambda: 1, "unmade")
        return await in_thread(lambda: 1, "unmade")

    assert asyncio.run(play()) == 1
