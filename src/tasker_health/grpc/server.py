"""The gRPC server: listens from its start to its stop, or to the end of the event loop on which it runs."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio

from tasker_health.deadline import retrieve
from tasker_health.errors import ConfigurationError
from tasker_health.grpc.servicer import Servicer
from tasker_health.grpc.services import Services
from tasker_health.grpc.watchers import Watchers

_MOST_CALLS = 1024
"""Calls at a time; what is more is refused, and asking goes on when there are as many watchers as there may be."""

_GRACE_SECONDS = 1.0
_STOPPING_SECONDS = 3.0

_OPTIONS = (
    # A request is one name, and nobody asks with more than a few headers.
    ("grpc.max_receive_message_length", 4096),
    ("grpc.max_metadata_size", 8192),
    # No one connection takes all calls or the places of all watchers.
    ("grpc.max_concurrent_streams", 128),
    # A connection that says nothing is closed, and one whose other end has vanished is noticed. None is too old:
    # that would end those who watch, and who means harm connects anew.
    ("grpc.server_handshake_timeout_ms", 5_000),
    ("grpc.max_connection_idle_ms", 30_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


class Server:
    """Answers at *address*.

    Args:
        services: What is asked for.
        address: Host and port; port 0 takes a free one.
        shared: Whether siblings listen at the same port, each with a server of its own.
    """

    def __init__(self, services: Services, address: tuple[str, int], *, shared: bool) -> None:
        self._services = services
        self._watchers = Watchers(services)
        self._host, self._port = address
        self._options = (*_OPTIONS, ("grpc.so_reuseport", int(shared)))
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def serves(self) -> bool:
        """Whether it has started and not ended."""
        return self._task is not None and not self._task.done()

    async def start(self) -> str:
        """Return the address at which it answers now.

        Raises:
            ConfigurationError: The port cannot be had.
        """
        loop = asyncio.get_running_loop()
        begun: asyncio.Future[int] = loop.create_future()
        begun.add_done_callback(retrieve)
        # In a task of its own: where the loop ends without `stop`, its tasks are cancelled, and this one stops then.
        # A server that nobody stops would keep the process from ending.
        self._task = loop.create_task(self._serve(begun))
        return _spelt(self._host, await asyncio.shield(begun))

    def drain(self) -> None:
        """Tell whoever watches and whoever asks that nothing serves."""
        self._services.drain()
        self._watchers.drain()

    async def stop(self) -> None:
        """End every call, close the port and leave nothing behind, within some seconds."""
        self._ending.set()
        if self._task is not None and not self._task.done():
            await asyncio.wait({self._task}, timeout=_STOPPING_SECONDS)

    async def _serve(self, begun: asyncio.Future[int]) -> None:
        handler = Servicer(self._services, self._watchers).handler()
        server = grpc.aio.server(handlers=(handler,), options=self._options, maximum_concurrent_rpcs=_MOST_CALLS)
        try:
            begun.set_result(await self._begin(server))
            await self._ending.wait()
        except ConfigurationError as error:
            begun.set_exception(error)
        finally:
            self._watchers.end()
            await _stopped(server)

    async def _begin(self, server: Any) -> int:
        try:
            port: int = server.add_insecure_port(_spelt(self._host, self._port))
        except RuntimeError:
            await server.start()  # one that never ran is never taken down
            remedy = "cannot be had; end what listens there or choose another with TASKER_GRPC__PORT"
            raise ConfigurationError(f"grpc.port = {self._port}: {remedy}") from None
        await server.start()
        return port


async def _stopped(server: Any) -> None:
    for grace_seconds in (_GRACE_SECONDS, None):
        try:
            await server.stop(grace_seconds)
        except asyncio.CancelledError:  # the loop ends, and with it tasks of the server: asked again, it stops
            continue
        return


def _spelt(host: str, port: int) -> str:
    return f"{f'[{host}]' if ':' in host else host}:{port}"
