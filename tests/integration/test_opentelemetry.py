"""OpenTelemetry with a real collector, and with receivers that do what none should."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

import canary
from fakes import FakeClock, FakeSource, facts_of, settings_of
from faulty_proxy import FaultyProxy
from rotel_collector import CUMULATIVE, Answer, collector, number_of, otlp_receiver
from served import served
from server import wait_until
from tasker_health.counters import BUCKETS_SECONDS, DeliveryCounts
from tasker_health.errors import DeliveryError
from tasker_health.exporters.instrument import Instrument
from tasker_health.exporters.opentelemetry import OpenTelemetryExporter
from tasker_health.exporters.pushing import Pushing
from tasker_health.exporters.semantic import meaning
from tasker_health.exporters.table import instruments
from tasker_health.health import Health
from tasker_health.settings import OpenTelemetrySettings

KINDS = {"gauge": "gauge", "info": "gauge", "counter": "sum", "histogram": "histogram"}
PARENT = ("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7")


@pytest.fixture(autouse=True)
def _without_environment(monkeypatch):
    """Nothing of OpenTelemetry's is set."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def receiver():
    """A receiver of the test's own."""
    with otlp_receiver() as found:
        yield found


def exporter_of(url, **settings):
    """Return an exporter that tells *url*."""
    return OpenTelemetryExporter(OpenTelemetrySettings(endpoint=url, **settings), "shop")


def threads():
    """Return how many threads of the exporter's are running."""
    return sum(each.name == "tasker-health-opentelemetry" for each in threading.enumerate())


async def snapshot_of(facts=None):
    """Return a snapshot with *facts* and a check that has run."""
    health = Health(settings_of(), clock=FakeClock())
    health.add_source(FakeSource(facts))
    health.check("well")(lambda: None)
    snapshot = await health._snapshot()
    await health.stop()
    return snapshot


def compare(told: Instrument, came):
    """Compare one metric that *came* with what was *told*."""
    assert came.kind == KINDS[told.kind], told.name
    assert came.unit == meaning(told).unit
    if told.kind in {"counter", "histogram"}:
        assert came.data.aggregation_temporality == CUMULATIVE
    if told.kind == "histogram":
        assert came.points.keys() == {((told.labels[0], name),) for name in told.histograms}
        for (labels,), point in came.points.items():
            counts = told.histograms[labels[1]]
            assert (list(point.bucket_counts), point.sum) == (counts.by_bucket, counts.seconds)
            assert (point.count, tuple(point.explicit_bounds)) == (sum(counts.by_bucket), BUCKETS_SECONDS)
            assert not point.HasField("min")
        return
    assert came.data.is_monotonic if told.kind == "counter" else True
    points = {tuple(sorted(zip(told.labels, values, strict=True))): value for values, value in told.points}
    assert {labels: number_of(point) for labels, point in came.points.items()} == points, told.name


def test_what_a_real_collector_hands_on_is_the_snapshot(receiver, tmp_path):
    """Names, units, values, attributes and resource; what is not known is not there; counters go on from one start."""
    secret = canary.secret("otlp")

    async def run():
        with collector(receiver, tmp_path) as url:
            exporter = exporter_of(url, headers={"authorization": f"Bearer {secret}"})
            first = await snapshot_of(facts_of(steps_by_state={"complete": 7}, groups={"a b\n": {"pending": 3}}))
            second = await snapshot_of(facts_of(stuck=None))
            second.counters.source("shop").reads = 5
            for number, snapshot in enumerate((first, second), start=1):
                await exporter.push(snapshot)
                await asyncio.to_thread(wait_until, lambda n=number: len(receiver.requests) == n, f"request {number}")
            await exporter.close()
        return first, second

    snapshots = asyncio.run(run())
    for number, snapshot in enumerate(snapshots):
        told = {meaning(each).name: each for each in instruments(snapshot, guide_names=False)}
        came = receiver.metrics(number)
        assert came.keys() == told.keys()
        for name, each in told.items():
            compare(each, came[name])
        resource = receiver.resource(number)
        assert resource["service.name"] == "shop"
        assert resource["service.instance.id"]
    first, second = receiver.metrics(0), receiver.metrics(1)
    assert "tasker_health.stuck_tasks" in first
    assert "tasker_health.stuck_tasks" not in second
    [before], [after] = (came["tasker_health.source_refreshes"].points.values() for came in (first, second))
    assert (number_of(before), number_of(after)) == (1, 5)
    assert before.start_time_unix_nano == after.start_time_unix_nano < before.time_unix_nano < after.time_unix_nano


def test_headers_go_to_the_receiver(receiver):
    """As the settings have them; and compression as the environment has it."""
    secret = canary.secret("otlp")

    async def run():
        exporter = exporter_of(receiver.url, headers={"x-token": secret})
        await exporter.push(await snapshot_of())
        await exporter.close()

    asyncio.run(run())
    assert receiver.headers[0]["x-token"] == secret


PROTOBUF = (("Content-Type", "application/x-protobuf"),)
REJECTED = ExportMetricsServiceResponse()
REJECTED.partial_success.rejected_data_points = 3
ANSWERS = {
    "unavailable": (Answer(503, b"", (("Retry-After", "3600"),)), "HTTP 503"),
    "too many": (Answer(429, b"", (("Retry-After", "7200"),)), "HTTP 429"),
    "forbidden": (Answer(403, b"go away"), "HTTP 403"),
    "redirect": (Answer(302, b"", (("Location", "http://127.0.0.1:1/"),)), "HTTP 302"),
    "a page": (Answer(200, b"<html>log in</html>", (("Content-Type", "text/html"),)), "no receiver of OTLP"),
    "a flood": (Answer(200, b"x" * 9_000_000, PROTOBUF), "no receiver of OTLP"),
    "rejected": (Answer(200, REJECTED.SerializeToString(), PROTOBUF), "3 data points were rejected"),
}


@pytest.mark.parametrize(("answer", "words"), ANSWERS.values(), ids=ANSWERS)
def test_what_is_not_taken_is_an_error_and_the_next_one_is_taken(receiver, answer, words, caplog):
    """Whatever it answers; the SDK's own log stays silent, and who asks for rest gets an hour at most."""
    receiver.answer = answer

    async def run():
        exporter = exporter_of(receiver.url)
        snapshot = await snapshot_of()
        with pytest.raises(DeliveryError, match=words) as raised:
            await exporter.push(snapshot)
        receiver.answer = Answer()
        if raised.value.after_seconds:
            asked = len(receiver.requests)
            with pytest.raises(DeliveryError, match=r"left alone for (3600|3599) s"):
                await exporter.push(snapshot)
            assert len(receiver.requests) == asked
            exporter._leave_until = 0.0
        await exporter.push(snapshot)
        await exporter.close()

    asyncio.run(run())
    assert not [record for record in caplog.records if record.name.startswith("opentelemetry")]


@pytest.mark.parametrize("mode", ["blackhole", "trickle", "refuse", "reset", "cut"])
def test_a_receiver_that_fails_or_hangs_leaves_nothing_behind(receiver, mode):
    """An error within the time-out, no thread that goes on, and delivery as soon as it is well again."""

    async def run():
        with FaultyProxy(receiver.port) as proxy:
            exporter = exporter_of(f"http://127.0.0.1:{proxy.port}/v1/metrics", timeout_seconds=0.4)
            snapshot = await snapshot_of()
            await exporter.push(snapshot)
            proxy.set(mode, delay_seconds=0.2)
            for _ in range(2):
                with pytest.raises(DeliveryError, match="no answer"):
                    await exporter.push(snapshot)
            await asyncio.to_thread(wait_until, lambda: threads() == 0, "its threads have ended")
            proxy.set("pass")
            before = len(receiver.requests)
            await exporter.push(snapshot)
            assert len(receiver.requests) > before
            await exporter.close()

    asyncio.run(run())


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_it_stops_at_once_while_the_receiver_hangs(scheme):
    """The thread ends with it, also one in the middle of a handshake; nothing is asked again."""

    async def run():
        with socket.create_server(("127.0.0.1", 0)) as silent:
            exporter = exporter_of(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/v1/metrics", interval_seconds=60)
            snapshot = await snapshot_of()

            async def take():
                return snapshot

            counts: dict[str, DeliveryCounts] = {}
            pushing = Pushing([exporter], take, counts)
            pushing.start()
            line, _ = await asyncio.to_thread(silent.accept)
            await asyncio.to_thread(line.recv, 10)
            began = time.monotonic()
            await pushing.stop()
            took = time.monotonic() - began
            await asyncio.to_thread(wait_until, lambda: threads() == 0, "its thread has ended", 5)
            silent.settimeout(0)
            with pytest.raises(BlockingIOError):
                silent.accept()
            line.close()
            assert took < 5  # the receiver is waited for 10 s
            assert counts["opentelemetry"].results["sent"] == 0

    asyncio.run(run())


def test_words_that_are_no_http_are_an_error():
    """Garbage, whatever it looks like."""

    async def run():
        with socket.create_server(("127.0.0.1", 0)) as server:

            def babble():
                with contextlib.suppress(OSError):
                    while True:
                        line, _ = server.accept()
                        with line:
                            line.recv(65536)
                            line.sendall(b"\x16\x03\x01 what?\r\n\r\n")

            talker = threading.Thread(target=babble, daemon=True)
            talker.start()
            exporter = exporter_of(f"http://127.0.0.1:{server.getsockname()[1]}/v1/metrics", timeout_seconds=0.7)
            with pytest.raises(DeliveryError, match="no answer: "):
                await exporter.push(await snapshot_of())
            await exporter.close()
            server.shutdown(socket.SHUT_RDWR)

    asyncio.run(run())


FORKED = """
import asyncio, os, sys
sys.path.insert(0, {tests!r})
from test_opentelemetry import exporter_of, snapshot_of

exporter = exporter_of({url!r})
snapshot = asyncio.run(snapshot_of())
asyncio.run(exporter.push(snapshot))
child = os.fork()
asyncio.run(exporter.push(snapshot))
if not child:
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
asyncio.run(exporter.push(snapshot))
"""


def test_a_forked_child_begins_anew(receiver):
    """It is another instance, counts from its own beginning, and does not disturb its parent's connection."""
    here = Path(__file__).parent
    code = FORKED.format(tests=str(here), url=receiver.url)
    environment = {**os.environ, "PYTHONPATH": str(here.parent)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60, capture_output=True)
    assert len(receiver.requests) == 4
    instances = [receiver.resource(number)["service.instance.id"] for number in range(4)]
    assert sorted(map(instances.count, set(instances))) == [1, 3]


def test_a_server_tells_and_its_log_carries_the_traces_of_its_callers(receiver):
    """By the environment alone; a restart is another instance with a later start; a line has the caller's ids."""
    seen = []
    for _ in range(2):
        receiver.requests.clear()
        with served(
            TASKER_EXPORTERS__OPENTELEMETRY__ENABLED="true",
            TASKER_EXPORTERS__OPENTELEMETRY__INTERVAL_SECONDS="0.2",
            TASKER_HEALTH__SERVICE_NAME="orders",
            TASKER_LOG__PROBES="true",
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{receiver.port}",
            OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        ) as server:
            wait_until(lambda: len(receiver.requests) > 1, "the server tells")
            trace_id, span_id = PARENT
            for parent in (f"00-{trace_id}-{span_id}-01", f"00-{trace_id.upper()}-{span_id}-01"):
                httpx.get(f"{server.url}/live", headers={"traceparent": parent})
            wait_until(lambda: server.log.count("GET /tasker/health/live") == 2, "both lines are written")
            first, second = re.findall(r".*GET /tasker/health/live.*", server.log)
        resource = receiver.resource()
        assert resource["service.name"] == "orders"
        assert resource["deployment.environment.name"] == "test"
        assert first.endswith(f" trace_id={trace_id} span_id={span_id}")
        assert "trace_id" not in second
        [point] = receiver.metrics()["tasker_health.authentication_failures"].points.values()
        seen.append((resource["service.instance.id"], point.start_time_unix_nano))
    (one, began), (other, began_again) = seen
    assert one != other
    assert began < began_again
