"""A service that serves gRPC, and its clients: grpcio's own."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
from grpc_health.v1 import health_pb2 as messages
from grpc_health.v1.health_pb2_grpc import HealthStub

from fakes import settings_of
from tasker_health.errors import CheckFailed
from tasker_health.health import Health

PATIENCE_SECONDS = 60
SERVING, NOT_SERVING, SERVICE_UNKNOWN = (
    messages.HealthCheckResponse.SERVING,
    messages.HealthCheckResponse.NOT_SERVING,
    messages.HealthCheckResponse.SERVICE_UNKNOWN,
)


def request(service=""):
    """Return the question about *service*."""
    return messages.HealthCheckRequest(service=service)


class Shop:
    """A `Health` with a check `stock` of the group `shop`, which fails or hangs when the test says so.

    Attributes:
        is_well: Whether the check is.
        gate: Closed, it hangs.
        calls: How often it was asked.
    """

    def __init__(self, check="stock", **groups):
        groups = {"grpc": {"enabled": True, "port": 0}, **groups}
        self.health = Health(settings_of(**groups))
        self.is_well = True
        self.gate = asyncio.Event()
        self.gate.set()
        self.calls = 0

        @self.health.check(check, groups=["shop"])
        async def stock():
            self.calls += 1
            await self.gate.wait()
            if not self.is_well:
                raise CheckFailed("refused")

    @property
    def address(self):
        """Where it answers."""
        return self.health.grpc.address

    @property
    def watchers(self):
        """How many watch."""
        return len(self.health.grpc._server._watchers)


@contextlib.asynccontextmanager
async def served(*arguments, **groups):
    """Yield a shop that serves, and a client of it."""
    shop = Shop(*arguments, **groups)
    await shop.health.start()
    try:
        async with grpc.aio.insecure_channel(shop.address) as channel:
            yield shop, HealthStub(channel)
    finally:
        await shop.health.stop()


async def state(client, service="", timeout=PATIENCE_SECONDS):
    """Return the state of *service*, or the code with which the call failed."""
    try:
        return (await client.Check(request(service), timeout=timeout)).status
    except grpc.aio.AioRpcError as error:
        return error.code()


async def becomes(client, service, expected):
    """Wait until *service* is *expected*."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await state(client, service) != expected:
            await asyncio.sleep(0.02)


async def next_of(watch):
    """Return the next state that *watch* brings, or the code with which it ends."""
    try:
        message = await asyncio.wait_for(watch.read(), PATIENCE_SECONDS)
    except grpc.aio.AioRpcError as error:
        return error.code()
    return message.status
