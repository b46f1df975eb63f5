"""What `Health` holds of gRPC: starts and stops it where the settings ask for it; imports grpcio no earlier."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from tasker_health.deadline import leave_to_parent
from tasker_health.errors import ConfigurationError
from tasker_health.grpc.siblings import shares
from tasker_health.listening import bound
from tasker_health.monitor import Monitor
from tasker_health.settings import Settings

if TYPE_CHECKING:
    from tasker_health.grpc.server import Server

log = logging.getLogger(__name__)


class GrpcEndpoint:
    """Serves `grpc.health.v1` from `start` to `stop`; without `grpc.enabled` it does nothing.

    Args:
        settings: Whether and where.

    Attributes:
        address: Where it answers, such as `127.0.0.1:50051`; empty while it does not.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.grpc
        self._host = settings.grpc.host or settings.server.host
        self._server: Server | None = None
        self._alone = False
        self._process = 0
        self._forked = False
        self.address: str = ""

    def claim(self) -> None:
        """Find out now whether `start` will succeed, in a process that shares the port with no sibling.

        Raises:
            ConfigurationError: The port cannot be had, or grpcio is not installed.
        """
        self._alone = True
        if self._settings.enabled and self._server is None:
            _require_grpcio()
            bound(self._host, self._settings.port, "grpc").close()

    async def start(self, monitor: Monitor) -> None:
        """Answer, on the running event loop, what *monitor* knows.

        Raises:
            ConfigurationError: The port cannot be had, grpcio is not installed, or this process was forked from one
                that serves gRPC.
        """
        if self._server is not None and self._process != os.getpid():
            self.forget()
        if not self._settings.enabled or (self._server is not None and self._server.serves):
            return
        if self._forked:
            # The child would take what is meant for its parent from a socket that they share, and answer neither.
            raise ConfigurationError(
                "grpc.enabled: the process that this one was forked from serves gRPC, which survives no fork;"
                " start it before, or start this process anew"
            )
        _require_grpcio()
        from tasker_health.grpc.server import Server
        from tasker_health.grpc.services import Services

        shared = not self._alone and bool(self._settings.port) and shares(self._host, self._settings.port)
        bound(self._host, self._settings.port, "grpc", shared=shared).close()
        self._process = os.getpid()
        server = self._server = Server(Services(monitor), (self._host, self._settings.port), shared=shared)
        try:
            self.address = await server.start()
        except ConfigurationError:
            self._server = None
            raise
        log.info("gRPC health at %s (Check, List, Watch)", self.address)

    def drain(self) -> None:
        """Say that nothing serves from now on, to those who watch at once."""
        if self._server is not None:
            self._server.drain()

    async def stop(self) -> None:
        """End every call, close the port and leave nothing behind, within some seconds."""
        server, self._server, self.address = self._server, None, ""
        if server is not None and self._process == os.getpid():
            await server.stop()

    def forget(self) -> None:
        """Leave the server to the parent of this process."""
        if self._server is not None:
            leave_to_parent(self._server)
            self._server, self._forked, self.address = None, True, ""


def _require_grpcio() -> None:
    try:
        import grpc  # noqa: F401
    except ModuleNotFoundError as error:
        remedy = f"{error.name} is not installed; pip install 'tasker-health[grpc]'"
        raise ConfigurationError(f"grpc.enabled: {remedy}") from None
