"""The standalone server: uvicorn on a socket of ours, ended by SIGTERM and Ctrl-C without a trace."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from tasker_health.listening import listen
from tasker_health.settings import ServerSettings
from tasker_health.web.asgi import AsgiSkin
from tasker_health.web.handshakes import Handshakes
from tasker_health.web.patience import PatientProtocol
from tasker_health.web.tls import Certificate

_MOST_DESCRIPTORS = 65536


_LAST_ANSWERS_SECONDS = 5
"""How long an answer that is under way at the end of a drain is waited for: whoever kills us allows for it."""


class Server(uvicorn.Server):
    """Serves *app* until told to stop.

    Args:
        app: What answers.
        settings: Where to listen and how long to drain.
        certificate: Speaks TLS with it; `None`: plain HTTP.
    """

    def __init__(
        self,
        app: AsgiSkin,
        settings: ServerSettings,
        *,
        certificate: Certificate | None = None,
    ) -> None:
        self._skin = app
        self._certificate = certificate
        self._running: list[asyncio.Task[None]] = []
        self._drain_seconds = settings.drain_seconds
        self._draining: asyncio.Task[None] | None = None
        super().__init__(
            uvicorn.Config(
                app,
                http=PatientProtocol,
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=max(1, min(_LAST_ANSWERS_SECONDS, round(settings.drain_seconds))),
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

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application and answer on *sockets*; a handshake of TLS is ours to bound."""
        if self._certificate is None:
            await super().startup(sockets)
            return
        await super().startup([])
        loop = asyncio.get_running_loop()
        for each in sockets or ():
            handshakes = Handshakes(each, self._certificate.context, self._new_connection)
            self._running.append(loop.create_task(handshakes.accept()))
        self._running.append(loop.create_task(self._certificate.watch()))

    def _new_connection(self) -> PatientProtocol:
        return PatientProtocol(self.config, self.server_state, self.lifespan.state)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop answering, and end the application even in a hurry: uvicorn leaves that out then, and logs an error."""
        for task in self._running:
            task.cancel()
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


def serve(
    app: AsgiSkin,
    settings: ServerSettings,
    *,
    announce: Callable[[str], None],
    certificate: Certificate | None = None,
) -> None:
    """Serve *app* until SIGTERM or Ctrl-C. *announce* is told the URL once the port is open.

    Raises:
        ConfigurationError: The port cannot be had.
    """
    listener = listen(settings.host, settings.port, "server")
    _allow_many_connections()
    announce(url_of(listener, settings, certificate))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(Server(app, settings, certificate=certificate).serve([listener]))


def url_of(listener: socket.socket, settings: ServerSettings, certificate: Certificate | None) -> str:
    """Return where the endpoints are that are served on *listener*."""
    host, port = listener.getsockname()[:2]
    scheme = "http" if certificate is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{settings.prefix}/health"


def _allow_many_connections() -> None:
    """Have more descriptors than the usual 1024, where that may be: those who only connect shall not use them up."""
    allowed, at_most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_DESCRIPTORS if at_most < 0 else min(_MOST_DESCRIPTORS, at_most)
    if 0 <= allowed < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, at_most))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ModuleNotFoundError:
        return None
    return uvloop.new_event_loop
