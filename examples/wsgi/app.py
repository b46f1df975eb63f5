"""Orders, served by a plain WSGI callable, with health endpoints before it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tasker_health import CheckFailed, Health

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

SHELVES = {"bread": 3, "butter": 1}

health = Health()


def service(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """Return the orders of today."""
    if environ["PATH_INFO"] != "/orders":
        start_response("404 Not Found", [("Content-Length", "0")])
        return []
    body = json.dumps([{"number": 1, "item": "bread"}]).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]


@health.check("stock", critical=False)
def stock() -> None:
    """Fail while nothing is left; orders are taken all the same."""
    if not any(SHELVES.values()):
        raise CheckFailed("missing")


app = health.wsgi(service)
