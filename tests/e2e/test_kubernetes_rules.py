"""A Deployment of ours under a kubelet's rules: what is restarted, what gets traffic, and whether a request is lost.

Each scene has a cluster of its own, whose pods are real processes with addresses of their own. They are played at the
same time, as each mostly waits; what they have measured is printed (`pytest -rP`), and stands in docs/deploy/probes.md.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kubelet.scenes import SCENES
from kubelet.staging import STALL_SECONDS, Stage, rendered

pytestmark = pytest.mark.alone

AT_ONCE = 5


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """The futures of all scenes."""
    folder, manifest = tmp_path_factory.mktemp("pods"), rendered()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(scene, Stage(manifest, folder / name)) for name, scene in SCENES.items()}


@pytest.fixture
def told(played):
    """What a scene has measured, by its name."""

    def of(name):
        found = played[name].result()
        print(name, found)  # noqa: T201 -- for docs/deploy/probes.md
        return found

    return of


@pytest.mark.parametrize(
    "name", ["an_application_is_rolled_out", "an_application_is_rolled_out_by_drain_alone", "serve_is_rolled_out"]
)
def test_a_rolling_update_loses_no_request(told, name):
    """Of three pods, with requests that still come to those that were told to end; none of them has to be killed."""
    found = told(name)
    assert (found["lost"], found["killed"]) == ([], 0)
    assert found["asked"] > 200
    assert found["late"] > 0


def test_without_drain_a_rolling_update_loses_requests(told):
    """Or the test above could not fail."""
    found = told("an_application_that_does_not_drain_is_rolled_out")
    assert found["lost"]
    assert found["killed"] == 0


@pytest.mark.parametrize("fault", ["hangs", "is down"])
def test_a_database_that_is_away_restarts_nothing(told, fault):
    """All pods go out and come back by themselves; new clients are refused, kept connections are answered."""
    found = told("the_database_of_all_pods")[fault]
    assert found["before"] == []
    assert (found["new"], found["kept"]) == ({0}, {200})
    assert found["words"] == {"NoEndpointsError: the Service has no endpoints"}
    assert found["out"] < 10
    assert found["back"] < 10


@pytest.mark.parametrize("name", ["a_blocked_loop", "a_held_interpreter"])
def test_a_wedged_process_is_restarted_once(told, name):
    """By liveness, through the guard; it is out before that, and only its own requests are lost."""
    found = told(name)
    assert found["by"] == ["liveness: HTTP probe failed with statuscode: 503"]
    assert found["out"] < found["condemned"] < found["back"]
    assert found["killed"] == 1  # it does not hear SIGTERM
    assert found["condemned"] > STALL_SECONDS
    assert found["lost at"] == set()
    assert found["last lost"] < found["out"] + 1.5  # when the last client has learned of it


def test_an_optional_cache_that_hangs_takes_no_pod_out(told):
    """With the kubelet's own time-out of 1 s; the answer says `degraded`."""
    assert told("an_optional_cache_hangs") == {"degraded": ["cache"], "unhealthy": [], "out": []}


def test_a_slow_start_is_waited_for(told):
    """Refused first, then 503, by startup alone; readiness is asked as soon as that is over."""
    found = told("a_slow_start")
    assert any("Connect call failed" in words for words in found["startup"])
    assert "startup: HTTP probe failed with statuscode: 503" in found["startup"]
    assert found["held back"] > 4
    assert found["ready"] < 3


def test_a_start_that_never_ends_is_started_again(told):
    """Never ready, never asked for anything else; the first restart comes at once, the second after a while."""
    found = told("a_start_that_never_ends")
    assert all(words.startswith("startup: ") for words in found["by"])
    assert (found["ready"], found["asked"]) == ([], 0)
    first, second = found["waits"]
    assert first < 1 <= second


def test_a_guard_at_loopback_is_not_there_for_a_kubelet(told):
    """The pod's address refuses: it never starts, and is restarted for nothing."""
    found = told("a_guard_at_loopback")
    assert found["ready"] == []
    assert all("Connect call failed" in words for words in found["said"])
    assert found["said"]


def test_the_manifest_is_understood_as_it_is_printed(told):
    """With the figures of the guide, which agree with one another; pods of it become ready."""
    spec = told("the_manifest_as_it_is")
    (container,) = spec.containers
    assert (spec.replicas, spec.max_surge, spec.max_unavailable) == (3, 1, 0)
    figures = {
        kind: (probe.initial_delay_seconds, probe.period_seconds, probe.timeout_seconds, probe.failure_threshold)
        for kind, probe in container.probes.items()
    }
    assert figures == {"startup": (0, 1, 1, 60), "readiness": (0, 5, 3, 3), "liveness": (0, 10, 1, 3)}
    assert {probe.get.port for probe in container.probes.values()} == {container.ports["probe"]}
    drain = float(container.environment["TASKER_SERVER__DRAIN_SECONDS"])
    readiness = container.probes["readiness"]
    assert drain > readiness.period_seconds * readiness.failure_threshold
    assert spec.grace_seconds > container.pre_stop.sleep_seconds + drain
    page = (Path(__file__).parents[2] / "docs" / "deploy" / "probes.md").read_text()
    for name, place in (("period", 1), ("timeout", 2)):
        assert f"| {name} | {' | '.join(f'{each[place]} s' for each in figures.values())} |" in page
    assert f"| failures in a row | {' | '.join(str(each[3]) for each in figures.values())} |" in page
    hook = container.pre_stop.sleep_seconds
    assert f"`preStop` {hook} s, `server.drain_seconds` {drain:g}," in page
    assert f"`terminationGracePeriodSeconds` {spec.grace_seconds}," in page


def test_a_sidecar_outlives_the_worker(told):
    """It has started for good before the worker begins; nobody is killed, and probes are answered until the end."""
    found = told("a_worker_beside_a_sidecar")
    assert (found["lost"], found["killed"]) == ([], [0, 0])
    beginnings = [words for reason, words in found["events"] if reason in {"Started", "StartupOver"}]
    assert beginnings == ["health", "health", "tasker"]
