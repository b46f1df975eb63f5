"""Orders, served by Flask, with health endpoints before everything."""

from __future__ import annotations

from flask import Flask, Response, jsonify

from tasker_health import CheckFailed, Health

SHELVES = {"bread": 3, "butter": 1}

app = Flask(__name__)
health = Health()


@app.get("/orders")
def orders() -> Response:
    """Return the orders of today."""
    return jsonify([{"number": 1, "item": "bread"}])


@health.check("stock", critical=False)
def stock() -> None:
    """Fail while nothing is left; orders are taken all the same."""
    if not any(SHELVES.values()):
        raise CheckFailed("missing")


app.wsgi_app = health.wsgi(app.wsgi_app)  # type: ignore[method-assign]
