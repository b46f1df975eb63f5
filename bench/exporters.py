"""What telling costs: a scrape beside prometheus-client's own rendering, and a probe while those who are told hang."""

from __future__ import annotations

import asyncio
import gc
import re
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.exposition import choose_encoder

from bench.load import Client, connected
from bench.machine import CLIENT_CORE, on_core
from bench.subject import Subject, SubjectError, ask
from bench.table import Goal, Table
from tasker_health.counters import BUCKETS_SECONDS, AccessCounts
from tasker_health.exporters import Snapshot, take_snapshot
from tasker_health.exporters.instrument import Instrument
from tasker_health.exporters.prometheus import PrometheusExporter
from tasker_health.exporters.table import instruments
from tasker_health.health import Health
from tasker_health.settings import PrometheusSettings
from tasker_health.testing import FixedSource, facts_of, settings_of

RATIO_GOAL, STRETCH_GOAL_MS, P99_GOAL = 1.5, 5, 1.1
FORMATS = {"text": "", "OpenMetrics": "application/openmetrics-text;version=1.0.0"}
READY = "/tasker/health/ready"
SCRAPES, PROBES = 15, 500
_BESIDE = ("nobody is told", "nobody is told, again", "those who are told hang")
_STATES = ("pending", "running", "completed", "failed", "cancelled", "other")


class Set(NamedTuple):
    """A set of series.

    Attributes:
        name: What it is called.
        checks, groups: How many of each.
    """

    name: str
    checks: int
    groups: int


SETS = (Set("a usual set", 5, 20), Set("10,000 tasks in 1,000 namespaces", 20, 1000))


def measure(rounds: int | None) -> Table:
    """Return what telling costs, over *rounds* of each row."""
    rounds = rounds or 15
    disable_created_metrics()  # type: ignore[no-untyped-call]
    table = Table(
        "Exporters: a scrape, and a probe beside those who are told",
        ["what", "series", "ours", "prometheus-client", "ratio"],
        notes=_notes(rounds),
    )
    with on_core(CLIENT_CORE):
        for each in SETS:
            _add_scrape(table, each, rounds)
    _add_probe(table, rounds)
    return table


def _notes(rounds: int) -> list[str]:
    return [
        f"Rendering: processor time, medians of {rounds} rounds in turn; the client's objects have the same series.",
        f"Longest stretch: processor time between two turns of another task, in {SCRAPES} whole scrapes of /metrics.",
        "The interpreter collects all garbage now and then, whatever a process does; that stands apart.",
        f"Probe: /ready over HTTP, {PROBES} a round, {rounds} interleaved rounds of three servers, all together.",
        "Hanging: a port that never answers (OpenTelemetry, PagerDuty, a webhook), a UDP port nobody reads (Datadog).",
        "They are told every 5 s, 3 to 12 times as often as by default, and an alert waits for two of them.",
    ]


def _add_scrape(table: Table, wanted: Set, rounds: int) -> None:
    health = _health(wanted)
    snapshot = asyncio.run(take_snapshot(health.monitor, AccessCounts()))
    for name, accept in FORMATS.items():
        ours, client, lines = asyncio.run(_rendering(snapshot, accept, rounds))
        table.rows.append(
            (f"{wanted.name}, {name}", f"{lines:,}", f"{ours:.2f} ms", f"{client:.2f} ms", f"{ours / client:.2f}")
        )
        table.goals.append(Goal(f"rendering {wanted.name} as {name}, times the client", ours / client, RATIO_GOAL))
    stretch, collecting = asyncio.run(_longest_stretches_ms(_health(wanted)))
    table.rows += [
        (f"{wanted.name}, longest stretch on the loop", "", f"{stretch:.2f} ms", "", ""),
        ("the same where all garbage was collected in it", "", f"{collecting:.2f} ms" if collecting else "", "", ""),
    ]
    table.goals.append(
        Goal(f"longest stretch on the loop in a scrape of {wanted.name}", stretch, STRETCH_GOAL_MS, " ms")
    )


def _health(wanted: Set) -> Health:
    groups = {f"namespace {number}": dict.fromkeys(_STATES, 2) for number in range(wanted.groups)}
    health = Health(settings_of())
    health.add_source(FixedSource(facts_of(groups=groups)))
    for number in range(wanted.checks):
        health.check(f"check-{number}")(lambda: None)
    return health


async def _rendering(snapshot: Snapshot, accept: str, rounds: int) -> tuple[float, float, int]:
    """Return how many milliseconds ours and the client's takes, and how many series that are."""
    exporter, registry = PrometheusExporter(PrometheusSettings()), _registry(snapshot)
    encode = choose_encoder(accept)[0]
    ours, client = [], []
    for _ in range(rounds):
        began = time.thread_time()
        body, _ = await exporter.render(snapshot, accept)
        ours.append(time.thread_time() - began)
        began = time.thread_time()
        same = encode(registry)
        client.append(time.thread_time() - began)
    lines = [sum(not line.startswith(b"#") for line in text.splitlines()) for text in (body, same)]
    if lines[0] != lines[1]:
        raise SubjectError(f"ours has {lines[0]} series, the client {lines[1]}")
    return statistics.median(ours) * 1000, statistics.median(client) * 1000, lines[0]


def _registry(snapshot: Snapshot) -> CollectorRegistry:
    """Return a registry of the client's own objects with the series of *snapshot*."""
    registry = CollectorRegistry()
    for told in instruments(snapshot, guide_names=True):
        _add(registry, told)
    return registry


def _add(registry: CollectorRegistry, told: Instrument) -> None:
    if told.kind == "info":
        info = Info(told.name.removesuffix("_info"), told.help, registry=registry)
        info.info(dict(zip(told.labels, told.points[0][0], strict=True)))
    elif told.kind == "histogram":
        histogram = Histogram(told.name, told.help, told.labels, buckets=BUCKETS_SECONDS, registry=registry)
        for name in told.histograms:
            histogram.labels(name).observe(0.001)
    elif told.kind == "counter":
        counter = Counter(told.name, told.help, told.labels, registry=registry)
        for labels, value in told.points:
            (counter.labels(*labels) if labels else counter).inc(value)
    else:
        gauge = Gauge(told.name, told.help, told.labels, registry=registry)
        for labels, value in told.points:
            (gauge.labels(*labels) if labels else gauge).set(value)


async def _longest_stretches_ms(health: Health) -> tuple[float, float]:
    """Return for how long a scrape kept another task of the event loop waiting: itself, and with all garbage."""
    app = health.asgi()
    await _scrape(app)
    longest, over = {False: 0.0, True: 0.0}, False

    async def watch() -> None:
        last, collections = time.thread_time(), _full_collections()
        while not over:
            await asyncio.sleep(0)
            now, before = time.thread_time(), collections
            collections = _full_collections()
            collected = collections != before
            longest[collected] = max(longest[collected], now - last)
            last = now

    watching = asyncio.ensure_future(watch())
    await asyncio.sleep(0)
    for _ in range(SCRAPES):
        await _scrape(app)
    over = True
    await watching
    await health.stop()
    return longest[False] * 1000, longest[True] * 1000


def _full_collections() -> int:
    return int(gc.get_stats()[2]["collections"])


async def _scrape(app: Callable[..., object]) -> None:
    scope = {"type": "http", "method": "GET", "path": "/tasker/metrics", "query_string": b"", "headers": []}

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, object]) -> None:
        if message.get("status", 200) != 200:
            raise SubjectError(f"the scrape was answered with {message['status']}")

    await app(scope, receive, send)  # type: ignore[misc]


def _add_probe(table: Table, rounds: int) -> None:
    goal = "a probe's 99th percentile beside those who hang, times without; the noise is the limit"
    try:
        with ExitStack() as stack:
            quiet: dict[str, str] = {}
            hanging = _hanging_settings(stack.enter_context(_hanging()), stack.enter_context(_unread()))
            subjects = [
                stack.enter_context(Subject(name, "tasker_health", READY, ("serve",), environment).running())
                for name, environment in zip(_BESIDE, (quiet, quiet, hanging), strict=True)
            ]
            clients = [stack.enter_context(_probing(each.port)) for each in subjects]
            p99s = _p99s(clients, rounds)
            _require_waiting(subjects[-1])
    except SubjectError as error:
        table.notes.append(f"The probe beside those who hang was not measured: {error}")
        table.goals.append(Goal(goal, None, P99_GOAL))
        return
    off = p99s[0]
    for name, p99 in zip(_BESIDE, p99s, strict=True):
        table.rows.append((f"/ready, 99th percentile, {name}", "", f"{p99 * 1000:.3f} ms", "", f"{p99 / off:.2f}"))
    noise = max(p99s[1] / off, off / p99s[1])
    table.goals.append(Goal(goal, p99s[2] / min(p99s[:2]), max(P99_GOAL, round(noise, 2))))


def _require_waiting(subject: Subject) -> None:
    """Raise `SubjectError` unless somebody is told in vain: the figures would say nothing."""
    text = ask(subject.port, "/tasker/metrics").decode()
    waiting = re.findall(
        r'^tasker_health_deliveries_(?:pending\{|total\{result="failed",).* ([0-9.]+)$', text, re.MULTILINE
    )
    if not any(map(float, waiting)):
        raise SubjectError("nobody was told in vain")


def _hanging_settings(port: int, unread: int) -> dict[str, str]:
    key = "an-example-of-a-key"
    return {
        "TASKER_EXPORTERS__DATADOG__ENABLED": "true",
        "TASKER_EXPORTERS__DATADOG__ADDRESS": f"127.0.0.1:{unread}",
        "TASKER_EXPORTERS__DATADOG__INTERVAL_SECONDS": "5",
        "TASKER_EXPORTERS__OPENTELEMETRY__ENABLED": "true",
        "TASKER_EXPORTERS__OPENTELEMETRY__ENDPOINT": f"http://127.0.0.1:{port}/v1/metrics",
        "TASKER_EXPORTERS__OPENTELEMETRY__INTERVAL_SECONDS": "5",
        "TASKER_ALERTS__INTERVAL_SECONDS": "5",
        "TASKER_ALERTS__FOR_SECONDS": "0",
        "TASKER_ALERTS__RULES__STATUS": "degraded",
        "TASKER_ALERTS__PAGERDUTY__ROUTING_KEY": key,
        "TASKER_ALERTS__PAGERDUTY__URL": f"https://127.0.0.1:{port}",
        "TASKER_ALERTS__WEBHOOKS__HOOK__URL": f"http://127.0.0.1:{port}/",
        "TASKER_ALERTS__WEBHOOKS__HOOK__SIGNING_KEY": key,
    }


@contextmanager
def _hanging() -> Iterator[int]:
    """Yield a port at which connections are made by the kernel, and nobody ever answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        yield listener.getsockname()[1]


@contextmanager
def _unread() -> Iterator[int]:
    """Yield a UDP port that nobody reads."""
    with socket.socket(type=socket.SOCK_DGRAM) as unread:
        unread.bind(("127.0.0.1", 0))
        yield unread.getsockname()[1]


@contextmanager
def _probing(port: int) -> Iterator[Client]:
    with connected(port, READY, connections=1) as client:
        client.burst(50)
        yield client


def _p99s(clients: list[Client], rounds: int) -> list[float]:
    """Return the 99th percentile of each over all rounds, which take turns."""
    times: list[list[float]] = [[] for _ in clients]
    with on_core(CLIENT_CORE):
        for number in range(rounds):
            for which in range(len(clients))[:: -1 if number % 2 else 1]:
                times[which] += [clients[which].burst(1) for _ in range(PROBES)]
    return [sorted(each)[round(len(each) * 0.99) - 1] for each in times]
