"""An application of a pod: it serves orders, starts as slowly as it is told, and can be wedged for ever.

Run by uvicorn. `START_SECONDS` is how long its import takes, `WARM_UP_SECONDS` how long it waits for something then;
`never` is possible.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import threading
import time

from tasker_health import Health

LONG_SECONDS = 3600

time.sleep(float(os.environ.get("START_SECONDS", "0")))
health = Health()
_warm_up = os.environ.get("WARM_UP_SECONDS", "")
if _warm_up:
    warm = health.wait_for("warm_up")
    if _warm_up != "never":
        threading.Timer(float(_warm_up), warm).start()


def _hold_the_interpreter():
    """Wait in a native call for a lock that is never free, without a turn for other threads; no signal ends it."""
    lock = ctypes.create_string_buffer(64)
    for _ in range(2):
        ctypes.PyDLL(None).pthread_mutex_lock(lock)


async def orders(scope, receive, send):
    """Answer after a little work; `/block` and `/hold` are the end of this process."""
    assert scope["type"] == "http"
    if scope["path"] == "/block":
        time.sleep(LONG_SECONDS)
    elif scope["path"] == "/hold":
        _hold_the_interpreter()
    await asyncio.sleep(0.03)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
    await send({"type": "http.response.body", "body": b"orders"})


app = health.asgi(orders)
