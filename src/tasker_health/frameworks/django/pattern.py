"""The one URL pattern: it matches what the endpoints claim, and names the view that fits how Django was asked."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from django.urls.resolvers import RegexPattern, URLPattern

from tasker_health.frameworks.django.views import Probes
from tasker_health.health import Health


def probe_urls(health: Health) -> list[Any]:
    """Return the URL patterns of *health*: `urlpatterns = [*probe_urls(health), ...]`, for any number of them.

    Neither the app nor its settings are needed for that.
    """
    return [ProbePattern(Probes(health))]


class ProbePattern(URLPattern):  # type: ignore[misc]  # Django has no types
    """Every path of *probes* below where it is included.

    Django resolves a path where it will call the view: on the event loop under ASGI, in a thread that has none under
    WSGI. It would run an `async` view of a WSGI server on an event loop for each request, and a plain one of an ASGI
    server in the one thread that all plain views share.
    """

    def __init__(self, probes: Probes) -> None:
        super().__init__(_Claimed(probes), probes.view)
        self._async_view = probes.async_view

    def resolve(self, path: str) -> Any:
        """Return the match of *path*; `None`: it is not ours."""
        match = super().resolve(path)
        if match is not None and _runs_on_a_loop():
            match.func = self._async_view
        return match


class _Claimed(RegexPattern):  # type: ignore[misc]  # Django has no types
    """What the endpoints claim; the expression is for people only."""

    def __init__(self, probes: Probes) -> None:
        super().__init__("^" + re.escape(f"{probes.health.settings.server.prefix}/health".lstrip("/")))
        self._claims = probes.health.endpoints.claims

    def match(self, path: str) -> tuple[str, tuple[()], dict[str, str]] | None:
        """Return *path* as the argument of the view; `None`: it is not ours."""
        path = f"/{path}"
        return ("", (), {"path": path}) if self._claims(path) else None


def _runs_on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
