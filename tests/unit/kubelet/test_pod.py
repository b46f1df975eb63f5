"""How containers are ended and started again, in which order, and when clients learn of it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from types import SimpleNamespace

import pytest

import kubelet.container
from kubelet.container import Image
from kubelet.http_get import HttpGet
from kubelet.manifest import ContainerSpec, DeploymentSpec, PreStop, ProbeSpec
from kubelet.pod import BackOff, Pod
from kubelet.service import NoEndpointsError, Service
from loop import in_loop
from server import free_port

PATIENCE_SECONDS = 30
WELL = "sleep 600"
DEAF = "trap '' TERM; echo deaf; while :; do sleep 600; done"
SLOW = "trap 'sleep 0.2; echo over; exit 0' TERM; echo there; while :; do sleep 0.05; done"


@pytest.fixture(autouse=True)
def _short_least(monkeypatch):
    """Two seconds are left after `preStop` at least, in Kubernetes."""
    monkeypatch.setattr(kubelet.container, "LEAST_GRACE_SECONDS", 0.5)


async def until(condition, what):
    """Wait until *condition* holds."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < ends_at, what
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def pod_of(folder, *scripts, grace_seconds=5, sidecars=0, back_off=0.3, **fields):
    """Run a pod with a container for each of *scripts*, the first *sidecars* of them sidecars."""
    containers = tuple(
        ContainerSpec(str(number), script, sidecar=number < sidecars, **fields) for number, script in enumerate(scripts)
    )
    images = {script: Image(lambda _, script=script: ["sh", "-c", script], lambda _: {}) for script in scripts}
    spec = DeploymentSpec("orders", containers, grace_seconds=grace_seconds)
    pod = Pod(spec, images, "127.0.0.1", folder, BackOff(back_off), random_start=False)
    pod.start()
    try:
        yield pod
    finally:
        if not pod.times("Gone"):
            await pod.end()


def failing(kind="liveness", **fields):
    """Return probes that ask a port at which nobody is."""
    probe = ProbeSpec(HttpGet("/", free_port()), period_seconds=0.05, failure_threshold=2, **fields)
    return {"probes": {kind: probe}}


async def deleted(pod):
    """Delete *pod*, and return how long it took."""
    began = time.monotonic()
    await pod.delete()
    return time.monotonic() - began


@in_loop
async def test_who_hears_sigterm_is_not_killed(tmp_path):
    """It ends in its own time within the grace, and its probes are over."""
    async with pod_of(tmp_path, SLOW) as pod:
        await until(lambda: "there" in pod.log, "it is there")
        assert pod.ready
        assert 0.2 <= await deleted(pod) < 5
    assert (pod.containers[0].killed, pod.ready, pod.log) == (0, False, "there\nover\n")


@in_loop
async def test_who_does_not_is_killed_when_the_grace_is_over(tmp_path):
    """And everything that it has started."""
    async with pod_of(tmp_path, DEAF, grace_seconds=0.6) as pod:
        await until(lambda: "deaf" in pod.log, "it is there")
        assert await deleted(pod) >= 0.6
    assert (pod.containers[0].killed, pod.containers[0].running) == (1, False)


@pytest.mark.parametrize("hook", [PreStop(sleep_seconds=0.4), PreStop(command=("sleep", "0.4"))])
@in_loop
async def test_pre_stop_comes_before_sigterm(tmp_path, hook):
    """By seconds or by a command; the process is told afterwards."""
    async with pod_of(tmp_path, WELL, pre_stop=hook) as pod:
        await until(lambda: pod.ready, "it is ready")
        assert await deleted(pod) >= 0.4
    assert pod.containers[0].killed == 0


@in_loop
async def test_pre_stop_is_part_of_the_grace(tmp_path):
    """One that takes longer is given up, and a little is left for SIGTERM all the same."""
    async with pod_of(tmp_path, SLOW, pre_stop=PreStop(sleep_seconds=600), grace_seconds=0.3) as pod:
        await until(lambda: "there" in pod.log, "it is there")
        assert 0.5 <= await deleted(pod) < 20
    assert (pod.containers[0].killed, pod.log) == (0, "there\nover\n")


@in_loop
async def test_liveness_kills_and_restarts(tmp_path):
    """After the threshold; its own grace is taken; the second restart waits, the first does not."""
    async with pod_of(tmp_path, DEAF, **failing(grace_seconds=0)) as pod:
        await until(lambda: pod.restarts == 2, "it is restarted")
        started, over = pod.times("Started"), pod.times("Ended")
        assert started[1] - over[0] < 0.3 <= started[2] - over[1]
        assert len(pod.times("Condemned")) == pod.containers[0].killed == 2
        assert len(pod.unhealthy("liveness")) == 4


@in_loop
async def test_readiness_kills_nobody(tmp_path):
    """It begins not ready, and stays it."""
    async with pod_of(tmp_path, WELL, **failing("readiness")) as pod:
        await until(lambda: pod.answers("readiness") > 6, "it is asked")
        assert (pod.ready, pod.restarts, pod.times("Condemned")) == (False, 0, [])


@in_loop
async def test_a_process_that_ends_is_started_again(tmp_path):
    """Whatever it returns."""
    async with pod_of(tmp_path, "exit 0") as pod:
        await until(lambda: pod.restarts == 2, "it is started again")
        assert pod.times("Killing") == []


def test_back_off_is_doubled():
    """From nothing and 10 s up to 5 minutes."""
    assert [BackOff().seconds(number) for number in range(8)] == [0, 10, 20, 40, 80, 160, 300, 300]


@in_loop
async def test_a_sidecar_starts_first_and_ends_last(tmp_path):
    """The others wait for its startup probe, and it waits for their end."""
    first = "trap 'echo sidecar over; exit 0' TERM; echo sidecar; while :; do sleep 0.05; done"
    async with pod_of(tmp_path, first, SLOW, sidecars=1) as pod:
        await until(lambda: "there" in pod.log, "both are there")
        await pod.delete()
    assert pod.log.split("\n")[-3:] == ["over", "sidecar over", ""]
    (tmp_path / "2").mkdir()
    async with pod_of(tmp_path / "2", first, WELL, sidecars=1, **failing("startup", initial_delay_seconds=0)) as pod:
        await until(lambda: pod.restarts, "the sidecar is restarted")
        assert pod.containers[1].number == 0


def fake(address):
    """Return a pod as a Service sees it."""
    return SimpleNamespace(address=address, ready=True, deleted=False)


@in_loop
async def test_a_service_has_those_that_are_ready_and_do_not_end():
    """One after the other; nobody is refused."""
    pods = [fake("a"), fake("b")]
    service = Service(lambda: pods, lag_seconds=0)
    with pytest.raises(NoEndpointsError):
        service.choose()
    follow = asyncio.create_task(service.follow())
    await until(lambda: len(service.endpoints) == 2, "both are in")
    assert {service.choose(), service.choose()} == {"a", "b"}
    pods[0].ready, pods[1].deleted = False, True
    await until(lambda: not service.endpoints, "both are out")
    follow.cancel()


@in_loop
async def test_a_change_is_known_late():
    """After a part of the lag; what has changed back meanwhile has not changed."""
    pods = [fake("a")]
    service = Service(lambda: pods, lag_seconds=600)
    service._endpoints.append("a")
    follow = asyncio.create_task(service.follow())
    pods[0].deleted = True
    await until(lambda: service._due, "it is known that it will be out")
    assert service.endpoints == ["a"]
    pods[0].deleted = False
    await until(lambda: not service._due, "it will not")
    assert service.changes == []
    follow.cancel()
