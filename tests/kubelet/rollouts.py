"""Rolling updates of a Deployment of ours, under load."""

from __future__ import annotations

import time

from kubelet.staging import Stage, rendered
from server import wait_until


def enough(load, count=40):
    """Wait until the clients have asked so often again."""
    seen = len(load.asked)
    wait_until(lambda: len(load.asked) >= seen + count, "requests go on")


def nothing_was_restarted(cluster):
    """No container was started twice, and no liveness probe was ever answered badly."""
    for pod in cluster.all:
        assert (pod.restarts, pod.unhealthy("liveness"), pod.times("Condemned")) == (0, [], []), cluster.told()


def rolled_out(stage, image, path, **options):
    """Replace the pods under load; return what was lost of how many requests, and how long it took."""
    with stage.cluster(image, **options) as cluster:
        cluster.wait_ready()
        with cluster.load(stage.port, path) as load:
            enough(load)
            began = time.monotonic()
            cluster.run(cluster.roll_out())
            seconds = time.monotonic() - began
            cluster.wait_ready()
            enough(load)
        assert len(cluster.gone) == cluster.spec.replicas
        nothing_was_restarted(cluster)
        killed = sum(each.killed for pod in cluster.all for each in pod.containers)
        late = sum(each.at > deleted for each in load.asked for deleted in _deleted(cluster, each.address))
        return {"lost": load.lost, "asked": len(load.asked), "killed": killed, "late": late, "s": seconds}


def _deleted(cluster, address):
    return [at for pod in cluster.all if pod.address == address for at in pod.times("Deleted")]


def an_application_is_rolled_out(stage):
    """Ours under uvicorn, with `preStop` and drain."""
    return rolled_out(stage, stage.application(), "/orders")


def an_application_is_rolled_out_by_drain_alone(stage):
    """Without `preStop`: SIGTERM comes at once, and the endpoint leaves later."""
    return rolled_out(stage, stage.application(), "/orders", pre_stop_seconds=0)


def serve_is_rolled_out(stage):
    """`tasker-health serve`."""
    return rolled_out(stage, stage.serve(), "/tasker/health/status")


def an_application_that_does_not_drain_is_rolled_out(stage):
    """With neither: this is what the others are measured against."""
    image = stage.application(TASKER_SERVER__DRAIN_SECONDS="0")
    return rolled_out(stage, image, "/orders", pre_stop_seconds=0, replicas=2)


def a_worker_beside_a_sidecar(stage):
    """Of the form `sidecar`: `tasker-health serve` is there before the worker, and after it."""
    stage = Stage(rendered("--form", "sidecar"), stage.folder)
    with stage.cluster(stage.serve(), replicas=2) as cluster:
        cluster.wait_ready()
        with cluster.load(stage.guard_port, "/tasker/health/live", keeping=0) as load:
            cluster.run(cluster.roll_out())
        nothing_was_restarted(cluster)
        events = [(event.reason, event.words) for event in cluster.gone[0].events]
        return {"events": events, "lost": load.lost, "killed": [each.killed for each in cluster.gone[0].containers]}
