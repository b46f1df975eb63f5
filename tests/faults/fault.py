"""The faults: each begins and ends on a scene, and says what `/ready` answers meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from faults.scene import Scene


@dataclass(frozen=True)
class Fault:
    """One row.

    Attributes:
        name: What is wrong.
        begin: Makes it so.
        end: Makes it well again.
        reasons: Of `/ready` meanwhile; none: it is 200.
        cache_reasons: What `/ready` says of the cache meanwhile, with 200; only where there are some, there is a cache.
        stalls: Whether the event loop stands still; it ends by itself, and `/live` of the guard is 503 after the stall.
        starves: Whether the application gets so little time that its checks may miss their deadline (503, `timeout`)
            or its reports come too late (503, `stalled`): true answers, and how many depends on the machine.
        asks_application: Whether the application itself can answer `/ready` in time.
        lacks_memory: Whether whatever runs in the application may fail for want of memory, and its log tell so.
        is_database: Whether a peer can be put before it too.
    """

    name: str
    begin: Callable[[Scene], Any]
    end: Callable[[Scene], Any]
    reasons: tuple[str, ...] = ()
    cache_reasons: tuple[str, ...] = ()
    stalls: bool = False
    starves: bool = False
    asks_application: bool = True
    lacks_memory: bool = False
    is_database: bool = False


def _database(name, begin, end, *reasons, **more):
    return Fault(name, begin, end, reasons, is_database=True, **more)


def _cache(name, begin, end, *reasons):
    return Fault(name, begin, end, cache_reasons=reasons)


def _own(name, behaviour, *reasons, **more):
    return Fault(name, lambda scene: scene.pod.tell(f"/check/{behaviour}"), Scene.calm, reasons, **more)


def _blocked(name, how):
    def end(scene):
        time.sleep(max(0, scene.ends_at - time.monotonic()))

    return Fault(name, lambda scene: scene.block(how), end, ("stalled",), stalls=True, asks_application=False)


def _pass(scene):
    scene.proxy.set("pass")


FAULTS = [
    _database("database stopped (SIGSTOP)", lambda s: s.server.pause(), lambda s: s.server.resume(), "timeout"),
    _database("database killed", lambda s: s.server.kill(), lambda s: s.server.start(), "unreachable", "refused"),
    _database("database black-holed", lambda s: s.proxy.set("blackhole"), _pass, "timeout"),
    _database("database slow", lambda s: s.proxy.set("slow", delay_seconds=1), _pass, "timeout"),
    _database("database refusing", lambda s: s.proxy.set("refuse"), _pass, "refused", "unreachable"),
    _database("database out of connections", Scene.take_all_connections, Scene.let_go, "too_many_connections"),
    _database("database failing over", Scene.lose_server, Scene.fail_over, "unreachable", "refused"),
    _own("check that sleeps", "sleeps", "timeout"),
    _own("check that spins", "spins", "timeout", asks_application=False),
    _own("check that raises BaseException", "raises", "error"),
    _own("check that never returns", "never_returns", "timeout"),
    _blocked("loop blocked by time.sleep", "sleep"),
    _blocked("loop blocked by pure Python", "python"),
    _blocked("loop blocked, interpreter lock held", "interpreter"),
    Fault("8 busy threads", lambda s: s.pod.tell("/threads"), Scene.calm, starves=True, asks_application=False),
    Fault("flood of requests", Scene.start_flood, Scene.calm, starves=True, asks_application=False),
    Fault(
        *("memory exhausted", Scene.exhaust_memory, Scene.give_memory, ("error", "stalled")),
        asks_application=False,
        lacks_memory=True,
    ),
    _cache("cache stopped (SIGSTOP)", lambda s: s.cache.pause(), lambda s: s.cache.resume(), "timeout"),
    _cache("cache killed", lambda s: s.cache.kill(), lambda s: s.cache.start(), "unreachable", "refused"),
    _cache("cache answering noise", Scene.let_stranger_answer, Scene.dismiss_stranger, "invalid", "unreachable"),
    Fault("clock set forward by a day", lambda s: s.pod.tell("/clock/86400"), Scene.calm),
    Fault("clock set back by a day", lambda s: s.pod.tell("/clock/-86400"), Scene.calm),
]
