"""`tasker-health serve`: the standalone server of a real deployment."""

from __future__ import annotations

import logging

from tasker_health.cli.logs import set_up_logging
from tasker_health.health import Health
from tasker_health.settings import Settings
from tasker_health.web.server import serve

log = logging.getLogger("tasker_health")


def serve_until_stopped(settings: Settings) -> None:
    """Serve the endpoints of *settings* until SIGTERM or Ctrl-C.

    Raises:
        ConfigurationError: The settings cannot work, or the port cannot be had.
    """
    set_up_logging(settings.log)
    health = Health(settings)
    serve(
        health.asgi(),
        settings.server,
        access_log=settings.log.probes,
        announce=lambda url: log.info("serving %s (live, ready, startup, status)", url),
    )
    log.info("stopped")
