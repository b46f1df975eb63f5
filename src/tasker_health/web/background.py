"""The endpoints of a process that serves no HTTP itself: a worker, a script. They have a port and a guard of their own.

Where an event loop runs they are served on it, so that liveness is that of the worker's own loop. Elsewhere they have a
loop in a thread, and liveness says that the interpreter is alive: a main thread that is busy, or waits, is no stall.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import socket
import weakref
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from functools import partial

from tasker_health.deadline import leave_to_parent
from tasker_health.listening import listen
from tasker_health.loop_thread import LoopThread
from tasker_health.settings import ServerSettings
from tasker_health.web.asgi import AsgiSkin, Hook
from tasker_health.web.endpoints import Endpoints
from tasker_health.web.server import Server, url_of
from tasker_health.web.tls import Certificate, certificate_of

_PATIENCE_SECONDS = 10.0
"""Longest wait for the port to answer, and for it to close."""


class _Server(Server):
    """A server in the background: signals are those of the process beside which it serves.

    Attributes:
        begun: Done when it answers, or has failed to begin.
    """

    def __init__(self, app: AsgiSkin, settings: ServerSettings, certificate: Certificate | None) -> None:
        super().__init__(app, settings, certificate=certificate)
        # Start and stop are ours: a loop that ends cancels the task of the lifespan before it can stop anything.
        self.config.lifespan = "off"
        self.begun: Future[None] = Future()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave them alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if not self.begun.done():
            self.begun.set_result(None)


class Background:
    """Serves *skin* on *listener* until it is stopped, or the process ends.

    Args:
        skin: What answers.
        settings: How long to drain.
        listener: Where it is asked.
        certificate: Speaks TLS with it; `None`: plain HTTP.
        urls: Of the endpoints, as `serve` says it, and of the guard; empty where there is none.
        start, stop: Awaited on the loop on which it is served.
        forked: Called in a child of this process, to forget what is the parent's.

    Attributes:
        url: Of the endpoints.
        guard_url: Of the guard; empty where there is none.
    """

    def __init__(
        self,
        skin: AsgiSkin,
        settings: ServerSettings,
        listener: socket.socket,
        *,
        certificate: Certificate | None,
        urls: tuple[str, str],
        start: Hook,
        stop: Hook,
        forked: Callable[[], None],
    ) -> None:
        self.url: str = urls[0]
        self.guard_url: str = urls[1]
        self._server = _Server(skin, settings, certificate)
        self._listener = listener
        self._start, self._stop = start, stop
        self._forked = forked
        self._thread: LoopThread | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended: Future[None] = Future()
        if not _is_without_loop():
            self._task = asyncio.get_running_loop().create_task(self._serve())
        else:
            self._thread = LoopThread()
            self._thread.post(self._serve)
            self._server.begun.result(_PATIENCE_SECONDS)
        _all.add(self)

    @property
    def is_serving(self) -> bool:
        """Whether it has not ended."""
        return not self._ended.done()

    def stop(self) -> None:
        """Stop answering. On an event loop of the caller's that takes a few of its turns; a thread is waited for."""
        self._server.should_exit = True
        if self._thread is not None:
            with contextlib.suppress(TimeoutError):
                self._ended.result(_PATIENCE_SECONDS)
            self._thread.end()

    def forget(self) -> None:
        """Leave everything to the parent of this process; close what would keep its port open here."""
        if self._ended.done():
            return
        leave_to_parent((self._thread, self._task, self._server))
        self._listener.close()
        self._thread = self._task = None
        self._ended.set_result(None)
        self._forked()

    async def _serve(self) -> None:
        try:
            await self._start()
            await self._server.serve([self._listener])
        except asyncio.CancelledError:
            self._server.should_exit = True  # the loop ends; the server does so in good order before
            if self._server.started:
                await self._server.shutdown([self._listener])
            raise
        finally:
            await self._stop()
            self._listener.close()
            if not self._server.begun.done():
                self._server.begun.set_exception(RuntimeError("the endpoints could not be started; the log says why"))
            if not self._ended.done():
                self._ended.set_result(None)


def serve_in_background(
    endpoints: Endpoints,
    settings: ServerSettings,
    *,
    start: Callable[..., Awaitable[None]],
    stop: Hook,
    drain: Hook,
    open_guard: Callable[..., str],
    forked: Callable[[], None],
) -> Background:
    """Return the server of *endpoints*, which answers by then, or as soon as the running event loop has a turn.

    Args:
        endpoints: Who decides.
        settings: Where to listen.
        start: Awaited first on the loop on which it is served; told whether that is a thread's.
        stop: Awaited there at the end.
        drain: Awaited when it is to take no more work.
        open_guard: Starts the guard and returns its URL; told the same as `start`.
        forked: See `Background`.

    Raises:
        ConfigurationError: A port cannot be had, or a certificate is none.
    """
    thread = _is_without_loop()
    certificate = certificate_of(settings)
    begin = partial(start, thread=thread)
    skin = AsgiSkin(endpoints, None, start=begin, stop=stop, drain=drain)
    listener = listen(settings.host, settings.port, "server")
    try:
        guard_url = open_guard(thread=thread)
        url = url_of(listener, settings, certificate)
        return Background(
            skin,
            settings,
            listener,
            certificate=certificate,
            urls=(url, guard_url),
            start=begin,
            stop=stop,
            forked=forked,
        )
    except BaseException:
        listener.close()
        raise


def _is_without_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return True
    return False


_all: weakref.WeakSet[Background] = weakref.WeakSet()


def _forget_all() -> None:
    for background in list(_all):
        background.forget()


def _stop_all() -> None:
    for background in list(_all):
        background.stop()


os.register_at_fork(after_in_child=_forget_all)
atexit.register(_stop_all)
