"""Services: which there are, and how each of them is."""

from __future__ import annotations

import asyncio

import pytest

from fakes import FakeClock, settings_of
from loop import in_loop
from tasker_health.errors import CheckDegraded, CheckFailed
from tasker_health.grpc.services import Services, Serving
from tasker_health.health import Health


class Shop:
    """A service with a critical check `stock` and an optional one `mail`, both of the group `shop`."""

    def __init__(self):
        self.health = Health(settings_of(), clock=FakeClock())
        self.faults = {"stock": None, "mail": None}
        self.calls = 0
        self.gate = asyncio.Event()
        self.gate.set()
        for name, critical in (("stock", True), ("mail", False)):
            self.health.check(name, critical=critical, groups=["shop"])(self._check(name))
        self.services = Services(self.health.monitor)

    def _check(self, name):
        async def check():
            self.calls += 1
            await self.gate.wait()
            if self.faults[name] is not None:
                raise self.faults[name]

        return check

    async def states(self):
        """Return every state by its first letter of `SERVING` or `NOT_SERVING`."""
        states = await self.services.states(self.services.names)
        return {name: state is Serving.SERVING for name, state in states.items()}


ALL = {"", "readiness", "liveness", "startup", "configuration", "stock", "mail", "shop"}


@pytest.mark.parametrize(
    ("faults", "not_serving"),
    [
        ({}, set()),
        ({"stock": CheckFailed("refused")}, {"", "readiness", "stock", "shop"}),
        ({"mail": CheckFailed("refused")}, {"mail"}),
        ({"stock": CheckDegraded("ahead")}, set()),
    ],
)
@in_loop
async def test_a_service_is_what_its_path_is_over_http(faults, not_serving):
    """Critical checks decide the whole, an optional one only what bears its name; degraded is good enough."""
    shop = Shop()
    shop.faults |= faults
    states = await shop.states()
    assert {name for name, serves in states.items() if not serves} == not_serving
    assert set(states) == ALL


@in_loop
async def test_all_services_share_one_run():
    """A list asks a dependency once, and an answer serves as long as over HTTP."""
    shop = Shop()
    await shop.states()
    await shop.states()
    assert shop.calls == 2


@in_loop
async def test_all_services_share_one_run_when_no_answer_serves_twice():
    """With `readiness_max_age_seconds` 0 each question is a run, however many services it is about."""
    health = Health(settings_of(health={"readiness_max_age_seconds": 0}))
    calls = []
    health.check("stock")(lambda: calls.append(1))
    services = Services(health.monitor)
    await services.states(services.names)
    assert len(calls) == 1
    await services.states(services.names)
    assert len(calls) == 2


@in_loop
async def test_startup_is_over_when_what_was_declared_is_done():
    """The service `startup` follows `wait_for`."""
    health = Health(settings_of())
    done = health.wait_for("warm_up")
    services = Services(health.monitor)
    assert await services.state("startup") is Serving.NOT_SERVING
    done()
    assert await services.state("startup") is Serving.SERVING


@pytest.mark.parametrize("name", ["nothing", "Readiness", "readiness ", "*", "grpc.health.v1.Health"])
@in_loop
async def test_other_names_are_unknown(name):
    """Names match exactly."""
    assert await Shop().services.state(name) is Serving.SERVICE_UNKNOWN


@in_loop
async def test_a_drain_ends_what_stands_for_traffic():
    """Liveness and startup are about the process, which is well: who restarts on them must not do so."""
    shop = Shop()
    shop.services.drain()
    states = await shop.states()
    assert {name for name, serves in states.items() if serves} == {"liveness", "startup"}
    assert await shop.services.state("nothing") is Serving.SERVICE_UNKNOWN


@in_loop
async def test_an_answer_under_way_does_not_undo_a_drain():
    """It was asked before, and comes after."""
    shop = Shop()
    shop.gate.clear()
    asked = asyncio.ensure_future(shop.services.state("stock"))
    while not shop.calls:
        await asyncio.sleep(0)
    shop.services.drain()
    shop.gate.set()
    assert await asked is Serving.NOT_SERVING


@in_loop
async def test_a_check_of_a_name_of_ours_is_not_to_be_had():
    """A check called `liveness` changes nothing of the service."""
    health = Health(settings_of())

    @health.check("liveness")
    async def liveness():
        raise CheckFailed("refused")

    services = Services(health.monitor)
    assert services.names.count("liveness") == 1
    assert await services.state("liveness") is Serving.SERVING
    assert await services.state("") is Serving.NOT_SERVING
