"""gRPC health and clients that mean harm: no message, messages that are none, one that takes all places."""

from __future__ import annotations

import asyncio
import contextlib

import grpc

from integration.grpc_scene import NOT_SERVING, PATIENCE_SECONDS, SERVING, request, served, state
from loop import in_loop
from tasker_health.grpc import server

METHODS = ("Check", "List", "Watch")


@contextlib.asynccontextmanager
async def stranger(shop):
    """Yield a connection of its own to *shop*."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(shop.address, options=options) as channel:
        yield channel


def path(method):
    """Return how *method* is called."""
    return f"/grpc.health.v1.Health/{method}"


async def ended(call):
    """Return the code and the text with which *call* ends."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        return await call.code(), await call.details()


async def _one_that_never_comes():
    await asyncio.Event().wait()
    yield b""


async def _none():
    for nothing in ():
        yield nothing


@in_loop
async def test_a_call_without_a_message_gives_its_place_back(monkeypatch):
    """All places are taken by calls that send headers alone: they end by themselves, and others are answered."""
    monkeypatch.setattr(server, "_MOST_CALLS", 12)
    async with served() as (shop, client), stranger(shop) as channel:
        calls = [channel.stream_stream(path(METHODS[number % 3]))(_one_that_never_comes()) for number in range(12)]
        ends = await asyncio.gather(*map(ended, calls))
        assert set(ends) == {(grpc.StatusCode.DEADLINE_EXCEEDED, "no request came")}
        assert await state(client) == SERVING
        assert shop.watchers == 0


@in_loop
async def test_a_message_that_is_none_is_told_in_fixed_words(caplog, capfd):
    """`INVALID_ARGUMENT`: no exception's text for the client, and nothing in the log for anybody to fill."""
    async with served() as (shop, client), stranger(shop) as channel:
        for method in ("Check", "Watch"):
            for noise in (b"\x0a\xff", b"\x0a\x01\xff", b"\xff" * 20):
                call = channel.unary_stream(path(method))(noise)
                said = (grpc.StatusCode.INVALID_ARGUMENT, "the request is no HealthCheckRequest")
                assert await ended(call) == said, (method, noise)
        for method in METHODS:
            call = channel.stream_stream(path(method))(_none())
            assert await ended(call) == (grpc.StatusCode.INVALID_ARGUMENT, "no request came"), method
        assert await state(client) == SERVING
    assert not [record for record in caplog.records if record.levelname not in {"DEBUG", "INFO"}]
    assert "Traceback" not in capfd.readouterr().err


@in_loop
async def test_one_connection_takes_no_more_than_its_share(monkeypatch):
    """Who opens more calls than a connection may have waits for himself; others watch and are answered."""
    options = dict(server._OPTIONS)
    assert options["grpc.max_concurrent_streams"] * 4 <= 512
    options["grpc.max_concurrent_streams"] = 4
    monkeypatch.setattr(server, "_OPTIONS", tuple(options.items()))
    monkeypatch.setattr(server, "_MOST_CALLS", 8)
    async with served() as (shop, client), stranger(shop) as channel:
        # A call before the flood: a client learns of the limit with the connection's first settings.
        assert await channel.unary_unary(path("Check"))(b"", timeout=PATIENCE_SECONDS)
        watches = [channel.unary_stream(path("Watch"))(b"") for _ in range(20)]
        done, _ = await asyncio.wait(
            [asyncio.ensure_future(watch.read()) for watch in watches[:4]], timeout=PATIENCE_SECONDS
        )
        assert {each.result() for each in done} == {b"\x08\x01"}
        assert shop.watchers == 4
        assert await state(client) == SERVING
        assert (await client.Watch(request()).read()).status == SERVING
        assert shop.watchers == 5
        for watch in watches:
            watch.cancel()


_HANDSHAKE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


@in_loop
async def test_a_connection_that_asks_nothing_is_closed(monkeypatch):
    """It has shaken hands and holds a descriptor, for half a minute at most; who watches goes on."""
    options = dict(server._OPTIONS)
    assert options["grpc.max_connection_idle_ms"] <= 30_000
    options["grpc.max_connection_idle_ms"] = 500
    monkeypatch.setattr(server, "_OPTIONS", tuple(options.items()))
    async with served() as (shop, client):
        watch = client.Watch(request("stock"))
        assert (await watch.read()).status == SERVING
        reader, writer = await asyncio.open_connection(*shop.address.split(":"))
        writer.write(_HANDSHAKE)
        await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        writer.close()
        shop.is_well = False
        assert (await watch.read()).status == NOT_SERVING
