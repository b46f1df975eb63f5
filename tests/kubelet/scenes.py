"""What a Deployment of ours goes through, scene by scene, and what was measured meanwhile."""

from __future__ import annotations

import contextlib
import socket
import time

import httpx

from caches import RedisServer
from kubelet.rollouts import (
    a_worker_beside_a_sidecar,
    an_application_is_rolled_out,
    an_application_is_rolled_out_by_drain_alone,
    an_application_that_does_not_drain_is_rolled_out,
    enough,
    nothing_was_restarted,
    serve_is_rolled_out,
)
from kubelet.staging import STALL_SECONDS
from server import wait_until
from servers import PostgresServer


def the_database_of_all_pods(stage):
    """It hangs, and comes back; it is shut down, and comes back."""
    database, told = PostgresServer(), {}
    try:
        with stage.cluster(stage.application(TASKER_DATABASE__URL=database.url)) as cluster:
            cluster.wait_ready()
            with cluster.load(stage.port, "/orders") as load:
                for name, begin, end in (
                    ("hangs", database.pause, database.resume),
                    ("is down", database.stop, database.start),
                ):
                    told[name] = _out_and_back(cluster, load, begin, end)
            nothing_was_restarted(cluster)
            return told
    finally:
        database.end()


def _out_and_back(cluster, load, begin, end):
    well = time.monotonic()
    enough(load)
    began = time.monotonic()
    begin()
    cluster.wait_ready(0)
    out = time.monotonic()
    answered = {pod: pod.answers("liveness") for pod in cluster.pods}
    wait_until(lambda: all(pod.answers("liveness") >= answered[pod] + 6 for pod in cluster.pods), "liveness is asked")
    enough(load)
    ended = time.monotonic()
    end()
    cluster.wait_ready()
    back = time.monotonic()
    meanwhile = [each for each in load.asked if out + 0.1 < each.at < ended]
    return {
        "out": out - began,
        "back": back - ended,
        "new": {each.code for each in meanwhile if not each.keeps},
        "kept": {each.code for each in meanwhile if each.keeps},
        "words": {each.words for each in meanwhile if each.words},
        "before": [each for each in load.asked if well < each.at < began and each.code != 200],
    }


def wedged(stage, path):
    """One of two pods is wedged; return when it was out, restarted and back, and what clients lost."""
    with stage.cluster(stage.application(), replicas=2) as cluster:
        cluster.wait_ready()
        pod, other = cluster.pods
        with cluster.load(stage.port, "/orders", keeping=0, opening=4, timeout_seconds=1) as load:
            enough(load)
            began = time.monotonic()
            with contextlib.closing(_send(pod.address, stage.port, path)):
                wait_until(lambda: pod.restarts == 1 and pod.ready, f"it is restarted: {cluster.told()}")
            back = time.monotonic()
            cluster.wait_ready()
            answered = pod.answers("liveness")
            wait_until(lambda: pod.answers("liveness") >= answered + 2 * STALL_SECONDS, "it is alive for longer")
        assert (pod.restarts, other.restarts) == (1, 0), cluster.told()
        return {
            "out": pod.times("NotReady")[0] - began,
            "condemned": pod.times("Condemned")[0] - began,
            "back": back - began,
            "by": [event.words for event in pod.events if event.reason == "Condemned"],
            "killed": pod.containers[0].killed,
            "lost": load.lost,
            "lost at": {each.address for each in load.lost} - {pod.address},
            "last lost": max((each.at for each in load.lost), default=began) - began,
        }


def _send(address, port, path):
    """Ask *path*, and do not wait for an answer."""
    sent = socket.create_connection((address, port))
    sent.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return sent


def an_optional_cache_hangs(stage):
    """Redis is stopped where it is; the pod stays in, degraded."""
    server = RedisServer()
    try:
        with stage.cluster(stage.application(TASKER_CACHE__URL=server.url), replicas=1) as cluster:
            cluster.wait_ready()
            (pod,) = cluster.pods
            assert pod.containers[0].spec.probes["readiness"].timeout_seconds == 1
            server.pause()
            ready = f"http://{pod.address}:{stage.guard_port}/tasker/health/ready"
            degraded = wait_until(lambda: _degraded(ready), f"it is told: {cluster.told()}")
            answered = pod.answers("readiness")
            wait_until(lambda: pod.answers("readiness") >= answered + 10, "readiness is asked")
            server.resume()
            wait_until(lambda: not _degraded(ready), "it is well again")
            nothing_was_restarted(cluster)
            return {"degraded": degraded, "unhealthy": pod.unhealthy("readiness"), "out": pod.times("NotReady")}
    finally:
        server.end()


def _degraded(url):
    """Return what an answer to /ready says is degraded; `None` where nobody answers."""
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(url, timeout=10).json().get("degraded_checks", [])


def a_slow_start(stage):
    """Two seconds until the port is open, two more until it is warm: nobody else asks meanwhile."""
    with stage.cluster(stage.application(START_SECONDS="2", WARM_UP_SECONDS="2"), replicas=1) as cluster:
        cluster.wait_ready()
        (pod,) = cluster.pods
        nothing_was_restarted(cluster)
        return {
            "startup": pod.unhealthy("startup"),
            "readiness": pod.unhealthy("readiness"),
            "held back": pod.times("StartupOver")[0] - pod.times("Started")[0],
            "ready": pod.times("Ready")[0] - pod.times("StartupOver")[0],
        }


def a_start_that_never_ends(stage):
    """It is restarted when the startup probe has been asked often enough, and again, later each time."""
    image = stage.application(WARM_UP_SECONDS="never")
    with stage.cluster(image, replicas=1, startup_seconds=3, back_off_seconds=1, pre_stop_seconds=0) as cluster:
        (pod,) = cluster.pods
        wait_until(lambda: pod.restarts == 2, f"it is restarted: {cluster.told()}")
        return {
            "by": {event.words for event in pod.events if event.reason == "Condemned"},
            "condemned": pod.times("Condemned")[0] - pod.times("Started")[0],
            "ready": pod.times("Ready"),
            "asked": pod.answers("readiness") + pod.answers("liveness"),
            "waits": [
                later - ended for later, ended in zip(pod.times("Started")[1:], pod.times("Ended"), strict=False)
            ],
        }


def a_guard_at_loopback(stage):
    """It answers at 127.0.0.1 alone, which is not where the kubelet asks."""
    image = stage.application(TASKER_GUARD__HOST="127.0.0.1")
    with stage.cluster(image, replicas=1, startup_seconds=4, pre_stop_seconds=0) as cluster:
        (pod,) = cluster.pods
        ready = f"http://127.0.0.1:{stage.guard_port}/tasker/health/ready"
        wait_until(lambda: _degraded(ready) is not None, f"it is there: {cluster.told()}")
        wait_until(lambda: pod.restarts, f"it is restarted: {cluster.told()}")
        return {"said": set(pod.unhealthy("startup")), "ready": pod.times("Ready")}


def the_manifest_as_it_is(stage):
    """Nothing is made short: three pods become ready."""
    with stage.cluster_as_it_is(stage.application()) as cluster:
        cluster.wait_ready()
        nothing_was_restarted(cluster)
        return cluster.spec


def a_blocked_loop(stage):
    """By a call that does not come back."""
    return wedged(stage, "/block")


def a_held_interpreter(stage):
    """By a native call that gives no other thread its turn."""
    return wedged(stage, "/hold")


_SCENES = (  # the long ones first
    the_database_of_all_pods,
    a_blocked_loop,
    a_held_interpreter,
    serve_is_rolled_out,
    an_application_is_rolled_out,
    an_application_is_rolled_out_by_drain_alone,
    an_application_that_does_not_drain_is_rolled_out,
    a_start_that_never_ends,
    a_slow_start,
    an_optional_cache_hangs,
    a_guard_at_loopback,
    a_worker_beside_a_sidecar,
    the_manifest_as_it_is,
)
SCENES = {scene.__name__: scene for scene in _SCENES}
