"""Orders, served by Quart, with health endpoints before all middleware."""

from __future__ import annotations

from quart import Quart

from tasker_health import CheckFailed, Health

SHELVES = {"bread": 3, "butter": 1}

app = Quart(__name__)
health = Health()


@app.get("/orders")
async def orders() -> list[dict[str, object]]:
    """Return the orders of today."""
    return [{"number": 1, "item": "bread"}]


@health.check("stock", critical=False)
async def stock() -> None:
    """Fail while nothing is left; orders are taken all the same."""
    if not any(SHELVES.values()):
        raise CheckFailed("missing")


app.asgi_app = health.asgi(app.asgi_app)  # type: ignore[method-assign]  # as mypy says of every such assignment
