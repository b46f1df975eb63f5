"""Looking a host's name up: each is its own question."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from loop import in_loop
from tasker_health.resolver import Resolver

PATIENCE_SECONDS = 30


@in_loop
async def test_a_look_up_that_hangs_answers_for_its_own_host_alone(monkeypatch):
    """Another host is looked up beside it; the same one is not looked up twice."""
    over = threading.Event()
    asked = []

    def look_up(host, _):
        asked.append(host)
        if host == "hangs.test":
            over.wait(PATIENCE_SECONDS)
        elif host == "nowhere.test":
            raise socket.gaierror

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    resolver = Resolver()
    hung = [asyncio.ensure_future(resolver.resolve("hangs.test")) for _ in range(2)]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await resolver.resolve("well.test")
            with pytest.raises(socket.gaierror):
                await resolver.resolve("nowhere.test")
        assert not any(each.done() for each in hung)
    finally:
        over.set()
        await asyncio.gather(*hung)
    assert sorted(asked) == ["hangs.test", "nowhere.test", "well.test"]
