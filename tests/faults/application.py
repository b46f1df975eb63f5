"""The application under the faults: routes that block its event loop in each way, and a check that misbehaves.

Run by uvicorn in a process of its own, with its settings from the environment.
"""

from __future__ import annotations

import asyncio
import ctypes
import resource
import threading
import time
from pathlib import Path

from tasker_health import Health


class JumpingClock:
    """The machine's clock, set forward and back by *seconds* as far as this application can tell."""

    seconds = 0.0
    monotonic = staticmethod(time.monotonic)

    def now(self):
        """Return seconds since the Unix epoch."""
        return time.time() + self.seconds


class Stop(BaseException):
    """What no check is expected to raise."""


PIECES_BYTES = (1 << 20, 1 << 16, 1 << 12, 256)
SPARE_BYTES = 4 << 20

clock = JumpingClock()
health = Health(clock=clock)
released = threading.Event()
behaviour = "well"
under_way = 0


@health.check("own")
def own():
    """Behave as it was told to."""
    global under_way  # noqa: PLW0603 -- one call at a time, as the runner promises
    under_way += 1
    try:
        _behave()
    finally:
        under_way -= 1


def _behave():
    if behaviour == "sleeps":
        time.sleep(2)
    elif behaviour == "spins":
        _spin()
    elif behaviour == "raises":
        raise Stop
    elif behaviour == "never_returns":
        released.wait()


def _spin(seconds=float("inf")):
    ends_at = time.monotonic() + seconds
    while not released.is_set() and time.monotonic() < ends_at:
        pass


def _hold_the_interpreter(seconds):
    left = int(seconds)
    while left:  # a signal, such as the one that asks for the stacks, ends a sleep early
        left = ctypes.PyDLL(None).sleep(left)


def _eat():
    """Take what memory there is, the large pieces first, and whatever comes free, while there is a limit to it."""
    held = []
    while not released.is_set():
        try:
            for size in PIECES_BYTES:
                _fill(held, size)
        except MemoryError:
            continue
        time.sleep(0.005)


def _fill(held, size):
    try:
        while resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY:
            held.append(bytes(size))
    except MemoryError:
        return


def _exhaust_memory():
    """Leave no memory until the limit is lifted, which is done from outside: nothing is sure to work in here then."""
    threading.Thread(target=_eat, daemon=True).start()  # before: a thread that starts without memory hangs its starter
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + SPARE_BYTES, resource.RLIM_INFINITY))


BLOCKS = {"sleep": time.sleep, "python": _spin, "interpreter": _hold_the_interpreter}


async def _calm():
    """Return once the last call of the check has returned: only then is the fault over."""
    clock.seconds = 0
    released.set()
    while under_way:
        await asyncio.sleep(0.005)


async def serve(scope, receive, send):
    """Do what the path says: `/check/<behaviour>`, `/block/<how>/<seconds>`, `/threads`, `/memory`, ..."""
    global behaviour  # noqa: PLW0603 -- the check reads it
    if scope["type"] != "http":
        raise NotImplementedError  # no lifespan of its own
    what, *words = scope["path"].strip("/").split("/")
    if what == "calm":
        behaviour = "well"
        await _calm()
    elif what == "check":
        released.clear()
        behaviour = words[0]
    elif what == "threads":
        released.clear()
        for _ in range(8):
            threading.Thread(target=_spin, daemon=True).start()
    elif what == "memory":
        released.clear()
        _exhaust_memory()
    elif what == "clock":
        clock.seconds = float(words[0])
    elif what == "block":
        released.clear()
        BLOCKS[words[0]](float(words[1]))
    elif what == "work":
        _spin(0.001)
        await asyncio.sleep(0)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


app = health.asgi(serve)
