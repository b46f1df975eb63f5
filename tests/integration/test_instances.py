"""Several instances in one process: each has its own settings, clock, checks, sources, callers and end."""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack
from datetime import UTC, datetime

import httpx
import pytest

from tasker_health import Health
from tasker_health.cache.memory import MemoryCache
from tasker_health.testing import (
    FakeAuthenticator,
    FakeCheck,
    FakeClock,
    FakeCoordinator,
    FixedSource,
    HealthClient,
    admin_user,
    assert_not_ready,
    assert_ready,
    facts_of,
    settings_of,
)

ASKERS = 50
NOW = 1_750_260_600.0


class Instance:
    """One health and everything that it is made of."""

    def __init__(self, name, *, now, completed, locked=False):
        settings = settings_of(
            server={"prefix": f"/{name}"},
            health={
                "service_name": name,
                "readiness_max_age_seconds": 0,
                "readiness_timeout_seconds": 0.3,
                "status_requires_authentication": locked,
            },
            auth={"authentication_enabled": locked, "authorization_enabled": locked},
        )
        self.name = name
        self.clock, self.check, self.source = FakeClock(now), FakeCheck("store"), FixedSource(name="shop")
        self.source.facts = facts_of(completed=completed)
        self.authenticator = FakeAuthenticator(users={"Bearer alice": admin_user()})
        self.health = Health(
            settings,
            clock=self.clock,
            cache=MemoryCache(self.clock.monotonic),
            authenticator=self.authenticator,
            coordinator_class=FakeCoordinator,
        )
        self.health.add_check(self.check)
        self.health.add_source(self.source)


@pytest.fixture
def orders():
    """The one that everybody may read."""
    return Instance("orders", now=NOW, completed=1)


@pytest.fixture
def stock():
    """The one that only some may, a day later by its clock."""
    return Instance("stock", now=NOW + 86_400, completed=2, locked=True)


async def service(scope, receive, send):
    """Answer what neither claims."""
    await send({"type": "http.response.start", "status": 202, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def client_of(app):
    """Return a client in process."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://testserver")


def at(seconds):
    """Return a time as the answers have it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_two_before_one_application_answer_each_for_itself(orders, stock):
    """Asked at once: prefix, name, clock, facts, access, counts and trouble are each one's own."""

    async def run():
        async with client_of(orders.health.asgi(stock.health.asgi(service))) as client:
            paths = [f"/{each.name}/health/{what}" for each in (orders, stock) for what in ("live", "ready", "status")]
            answers = await asyncio.gather(*(client.get(path) for path in paths * ASKERS))
            by_path = {}
            for path, answer in zip(paths * ASKERS, answers, strict=True):
                by_path.setdefault(path, []).append(answer)
            assert {path: {each.status_code for each in found} for path, found in by_path.items()} == {
                **{path: {200} for path in paths},
                "/stock/health/status": {401},
            }
            told = {each.json()["timestamp"] for each in by_path["/orders/health/live"]}
            later = {each.json()["timestamp"] for each in by_path["/stock/health/live"]}
            assert (told, later) == ({at(NOW)}, {at(NOW + 86_400)})
            assert by_path["/stock/health/live"][0].json()["service"] == "stock"
            known = await client.get("/stock/health/status", headers={"Authorization": "Bearer alice"})
            assert known.json()["system_health"]["completed_tasks"] == 2
            assert by_path["/orders/health/status"][0].json()["system_health"]["completed_tasks"] == 1
            assert (orders.source.reads, stock.source.reads) == (1, 1)
            assert (await client.get("/orders")).status_code == 202
            assert (await client.get("/tasker/health/live")).status_code == 202

            orders.check.fail("refused")
            await assert_not_ready(client, failed=["store"], prefix="/orders")
            await assert_ready(client, prefix="/stock")
            orders.check.succeed()
        await orders.health.stop()
        await stock.health.stop()

    asyncio.run(run())


def test_one_is_stopped_while_the_other_goes_on(orders, stock):
    """And drained: the other is asked all the while, and is well and complete in every answer."""

    async def run():
        async with client_of(orders.health.asgi(stock.health.asgi(service))) as client:
            headers = {"Authorization": "Bearer alice"}
            stopped = asyncio.Event()

            async def ask():
                answers = []
                while not stopped.is_set():
                    answers.append((await client.get("/stock/health/ready")).status_code)
                    answers.append((await client.get("/stock/health/status", headers=headers)).status_code)
                return answers

            await assert_ready(client, prefix="/orders")
            asking = [asyncio.ensure_future(ask()) for _ in range(4)]
            orders.check.hang()
            waiting = asyncio.ensure_future(client.get("/orders/health/ready"))
            await asyncio.sleep(0)
            await orders.health.drain()
            assert (await client.get("/orders/health/ready")).json()["checks"]["server"]["reason"] == "draining"
            await orders.health.stop()
            assert (await waiting).status_code == 503
            await asyncio.sleep(0)
            assert (orders.source.closed, stock.source.closed) == (1, 0)
            stopped.set()
            answers = [code for codes in await asyncio.gather(*asking) for code in codes]
            assert len(answers) >= 8
            assert set(answers) == {200}
            await assert_ready(client, prefix="/stock")
        await stock.health.stop()
        assert stock.source.closed == 1

    asyncio.run(run())


def test_each_may_have_a_loop_of_its_own(orders, stock):
    """Behind WSGI, in threads that ask both at once; the end of one is not the end of the other's loop."""
    with ExitStack() as stack:
        clients = [stack.enter_context(HealthClient(each.health)) for each in (orders, stock)]
        failures = []

        def ask(client, prefix):
            try:
                for _ in range(20):
                    assert_ready(client, prefix=prefix)
            except AssertionError as failure:
                failures.append(failure)

        threads = [
            threading.Thread(target=ask, args=(client, f"/{each.name}"))
            for client, each in zip(clients, (orders, stock), strict=True)
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert failures == []
        clients[0].close()
        assert_ready(clients[1], prefix="/stock")
        assert (orders.source.closed, stock.source.closed) == (1, 0)
        assert_ready(clients[0], prefix="/orders")


def test_what_is_given_is_what_is_used(orders):
    """Clock, cache, authenticator and coordinator are those that were handed over, and nobody else's."""
    asked = []

    class Remembering(MemoryCache):
        async def put(self, key, value, keep_seconds):
            asked.append(key)
            await super().put(key, value, keep_seconds)

    class Refusing(FakeCoordinator):
        async def authorized(self, resource, action, context):
            return False

    settings = settings_of(auth={"authorization_enabled": True})
    clock = FakeClock()
    health = Health(
        settings,
        cache=Remembering(clock.monotonic),
        clock=clock,
        authenticator=FakeAuthenticator(admin_user()),
        coordinator_class=Refusing,
    )
    health.add_source(FixedSource())
    with HealthClient(health) as client:
        assert client.get("/tasker/health/status").status_code == 403
        assert client.get("/tasker/health/live").json()["timestamp"] == at(clock.now())
    open_to_all = Health(settings_of(), cache=Remembering(clock.monotonic), clock=clock)
    open_to_all.add_source(FixedSource())
    with HealthClient(open_to_all) as client:
        assert client.get("/tasker/health/status").status_code == 200
    assert len(asked) == 1


def test_an_authenticator_that_hangs_is_not_anothers():
    """Blocking ones of two instances have the same name for their threads, and bounds of their own."""
    over = threading.Event()

    class Blocking:
        def __init__(self, wait):
            self.wait = wait

        def authenticate(self, request):
            self.wait()
            return admin_user()

    async def play():
        groups = {
            "health": {"status_requires_authentication": True},
            "auth": {"authentication_enabled": True, "timeout_seconds": 0.5},
        }
        hung = Health(settings_of(**groups), authenticator=Blocking(over.wait))
        well = Health(settings_of(**groups), authenticator=Blocking(lambda: None))
        try:
            async with client_of(hung.asgi()) as asked:
                answers = await asyncio.gather(*(asked.get("/tasker/health/status") for _ in range(ASKERS)))
                assert {answer.status_code for answer in answers} == {500}
            async with client_of(well.asgi()) as asked:
                assert (await asked.get("/tasker/health/status")).status_code == 200
        finally:
            over.set()
            await hung.stop()
            await well.stop()

    asyncio.run(play())
