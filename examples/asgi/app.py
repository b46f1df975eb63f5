"""Orders, served by a bare ASGI callable, with health endpoints before it: as before that of any framework."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tasker_health import CheckFailed, Health

SHELVES = {"bread": 3, "butter": 1}

health = Health()


async def service(
    scope: MutableMapping[str, Any],
    _receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Return the orders of today; the lifespan is left to the health endpoints."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    found = scope["path"] == "/orders"
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200 if found else 404, "headers": headers})
    await send({"type": "http.response.body", "body": b'[{"number": 1, "item": "bread"}]' if found else b"[]"})


@health.check("stock", critical=False)
async def stock() -> None:
    """Fail while nothing is left; orders are taken all the same."""
    if not any(SHELVES.values()):
        raise CheckFailed("missing")


app = health.asgi(service)
