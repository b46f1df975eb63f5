"""The gate: coroutines of any loop wait, any thread lets them through."""

from __future__ import annotations

import asyncio
import threading

from server import wait_until
from tasker_health.testing.gate import Gate


def test_who_waits_on_any_loop_is_let_through_by_any_thread():
    """Two loops in two threads, opened by a third."""
    gate, passed = Gate(), []
    gate.clear()

    def wait(name):
        asyncio.run(gate.wait())
        passed.append(name)

    threads = [threading.Thread(target=wait, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(gate._waiting) == 2, "both wait")
    assert passed == []
    gate.set()
    for thread in threads:
        thread.join(30)
    assert sorted(passed) == ["a", "b"]


def test_who_leaves_is_forgotten_and_who_comes_later_passes():
    """A waiter that was cancelled, one whose loop is closed, and one after it is set."""

    async def leave():
        await asyncio.wait({asyncio.ensure_future(gate.wait())}, timeout=0)

    gate = Gate()
    gate.clear()
    asyncio.run(leave())
    assert not gate._waiting
    loop = asyncio.new_event_loop()
    left = loop.create_task(gate.wait())
    loop.call_soon(loop.stop)
    loop.run_forever()
    left._log_destroy_pending = False
    loop.close()
    gate.set()
    asyncio.run(gate.wait())
