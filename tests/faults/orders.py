"""The application behind the balancers: reading an order asks the database, placing one takes a moment and does not.

Run by uvicorn in a process of its own. `ORDERS_LEDGER` names a file to which each order placed is added, one a line.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import psycopg

from tasker_health import CheckFailed, Health

PATIENCE_SECONDS = 1
PLACING_SECONDS = 0.4

health = Health()
is_well = True


@health.check("own")
def own():
    """Fail when told to."""
    if not is_well:
        raise CheckFailed


class Orders:
    """One connection, one question at a time; who comes while an old one hangs is told so at once."""

    def __init__(self):
        self._connection = None
        self._asked = None
        self._ends_at = 0.0

    async def read(self):
        """Return whether the database has answered in time."""
        if self._asked is not None and self._asked.done() and self._asked.exception() is not None:
            self._asked = self._connection = None
        if self._asked is None or self._asked.done():
            self._asked = asyncio.ensure_future(self._ask())
            self._ends_at = time.monotonic() + PATIENCE_SECONDS
        asked = self._asked
        await asyncio.wait({asked}, timeout=max(0, self._ends_at - time.monotonic()))
        return asked.done() and asked.exception() is None

    async def _ask(self):
        if self._connection is None:
            url = os.environ["TASKER_DATABASE__URL"]
            self._connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
        await self._connection.execute("SELECT 1")


orders = Orders()
ledger = os.open(Path(os.environ["ORDERS_LEDGER"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT)


async def serve(scope, receive, send):
    """`GET /orders/<id>`, `POST /orders/<id>`, and `/own/well` or `/own/ill` for the check."""
    global is_well  # noqa: PLW0603 -- the check reads it
    if scope["type"] != "http":
        raise NotImplementedError  # no lifespan of its own
    what, name = scope["path"].strip("/").split("/")
    code = 200
    if what == "own":
        is_well = name == "well"
    elif scope["method"] == "POST":
        os.write(ledger, f"{name}\n".encode())
        await asyncio.sleep(PLACING_SECONDS)
    elif not await orders.read():
        code = 503
    server = [(b"content-length", b"0"), (b"x-server", b"%d" % scope["server"][1])]
    await send({"type": "http.response.start", "status": code, "headers": server})
    await send({"type": "http.response.body", "body": b""})


app = health.asgi(serve)
