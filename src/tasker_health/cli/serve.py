"""`tasker-health serve`: the standalone server of a real deployment."""

from __future__ import annotations

import logging

from tasker_health.cli.logs import set_up_logging
from tasker_health.health import Health
from tasker_health.settings import Settings
from tasker_health.web.server import serve

log = logging.getLogger("tasker_health")


def guarded_by_default(settings: Settings) -> Settings:
    """Return *settings* with the guard enabled, unless they say otherwise."""
    if settings.guard.enabled is not None:
        return settings
    return settings.model_copy(update={"guard": settings.guard.model_copy(update={"enabled": True})})


def serve_until_stopped(settings: Settings) -> None:
    """Serve the endpoints of *settings* until SIGTERM or Ctrl-C.

    Raises:
        ConfigurationError: The settings cannot work, or the port cannot be had.
    """
    set_up_logging(settings.log)
    health = Health(guarded_by_default(settings))

    def announce(url: str) -> None:
        guard = health.open_guard(alone=True)
        if guard:
            log.info("guard at %s (live, ready, startup)", guard)
        log.info("serving %s (live, ready, startup, status)", url)

    serve(health.asgi(), settings.server, access_log=settings.log.probes, announce=announce)
    log.info("stopped")
