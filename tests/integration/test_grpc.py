"""gRPC health, asked by grpcio's own clients: `Check`, `List`, `Watch`, in good times and bad."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import socket
import time

import grpc
import pytest
from grpc_health.v1 import health_pb2 as messages
from grpc_health.v1.health_pb2_grpc import HealthStub

from integration.grpc_scene import (
    NOT_SERVING,
    PATIENCE_SECONDS,
    SERVICE_UNKNOWN,
    SERVING,
    Shop,
    becomes,
    next_of,
    request,
    served,
    state,
)
from loop import in_loop
from server import free_port, wait_until
from tasker_health.errors import ConfigurationError
from tasker_health.grpc import watchers as room

NAMES = {"", "readiness", "liveness", "startup", "configuration", "stock", "shop"}


async def until(condition):
    """Wait until *condition* is true, while the event loop goes on."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.005)


@in_loop
async def test_a_plain_client_checks_and_lists():
    """The synchronous client: every service serves, an unknown one is `NOT_FOUND`, the list has them all."""
    async with served() as (shop, _):

        def ask():
            with grpc.insecure_channel(shop.address) as channel:
                client = HealthStub(channel)
                for name in NAMES:
                    assert client.Check(request(name), timeout=PATIENCE_SECONDS).status == SERVING, name
                with pytest.raises(grpc.RpcError) as raised:
                    client.Check(request("nothing"), timeout=PATIENCE_SECONDS)
                assert raised.value.code() is grpc.StatusCode.NOT_FOUND
                listed = client.List(messages.HealthListRequest(), timeout=PATIENCE_SECONDS).statuses
                assert {name: each.status for name, each in listed.items()} == dict.fromkeys(NAMES, SERVING)
                assert next(iter(client.Watch(request("stock")))).status == SERVING

        await asyncio.to_thread(ask)
        assert shop.calls == 1


@in_loop
async def test_a_list_that_is_too_long_is_refused():
    """A hundred services are the protocol's most."""
    async with served() as (shop, client):
        extra = [f"check_{number}" for number in range(200)]
        shop.health.monitor._critical.update(dict.fromkeys(extra, False))
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await client.List(messages.HealthListRequest(), timeout=PATIENCE_SECONDS)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@in_loop
async def test_a_watcher_gets_the_present_state_and_every_change():
    """Within about a second of it, and nobody asks the dependency more often than one answer serves."""
    async with served() as (shop, client):
        began = time.monotonic()
        watches = {name: client.Watch(request(name)) for name in ("", "stock", "shop")}
        assert [await next_of(watch) for watch in watches.values()] == [SERVING] * 3
        for well, expected in ((False, NOT_SERVING), (True, SERVING)):
            shop.is_well = well
            changed = time.monotonic()
            assert [await next_of(watch) for watch in watches.values()] == [expected] * 3
            assert time.monotonic() - changed < 5  # 1 s where nothing else runs
        assert shop.calls <= time.monotonic() - began + 1
        for watch in watches.values():
            watch.cancel()
        await until(lambda: shop.watchers == 0)


@in_loop
async def test_an_unknown_service_is_watched_without_an_end():
    """The protocol wants `SERVICE_UNKNOWN` and no end of the call: it ends with the server alone."""
    async with served() as (shop, client):
        unknown = client.Watch(request("nothing"))
        assert await next_of(unknown) == SERVICE_UNKNOWN
        known = client.Watch(request("stock"))
        assert await next_of(known) == SERVING
        shop.is_well = False
        assert await next_of(known) == NOT_SERVING
        await shop.health.drain()
        assert not unknown.done()
        await shop.health.stop()
        assert await next_of(unknown) is grpc.StatusCode.UNAVAILABLE
        assert await unknown.details() == "the server stops"  # and not: cut off at the end of its grace


@in_loop
async def test_a_hung_database_costs_its_deadline(own_postgres):
    """PostgreSQL is paused: the answer comes, a client that has less time cancels nothing for the others."""
    async with served(database={"url": own_postgres.url}) as (shop, client):
        await becomes(client, "", SERVING)
        watch = client.Watch(request("database"))
        assert await next_of(watch) == SERVING
        own_postgres.pause()
        await becomes(client, "database", NOT_SERVING)
        assert await next_of(watch) == NOT_SERVING

        async def timed(name, timeout=PATIENCE_SECONDS):
            began = time.monotonic()
            return await state(client, name, timeout), time.monotonic() - began

        await until(lambda: shop.health.monitor.kept_readiness.until < shop.health.monitor.clock.monotonic())
        runs = shop.calls
        hurried, patient, alive = await asyncio.gather(timed("", 0.2), timed("readiness"), timed("liveness"))
        assert hurried[0] is grpc.StatusCode.DEADLINE_EXCEEDED or hurried[0] == NOT_SERVING
        assert patient[0] == NOT_SERVING
        assert alive[0] == SERVING
        assert patient[1] < 3  # 0.8 s where nothing else runs
        assert alive[1] < max(patient[1], 0.7)  # it waits for no check
        assert shop.calls <= runs + 2
        own_postgres.resume()
        await becomes(client, "", SERVING)
        assert await next_of(watch) == SERVING


@in_loop
async def test_an_impatient_client_leaves_alone():
    """Its deadline passes while a check hangs; who asked at the same time gets the answer of the same run."""
    async with served(health={"readiness_timeout_seconds": 30}) as (shop, client):
        shop.gate.clear()
        patient = asyncio.ensure_future(state(client))
        await until(lambda: shop.calls)
        assert await state(client, "", 0.1) is grpc.StatusCode.DEADLINE_EXCEEDED
        shop.gate.set()
        assert await patient == SERVING
        assert shop.calls == 1


_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

GARBAGE = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00",
    random.Random(7).randbytes(100_000),
    _PREFACE * 2,
    b"",
    b"PRI ",
)


@in_loop
async def test_garbage_does_no_harm(capfd, monkeypatch):
    """HTTP/1, TLS, noise and silence are ended within the time of a handshake; others are answered meanwhile."""
    from tasker_health.grpc import server

    options = dict(server._OPTIONS)
    assert options["grpc.server_handshake_timeout_ms"] <= 5000
    options["grpc.server_handshake_timeout_ms"] = 1000
    monkeypatch.setattr(server, "_OPTIONS", tuple(options.items()))
    async with served() as (shop, client):
        talks = []
        for junk in GARBAGE:
            reader, writer = await asyncio.open_connection(*shop.address.split(":"))
            writer.write(junk)
            talks.append((reader, writer))
        assert await state(client) == SERVING
        for reader, writer in talks:
            with contextlib.suppress(ConnectionError):
                await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
            writer.close()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await client.Check(request("x" * 5000), timeout=PATIENCE_SECONDS)
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await state(client, "stock") == SERVING
    assert "Traceback" not in capfd.readouterr().err


@in_loop
async def test_a_hundred_watchers_are_told_of_a_drain_at_once(monkeypatch):
    """All of them, without a look that would find it out; liveness goes on; who leaves is forgotten."""
    monkeypatch.setattr(room, "_LEAST_PAUSE_SECONDS", 3600)
    monkeypatch.setattr(room, "_LONGEST_PAUSE_SECONDS", 3600)
    async with served() as (shop, client):
        watches = [client.Watch(request("readiness")) for _ in range(100)]
        alive = client.Watch(request("liveness"))
        assert set(await asyncio.gather(*map(next_of, [*watches, alive]))) == {SERVING}
        assert shop.watchers == 101
        assert shop.calls == 1
        await shop.health.drain()
        assert set(await asyncio.gather(*map(next_of, watches))) == {NOT_SERVING}
        assert [await state(client, name) for name in ("", "stock", "shop", "liveness", "startup")] == [
            *[NOT_SERVING] * 3,
            *[SERVING] * 2,
        ]
        for watch in watches[:50]:
            watch.cancel()
        await until(lambda: shop.watchers == 51)


@in_loop
async def test_too_many_watchers_leave_room_for_questions(monkeypatch):
    """One more is refused with `RESOURCE_EXHAUSTED`; a check is answered."""
    monkeypatch.setattr(room, "MOST_WATCHERS", 3)
    async with served() as (_, client):
        watches = [client.Watch(request()) for _ in range(3)]
        assert [await next_of(watch) for watch in watches] == [SERVING] * 3
        assert await next_of(client.Watch(request())) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert await state(client) == SERVING


@in_loop
async def test_a_watcher_that_never_reads_holds_up_nobody():
    """Not the others, and not the stop; what it has not read is one state."""
    async with served(health={"readiness_max_age_seconds": 0}) as (shop, client):
        deaf = client.Watch(request("stock"))
        watch = client.Watch(request("stock"))
        assert await next_of(watch) == SERVING
        for well in (False, True) * 3:
            shop.is_well = well
            assert await next_of(watch) == (SERVING if well else NOT_SERVING)
        assert shop.watchers == 2
        began = time.monotonic()
        await shop.health.stop()
        assert time.monotonic() - began < 5  # 1 s where it never reads
        assert await next_of(watch) is grpc.StatusCode.UNAVAILABLE
        deaf.cancel()


@in_loop
async def test_stop_and_start_again():
    """The port is free when it has stopped, and a new server answers there."""
    port = free_port()
    shop = Shop(grpc={"enabled": True, "port": port})
    for _ in range(3):
        await shop.health.start()
        await shop.health.start()
        async with grpc.aio.insecure_channel(shop.address) as channel:
            assert await state(HealthStub(channel)) == SERVING
        await shop.health.stop()
        assert shop.address == ""
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", port))


@in_loop
async def test_two_of_them_in_one_process():
    """Each answers for itself."""
    async with served("left") as (left, of_left), served("right") as (_, of_right):
        left.is_well = False
        assert await state(of_left) == NOT_SERVING
        assert await state(of_right) == SERVING
        assert await state(of_left, "right") is grpc.StatusCode.NOT_FOUND


_HEALTH_CHECKED = {
    "loadBalancingConfig": [{"round_robin": {}}],
    "healthCheckConfig": {"serviceName": "readiness"},
}


@in_loop
async def test_a_client_that_checks_health_leaves_a_backend_that_is_not_serving():
    """Client-side health checking of grpcio, with round robin: calls go to both, to the one that serves, to both."""
    async with served("left") as (left, _), served("right") as (right, _):
        target = f"ipv4:{left.address},{right.address}"
        options = [("grpc.service_config", json.dumps(_HEALTH_CHECKED))]
        async with grpc.aio.insecure_channel(target, options=options) as channel:
            client = HealthStub(channel)

            async def answering():
                """Return who answers a dozen calls: only the left one knows its check."""
                states = [await state(client, "left") for _ in range(12)]
                return {"left" if each != grpc.StatusCode.NOT_FOUND else "right" for each in states}

            async def is_answered_by(*names):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    while await answering() != set(names):
                        await asyncio.sleep(0.02)

            await is_answered_by("left", "right")
            left.is_well = False
            await is_answered_by("right")
            left.is_well = True
            await is_answered_by("left", "right")
            await left.health.drain()
            await is_answered_by("right")


@in_loop
async def test_a_port_that_is_taken_is_one_line():
    """Whoever has it; nothing is left behind."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        shop = Shop(grpc={"enabled": True, "port": port})
        for refused in (shop.health.start, _claiming(shop)):
            with pytest.raises(ConfigurationError, match=rf"^grpc.port = {port}: the port is in use; .*GRPC__PORT$"):
                await refused()
        await shop.health.stop()


def _claiming(shop):
    async def claim():
        shop.health.grpc.claim()

    return claim


@in_loop
async def test_a_stranger_does_not_share_the_port():
    """Another `Health` of this process is no worker of the same server: one would answer for the other."""
    port = free_port()
    async with served("left", grpc={"enabled": True, "port": port}):
        right = Shop("right", grpc={"enabled": True, "port": port})
        with pytest.raises(ConfigurationError, match="in use"):
            await right.health.start()
        await right.health.stop()


@in_loop
async def test_what_goes_wrong_is_not_told(caplog):
    """A fault of ours is `INTERNAL`, and its text is in the log alone."""
    async with served() as (shop, client):
        shop.health.monitor.ready = _failing
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await client.Check(request(), timeout=PATIENCE_SECONDS)
        assert raised.value.code() is grpc.StatusCode.INTERNAL
        assert "hidden" not in str(raised.value)
        assert "hidden" in caplog.text


async def _failing(*_):
    raise RuntimeError("hidden")


def test_the_wsgi_bridge_serves_it():
    """On the loop of the bridge, from the start of the application to its stop."""
    shop = Shop()
    application = shop.health.wsgi()
    application.start()
    try:
        wait_until(lambda: shop.address, "gRPC is served")
        with grpc.insecure_channel(shop.address) as channel:
            assert HealthStub(channel).Check(request("stock"), timeout=PATIENCE_SECONDS).status == SERVING
    finally:
        application.stop()
    assert shop.address == ""


def test_a_worker_serves_it_in_the_background():
    """`serve_in_background` finds a taken port before anything begins."""
    shop = Shop(server={"port": 0}, guard={"enabled": False})
    serving = shop.health.serve_in_background()
    try:
        with grpc.insecure_channel(shop.address) as channel:
            assert HealthStub(channel).Check(request("stock"), timeout=PATIENCE_SECONDS).status == SERVING
    finally:
        serving.stop()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        late = Shop(
            server={"port": 0}, guard={"enabled": False}, grpc={"enabled": True, "port": taken.getsockname()[1]}
        )
        with pytest.raises(ConfigurationError, match=r"grpc\.port"):
            late.health.serve_in_background()
