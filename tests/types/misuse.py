"""What a user writes by mistake: each marked line is an error to mypy and to pyright, and a mark without one is too.

It is never imported.
"""

# ruff: noqa: D102, B018 -- mistakes are what it is made of

from __future__ import annotations

import httpx

from tasker_health import BaseCoordinator, Health, Readiness
from tasker_health.request import Request
from tasker_health.testing import FakeCheck, assert_ready, settings_of

health = Health()


class NoAuthenticator:
    """Its method has another name."""

    def authentcate(self, request: Request) -> None: ...


class NoSource:
    """It cannot be closed."""

    name = "queue"


def needs_an_argument(seconds: float) -> None: ...


Health(authenticator=NoAuthenticator())  # type: ignore[arg-type]
Health(coordinator_class=BaseCoordinator())  # type: ignore[arg-type]
Health(clock=3.5)  # type: ignore[arg-type]
Health({"server": {"port": 8080}})  # type: ignore[arg-type]
health.check("stock")(needs_an_argument)  # type: ignore[type-var]
health.check("stock", critcal=False)  # type: ignore[call-arg]
health.add_check(needs_an_argument)  # type: ignore[arg-type]
health.add_source(NoSource())  # type: ignore[arg-type]
health.asgi(needs_an_argument)  # type: ignore[arg-type]
health.wsgi(needs_an_argument)  # type: ignore[arg-type]
health.settings.server.prot  # type: ignore[attr-defined]
settings_of(server=8080)  # type: ignore[arg-type]
FakeCheck("stock").fail(3)  # type: ignore[arg-type]
assert_ready("http://127.0.0.1:8080")  # type: ignore[call-overload]


async def forgets_to_wait(client: httpx.AsyncClient) -> None:
    """The assertion would pass without being made."""
    assert_ready(client)  # type: ignore[unused-coroutine]
    health.ready()  # type: ignore[unused-coroutine]
    readiness: Readiness = health.ready()  # type: ignore[assignment]
    readiness.ready = False  # type: ignore[misc]
