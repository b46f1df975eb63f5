"""The exporter `opentelemetry`: names and units, the application's meter provider, who is told what, and settings."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.resources import Resource

import canary
from fakes import FakeClock, FakeSource, facts_of, settings_of
from tasker_health.counters import BUCKETS_SECONDS
from tasker_health.errors import ConfigurationError, DeliveryError, SettingsError
from tasker_health.exporters.chosen import push_exporters
from tasker_health.exporters.instrument import Instrument
from tasker_health.exporters.opentelemetry import OpenTelemetryExporter
from tasker_health.exporters.otlp import Receiver, _seconds, unusable_environment
from tasker_health.exporters.otlp_data import Period, metrics_data
from tasker_health.exporters.semantic import meaning
from tasker_health.exporters.table import instruments
from tasker_health.health import Health
from tasker_health.loading import load_settings
from tasker_health.settings import OpenTelemetrySettings

MORE = {"steps_by_state": {"complete": 7}, "groups": {"shop": {"pending": 3}}, "oldest_pending_seconds": 90, "drift": 0}
SUFFIXES = {"s": "_seconds", "1": "_ratio"}


@pytest.fixture(autouse=True)
def _without_environment(monkeypatch):
    """Nothing of OpenTelemetry's is set."""
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


def health_of(source):
    """Return a health with *source* and a check."""
    health = Health(settings_of(), clock=FakeClock())
    health.add_source(source)
    health.check("well")(lambda: None)
    return health


def full():
    """Return everything that is told where everything is known."""

    async def take():
        health = health_of(FakeSource(facts_of(**MORE)))
        try:
            return instruments(await health._snapshot(), guide_names=False)
        finally:
            await health.stop()

    return asyncio.run(take())


def name_at_prometheus(name, unit, kind):
    """Return what a collector calls it there (specification, "Prometheus and OpenMetrics Compatibility")."""
    name = name.replace(".", "_") + (SUFFIXES.get(unit, "") if unit != "1" or kind == "gauge" else "")
    return f"{name}_total" if kind == "counter" else name


def test_a_collector_gives_prometheus_the_names_of_the_table_back():
    """The rule of names and units can be undone, and no two instruments become one."""
    told = full()
    assert len(told) > 30
    means = [meaning(each) for each in told]
    assert [name_at_prometheus(*means[at], told[at].kind) for at in range(len(told))] == [each.name for each in told]
    assert len({name for name, _ in means}) == len(told)
    assert all(name.startswith("tasker_health.") for name, _ in means)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("tasker_health_tasks", "gauge", ("tasker_health.tasks", "{task}")),
        (
            "tasker_health_database_connections_maximum",
            "gauge",
            ("tasker_health.database_connections_maximum", "{connection}"),
        ),
        ("tasker_health_failure_ratio", "gauge", ("tasker_health.failure_ratio".removesuffix("_ratio"), "1")),
        ("tasker_health_ready", "gauge", ("tasker_health.ready", "")),
        ("tasker_health_check_duration_seconds", "histogram", ("tasker_health.check_duration", "s")),
        ("tasker_health_source_refreshes_total", "counter", ("tasker_health.source_refreshes", "{refresh}")),
        ("tasker_health_cache_refused_entries_total", "counter", ("tasker_health.cache_refused_entries", "{entry}")),
        ("tasker_health_waited_seconds_total", "counter", ("tasker_health.waited", "s")),
        ("tasker_health_build_info", "info", ("tasker_health.build_info", "")),
        ("elsewhere_total", "counter", ("elsewhere", "")),
        ("tasker_health_deliveries_dropped_total", "counter", ("tasker_health.deliveries_dropped", "{delivery}")),
    ],
)
def test_names_and_units(name, kind, expected):
    """Suffixes of kind and unit go, the prefix is a namespace, and what is counted is an annotation."""
    assert meaning(Instrument(name, kind, "")) == expected


class Application:
    """An application with a meter provider of its own, whose reader is asked by the test."""

    def __init__(self, monkeypatch) -> None:
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider(metric_readers=[self.reader], shutdown_on_exit=False)
        monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", self.provider)

    def metrics(self):
        """Return what its reader finds now, by name."""
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        [scope] = data.resource_metrics[0].scope_metrics
        assert scope.scope.name == "tasker_health"
        return {metric.name: metric for metric in scope.metrics}

    def points(self, name):
        """Return the points of *name*, by their attributes."""
        return {tuple(sorted(point.attributes.items())): point for point in self.metrics()[name].data.data_points}


@pytest.fixture
def application(monkeypatch):
    """An application with a meter provider."""
    found = Application(monkeypatch)
    yield found
    found.provider.shutdown()


def test_the_provider_of_the_application_finds_every_figure(application):
    """Names, units, values and attributes are those of the snapshot; sums are cumulative."""

    async def run():
        health = health_of(FakeSource(facts_of(**MORE)))
        exporter = OpenTelemetryExporter(OpenTelemetrySettings(), "shop")
        snapshot = await health._snapshot()
        await exporter.push(snapshot)
        await health.stop()
        return {meaning(each).name: each for each in instruments(snapshot, guide_names=False)}

    told = asyncio.run(run())
    found = application.metrics()
    plain = {name: each for name, each in told.items() if each.kind != "histogram"}
    assert plain.keys() == {name for name in found if name in plain}
    for name, each in plain.items():
        points = {tuple(point.attributes.values()): point.value for point in found[name].data.data_points}
        assert points == {of: float(value) for of, value in each.points}, name
        assert (found[name].unit, found[name].description) == (meaning(each).unit, each.help)
        assert hasattr(found[name].data, "is_monotonic") == (each.kind == "counter")
    sums = [each.data for each in found.values() if hasattr(each.data, "is_monotonic")]
    assert sums
    assert all(each.is_monotonic for each in sums)
    assert all(each.aggregation_temporality is AggregationTemporality.CUMULATIVE for each in sums)


def test_each_run_of_a_check_is_recorded_once(application):
    """From the first telling on, in the buckets of the table; nothing waits for ever."""

    async def run():
        health = health_of(FakeSource())
        exporter = OpenTelemetryExporter(OpenTelemetrySettings(), "shop")
        await exporter.push(await health._snapshot())
        counts = health.monitor.counters.check("well")
        for seconds in (0.001, 0.02, 7.0):
            counts.ran(seconds)
        await exporter.push(await health._snapshot())
        await exporter.push(await health._snapshot())
        assert not counts.recent
        for _ in range(20_000):
            counts.ran(0.5)
        assert len(counts.recent) == 10_000
        await health.stop()

    asyncio.run(run())
    point = application.points("tasker_health.check_duration")[("check", "well"),]
    assert point.count == 3
    assert tuple(point.explicit_bounds) == BUCKETS_SECONDS
    assert (point.bucket_counts[-1], point.max) == (1, 7.0)
    assert point.sum == pytest.approx(7.021)


def test_what_is_no_longer_known_is_no_longer_told(application):
    """An unknown figure is absent, also when it was known before; after three periods without a snapshot all are."""
    unknown = facts_of(stuck=None, blocked=None)

    async def run(source, facts, exporter):
        source.facts = facts
        health = health_of(source)
        await exporter.push(await health._snapshot())
        await health.stop()

    exporter = OpenTelemetryExporter(OpenTelemetrySettings(interval_seconds=600), "shop")
    asyncio.run(run(FakeSource(), facts_of(), exporter))
    assert {"tasker_health.stuck_tasks", "tasker_health.tasks"} <= application.metrics().keys()
    asyncio.run(run(FakeSource(), unknown, exporter))
    assert "tasker_health.stuck_tasks" not in application.metrics()
    assert "tasker_health.tasks" in application.metrics()
    exporter._meters._newest = exporter._meters._newest._replace(until=0.0)
    assert "tasker_health.tasks" not in application.metrics()


def test_after_the_end_and_in_a_forked_child_nothing_old_is_told(application, monkeypatch):
    """What a parent knew is not told of its child; after `close` nothing is."""

    async def push(exporter):
        health = health_of(FakeSource())
        await exporter.push(await health._snapshot())
        await health.stop()

    exporter = OpenTelemetryExporter(OpenTelemetrySettings(), "shop")
    asyncio.run(push(exporter))
    assert "tasker_health.tasks" in application.metrics()
    with monkeypatch.context() as child:
        child.setattr(os, "getpid", lambda: 1)
        assert "tasker_health.tasks" not in application.metrics()
        asyncio.run(push(exporter))
        assert "tasker_health.tasks" in application.metrics()
    asyncio.run(push(exporter))
    assert "tasker_health.tasks" in application.metrics()
    asyncio.run(exporter.close())
    assert "tasker_health.tasks" not in application.metrics()


def test_a_provider_that_hangs_holds_one_thread_and_no_loop(application, monkeypatch):
    """The push before has not returned: the next one says so, and begins none."""
    released = threading.Event()
    exporter = OpenTelemetryExporter(OpenTelemetrySettings(), "shop")
    monkeypatch.setattr(exporter._meters, "tell", lambda *_: released.wait(60))

    async def run():
        health = health_of(FakeSource())
        snapshot = await health._snapshot()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(exporter.push(snapshot), 0.1)
        with pytest.raises(DeliveryError, match="has not returned"):
            await exporter.push(snapshot)
        released.set()
        await exporter._observing
        await exporter.push(snapshot)
        await health.stop()

    asyncio.run(run())


def test_where_nobody_is_to_be_told_it_is_said(monkeypatch):
    """Neither a provider nor an address, or one that speaks gRPC: the push fails with the setting that helps."""

    async def push():
        health = health_of(FakeSource())
        try:
            await OpenTelemetryExporter(OpenTelemetrySettings(), "shop").push(await health._snapshot())
        finally:
            await health.stop()

    with pytest.raises(DeliveryError, match=r"set exporters\.opentelemetry\.endpoint"):
        asyncio.run(push())
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    assert unusable_environment() == ""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(DeliveryError, match="only http/protobuf"):
        asyncio.run(push())


def test_settings_go_before_the_environment_and_that_before_what_we_know(monkeypatch):
    """The name of the service is that of the settings of health, unless somebody says another one."""
    plain = Receiver(OpenTelemetrySettings(endpoint="http://127.0.0.1:1"), "shop", 1).resource.attributes
    assert plain["service.name"] == "shop"
    assert plain["service.instance.id"]
    assert "service.version" not in plain
    monkeypatch.setenv("OTEL_SERVICE_NAME", "of the environment")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.version=2,deployment.environment.name=test")
    settings = OpenTelemetrySettings(endpoint="http://127.0.0.1:1", resource_attributes={"service.version": "3"})
    told = Receiver(settings, "shop", 1).resource.attributes
    assert told["service.name"] == "of the environment"
    assert (told["service.version"], told["deployment.environment.name"]) == ("3", "test")
    both = OpenTelemetrySettings(endpoint="http://127.0.0.1:1", resource_attributes={"service.name": "of the settings"})
    assert Receiver(both, "shop", 1).resource.attributes["service.name"] == "of the settings"


def test_while_many_points_are_encoded_others_have_turns(monkeypatch):
    """After every fifty points the thread gives way; none is lost by it."""
    pauses = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    told = Instrument("tasker_health_tasks", "gauge", "", ("state",), [((str(n),), n) for n in range(175)])
    [resource] = metrics_data([told], Resource({}), Period(1, 2)).resource_metrics
    points = resource.scope_metrics[0].metrics[0].data.data_points
    assert [(point.attributes, point.value) for point in points] == [({"state": str(n)}, n) for n in range(175)]
    assert len(pauses) == 3
    assert (len(points), points[-1].value, [point.value for point in points[:2]]) == (175, 174, [0, 1])


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("", None), ("soon", None), ("-1", None), ("Mon, 23 Nov 2020 10:00:00 GMT", 0.0), ("²", None)],
)
def test_retry_after_is_seconds_or_a_date(value, seconds):
    """What is neither says nothing."""
    assert _seconds(value) == seconds


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ENDPOINT", "collector:4318", "a URL such as"),
        ("ENDPOINT", "http://", "a URL such as"),
        ("ENDPOINT", "http://a b/", "a URL such as"),
        ("ENDPOINT", "http://a:70000/v1/metrics", "at most 65535"),
        ("ENDPOINT", "http://me:SECRET@a/v1/metrics", "credentials belong into headers"),
        ("HEADERS__A B", "SECRET", "names of headers"),
        ("HEADERS__AUTHORIZATION", "SECRET\r\nx: y", "printable ASCII"),
    ],
)
def test_an_address_or_a_header_that_cannot_be_is_refused(name, value, words):
    """One line with the setting and the remedy, and without the secret."""
    secret = canary.secret("otlp")
    variable = f"TASKER_EXPORTERS__OPENTELEMETRY__{name}"
    with pytest.raises(ConfigurationError) as raised:
        load_settings(environ={variable: value.replace("SECRET", secret)})
    assert words in str(raised.value)
    assert secret not in str(raised.value)


def test_it_is_chosen_where_it_is_wanted_and_may_be(monkeypatch):
    """By its switch; `OTEL_SDK_DISABLED` turns it off; without the SDK the remedy is told."""
    wanted = settings_of(exporters={"opentelemetry": {"enabled": True, "interval_seconds": 7}})
    assert push_exporters(settings_of()) == []
    [exporter] = push_exporters(wanted)
    assert (exporter.name, exporter.interval_seconds) == ("opentelemetry", 7)
    monkeypatch.setenv("OTEL_SDK_DISABLED", "True")
    assert push_exporters(wanted) == []
    monkeypatch.delenv("OTEL_SDK_DISABLED")
    for name in [name for name in sys.modules if name.startswith("tasker_health.exporters.o")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.metrics.export", None)
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.metric_exporter", None)
    with pytest.raises(SettingsError, match=r"pip install 'tasker-health\[opentelemetry\]'"):
        push_exporters(wanted)


@pytest.mark.parametrize(
    ("headers", "told"),
    [({"a b": "c"}, "names of headers"), ({"a": "c\nd"}, "values of printable ASCII"), ("a=b", "names and values")],
)
def test_headers_that_cannot_be_sent(headers, told, tmp_path):
    """One line names the setting and what is allowed there, and no value."""
    words = json.dumps(headers).replace(": ", " = ")
    (tmp_path / "health.toml").write_text(f"[exporters.opentelemetry]\nheaders = {words}\n")
    with pytest.raises(ConfigurationError) as caught:
        load_settings(tmp_path / "health.toml")
    line = str(caught.value)
    assert line.startswith("exporters.opentelemetry.headers ")
    assert f"= '***': allowed: {told}" in line


def test_a_header_named_by_a_variable(monkeypatch):
    """A shell's variable has no hyphen, so an underscore stands for it, as in the headers of a check."""
    monkeypatch.setenv("TASKER_EXPORTERS__OPENTELEMETRY__HEADERS__X_SCOPE_ORGID", "orders")
    assert list(load_settings().exporters.opentelemetry.headers) == ["x-scope-orgid"]
