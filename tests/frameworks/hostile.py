"""Middleware that a probe must not meet; a header asks for what would be in everybody's way."""

from __future__ import annotations

import asyncio
import time

from frameworks.healths import OPEN, health_at

HEADER = "X-Hostile"
SLEEP, RAISE, REDIRECT, ASK = "sleep", "raise", "redirect", "ask"
"""What the header may say."""

HOST = "orders.example"
"""The only host that the application accepts."""

IDIOM = "/idiom"
"""Prefix of the health that stands in the application, behind its middleware; before it stands that at `OPEN`."""

SECONDS = 30


class HostileError(Exception):
    """What the middleware raises."""


def outer():
    """Return the health that wraps the application."""
    return health_at(OPEN)


def inner():
    """Return the health that stands in the application."""
    return health_at(IDIOM)


def sleep_or_raise(kind):
    """Do what *kind* says, in a thread."""
    if kind == SLEEP:
        time.sleep(SECONDS)
    if kind == RAISE:
        raise HostileError


async def sleep_or_raise_on_a_loop(kind):
    """Do what *kind* says."""
    if kind == SLEEP:
        await asyncio.sleep(SECONDS)
    if kind == RAISE:
        raise HostileError


class Only:
    """ASGI middleware that is in the way when the header says *kind*, and not otherwise."""

    def __init__(self, app, kind, make):
        self._app = app
        self._kind = kind.encode()
        self._hostile = make(app)

    async def __call__(self, scope, receive, send):
        """Serve one connection."""
        asked = dict(scope["headers"]).get(HEADER.lower().encode()) if scope["type"] == "http" else None
        await (self._hostile if asked == self._kind else self._app)(scope, receive, send)
