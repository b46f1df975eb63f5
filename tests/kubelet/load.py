"""Clients of a Service, asking all the time: some keep their connection, some open one for each request."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import h11

from kubelet.connection import Connection
from kubelet.service import Service


@dataclass(frozen=True)
class Asked:
    """One request of a client.

    Attributes:
        at: When it was sent, by the monotonic clock.
        seconds: How long it took.
        address: Of the pod; empty: there was none.
        code: What it was answered; 0: nothing.
        words: Why not.
        keeps: Whether the client keeps its connection.
    """

    at: float
    seconds: float
    address: str
    code: int
    words: str
    keeps: bool


class Load:
    """Clients that ask *path* one request after the other, with a pause between.

    Args:
        service: Where they get their addresses.
        port: Of the pods.
        path: What they ask.
        pause_seconds: Between an answer and the next request.
        timeout_seconds: For how long they wait.

    Attributes:
        asked: Every request so far.
    """

    def __init__(self, service: Service, port: int, path: str, pause_seconds: float, timeout_seconds: float) -> None:
        self.asked: list[Asked] = []
        self._service, self._port, self._path = service, port, path
        self._pause_seconds, self._timeout_seconds = pause_seconds, timeout_seconds

    @property
    def lost(self) -> list[Asked]:
        """The requests that were not answered with 200."""
        return [each for each in self.asked if each.code != 200]

    async def run(self, *, keeping: int, opening: int) -> None:
        """Be so many clients of either kind for ever."""
        async with asyncio.TaskGroup() as clients:
            for number in range(keeping + opening):
                clients.create_task(self._client(keeps=number < keeping))

    async def _client(self, *, keeps: bool) -> None:
        client = _Client(self._service, self._port)
        try:
            while True:
                await self._ask(client, keeps=keeps)
                await asyncio.sleep(self._pause_seconds)
        finally:
            client.leave()

    async def _ask(self, client: _Client, *, keeps: bool) -> None:
        client.look()
        began = time.monotonic()
        code, words = 0, ""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                code = await client.ask(self._path, keeps=keeps)
        except (OSError, h11.RemoteProtocolError, TimeoutError) as error:
            words = f"{type(error).__name__}: {error}"
        self.asked.append(Asked(began, time.monotonic() - began, client.address, code, words, keeps))
        if words or not keeps:
            client.leave()


class _Client:
    """Who asks, with the connection that he has, if he has one."""

    def __init__(self, service: Service, port: int) -> None:
        self.address = ""
        self._service, self._port = service, port
        self._connection: Connection | None = None

    async def ask(self, path: str, *, keeps: bool) -> int:
        """Return the code of the answer, over the connection or a new one."""
        if self._connection is None:
            self.address = self._service.choose()
            self._connection = await Connection.open(self.address, self._port)
        headers = {"Host": f"{self.address}:{self._port}"} | ({} if keeps else {"Connection": "close"})
        head = await self._connection.ask(path, headers)
        await self._connection.body()
        return head.code

    def look(self) -> None:
        """Leave a connection that the other side has ended or does not want to go on with."""
        if self._connection is None or not self._connection.reusable:
            self.leave()

    def leave(self) -> None:
        """Have none."""
        if self._connection is not None:
            self._connection.drop()
        self._connection, self.address = None, ""
