"""`tasker-health serve`: the standalone server of a real deployment."""

from __future__ import annotations

import gc
import ipaddress
import logging
from urllib.parse import urlsplit

from tasker_health.cli.logs import set_up_logging
from tasker_health.health import Health
from tasker_health.settings import Settings
from tasker_health.web.server import serve
from tasker_health.web.tls import certificate_of
from tasker_health.web.traced import TracedSkin

log = logging.getLogger("tasker_health")


def serve_until_stopped(settings: Settings) -> None:
    """Serve the endpoints of *settings* until SIGTERM or Ctrl-C.

    Raises:
        ConfigurationError: The settings cannot work, or the port cannot be had.
    """
    set_up_logging(settings.log)
    certificate = certificate_of(settings.server)
    health = Health(settings.guarded_by_default())
    if certificate is not None:
        health.configuration.cautions.append(certificate.problems)

    def announce(url: str) -> None:
        gc.freeze()  # what is imported stays: to go through all of it would hold the event loop for 20 ms and more
        health.grpc.claim()
        guard = health.open_guard(alone=True)
        if guard:
            log.info("guard at %s (live, ready, startup)", guard)
        log.info("serving %s (live, ready, startup, status)", url)
        if _anybody_may_read_status(settings) and not is_loopback(urlsplit(url).hostname or ""):
            log.warning(
                "server.host = %r: everybody who reaches it can read the status; set"
                " health.status_requires_authentication and auth.authentication_enabled, or listen on 127.0.0.1",
                settings.server.host,
            )

    skin = health.asgi()
    serve(
        TracedSkin(skin) if settings.exporters.opentelemetry.enabled else skin,
        settings.server,
        announce=announce,
        certificate=certificate,
    )
    log.info("stopped")


def _anybody_may_read_status(settings: Settings) -> bool:
    return not (settings.health.status_requires_authentication or settings.auth.authorization_enabled)


def is_loopback(address: str) -> bool:
    """Return whether only this machine reaches *address*, an IP address without brackets."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    inner = ip.ipv4_mapped if isinstance(ip, ipaddress.IPv6Address) else None
    return (inner or ip).is_loopback
