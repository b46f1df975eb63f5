"""The standalone server: uvicorn on a socket of ours, ended by SIGTERM and Ctrl-C without a trace."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from tasker_health.errors import ConfigurationError
from tasker_health.settings import ServerSettings
from tasker_health.web.asgi import AsgiSkin


class Server(uvicorn.Server):
    """Serves *app* until told to stop.

    Args:
        app: What answers.
        settings: Where to listen and how long to drain.
        access_log: Whether every request is logged.
    """

    def __init__(self, app: AsgiSkin, settings: ServerSettings, *, access_log: bool = False) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=access_log,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=max(1, round(settings.drain_seconds)),
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGTERM and SIGINT, a second one at once; unlike uvicorn's own, end with code 0, not the signal's."""
        loop = asyncio.get_running_loop()
        before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
        for each in before:
            loop.add_signal_handler(each, self._on_signal)
        try:
            yield
        finally:
            for each, handler in before.items():
                loop.remove_signal_handler(each)
                signal.signal(each, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop answering, and end the application even in a hurry: uvicorn leaves that out then, and logs an error."""
        await super().shutdown(sockets)
        if self.force_exit:
            await self.lifespan.shutdown()

    def _on_signal(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def listen(settings: ServerSettings) -> socket.socket:
    """Return a socket that listens where *settings* say.

    Raises:
        ConfigurationError: The address is taken, not allowed, or not of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((settings.host, settings.port))
        server.listen(2048)
    except OSError as error:
        server.close()
        raise _why_not(settings, error) from None
    except (ValueError, TypeError):  # what no name can be encoded from
        server.close()
        raise ConfigurationError(f"server.host = {settings.host!r}: no host name; name an address here") from None
    server.setblocking(False)  # noqa: FBT003 -- the standard library's own signature
    return server


def _why_not(settings: ServerSettings, error: OSError) -> ConfigurationError:
    if error.errno == errno.EADDRINUSE:
        remedy = "the port is in use; end what listens there or choose another with TASKER_SERVER__PORT"
        return ConfigurationError(f"server.port = {settings.port}: {remedy}")
    if error.errno == errno.EACCES:
        return ConfigurationError(f"server.port = {settings.port}: not permitted; choose one above 1023")
    return ConfigurationError(f"server.host = {settings.host!r}: {error.strerror}; name an address of this machine")


def serve(app: AsgiSkin, settings: ServerSettings, *, access_log: bool, announce: Callable[[str], None]) -> None:
    """Serve *app* until SIGTERM or Ctrl-C. *announce* is told the URL once the port is open.

    Raises:
        ConfigurationError: The port cannot be had.
    """
    listener = listen(settings)
    host, port = listener.getsockname()[:2]
    announce(f"http://{f'[{host}]' if ':' in host else host}:{port}{settings.prefix}/health")
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(Server(app, settings, access_log=access_log).serve([listener]))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop
