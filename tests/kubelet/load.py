"""Clients of a Service, asking all the time: some keep their connection, some open one for each request."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

import h11

from kubelet.connection import Connection
from kubelet.service import NoEndpointsError, Service

_TIMEOUT_SECONDS = 15


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

    Attributes:
        asked: Every request so far.
    """

    def __init__(self, service: Service, port: int, path: str, pause_seconds: float) -> None:
        self.asked: list[Asked] = []
        self._service, self._port, self._path, self._pause_seconds = service, port, path, pause_seconds

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
        connection, address = None, ""
        while True:
            if connection is None or not connection.reusable:
                connection, address = await self._close(connection), ""
            began = time.monotonic()
            code, words = 0, ""
            try:
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    if connection is None:
                        address = self._service.choose()
                        connection = await Connection.open(address, self._port)
                    code = await self._ask(connection, address, keeps=keeps)
            except (OSError, h11.RemoteProtocolError, TimeoutError, NoEndpointsError) as error:
                words = f"{type(error).__name__}: {error}"
            self.asked.append(Asked(began, time.monotonic() - began, address, code, words, keeps))
            if words or not keeps:
                connection = await self._close(connection)
            await asyncio.sleep(self._pause_seconds)

    async def _ask(self, connection: Connection, address: str, *, keeps: bool) -> int:
        headers = {"Host": f"{address}:{self._port}"} | ({} if keeps else {"Connection": "close"})
        head = await connection.ask(self._path, headers)
        await connection.body()
        return head.code

    async def _close(self, connection: Connection | None) -> None:
        if connection is not None:
            await connection.close()
