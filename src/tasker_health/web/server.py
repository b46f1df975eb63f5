"""The standalone server: uvicorn on a socket of ours, ended by SIGTERM and Ctrl-C without a trace."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from tasker_health.listening import listen
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
        self._skin = app
        self._drain_seconds = settings.drain_seconds
        self._draining: asyncio.Task[None] | None = None
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
        """Drain on SIGTERM, end on SIGINT; a second one hurries it. Unlike uvicorn's own, end with code 0."""
        loop = asyncio.get_running_loop()
        before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
        loop.add_signal_handler(signal.SIGTERM, self._on_terminate)
        loop.add_signal_handler(signal.SIGINT, self._on_signal)
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

    def _on_terminate(self) -> None:
        """Be unready at once, and go on answering while those who send traffic find out."""
        if self._draining is None and self._drain_seconds and not self.should_exit:
            self._draining = asyncio.get_running_loop().create_task(self._drain())
        else:
            self._on_signal()

    async def _drain(self) -> None:
        await self._skin.drain()
        await asyncio.sleep(self._drain_seconds)
        self.should_exit = True

    def _on_signal(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def serve(app: AsgiSkin, settings: ServerSettings, *, access_log: bool, announce: Callable[[str], None]) -> None:
    """Serve *app* until SIGTERM or Ctrl-C. *announce* is told the URL once the port is open.

    Raises:
        ConfigurationError: The port cannot be had.
    """
    listener = listen(settings.host, settings.port, "server")
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
