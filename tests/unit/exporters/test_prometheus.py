"""The exporter `prometheus`: both formats, read back by the official parsers."""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from fakes import FakeClock, FakeSource, facts_of, settings_of
from server import missing_part
from tasker_health.cache.memory import MemoryCache
from tasker_health.counters import AccessCounts, DeliveryCounts, Vitals
from tasker_health.errors import CacheFault
from tasker_health.exporters import take_snapshot
from tasker_health.exporters.prometheus import PrometheusExporter, _family
from tasker_health.exporters.table import instruments
from tasker_health.health import Health
from tasker_health.model import Connections, CountingMethod, Reason
from tasker_health.settings import PrometheusSettings

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
FORMATS = {"text": ("", parse_text), "openmetrics": (OPENMETRICS, parse_openmetrics)}
GUIDE = {
    "tasker_total_tasks": 1250,
    "tasker_pending_tasks": 45,
    "tasker_failed_tasks": 13,
    "tasker_avg_completion_time": 2340,
}
UNKNOWN = {
    **dict.fromkeys(("blocked", "stuck", "retry_queue", "in_backoff", "retries_settled", "retries_succeeded")),
    **dict.fromkeys(("task_time", "step_time", "window_completed", "window_failed")),
}


DELIVERIES = {"datadog": DeliveryCounts()}
DELIVERIES["datadog"].results.update(sent=3, failed=2)
DELIVERIES["datadog"].dropped["full"] = 1
DELIVERIES["datadog"].pending = 4


class FleetCache(MemoryCache):
    """A cache that is said to be shared, and refuses to keep anything."""

    name = "redis"

    async def put(self, key, value, keep_seconds):
        """Refuse."""
        raise CacheFault(Reason.READ_ONLY)


async def snapshot_of(*sources, vitals=None, cache=None, **settings):
    """Return a snapshot of a health with *sources* and a check."""
    health = Health(settings_of(**settings), clock=FakeClock(), cache=cache)
    for source in sources:
        health.add_source(source)
    health.check("well")(lambda: None)
    health.monitor.vitals = lambda: vitals or Vitals()
    snapshot = await take_snapshot(health.monitor, AccessCounts(), DELIVERIES)
    await health.stop()
    return snapshot


def rendered(snapshot, accept="", **settings):
    """Return body and content type of *snapshot*."""
    return asyncio.run(PrometheusExporter(PrometheusSettings(**settings)).render(snapshot, accept))


def families(snapshot, which="text", **settings):
    """Return what a scraper reads of *snapshot* in the format *which*, by name."""
    accept, parse = FORMATS[which]
    body, _ = rendered(snapshot, accept, **settings)
    found = list(parse(body.decode()))
    assert len({family.name for family in found}) == len(found)
    return {family.name: family for family in found}


def samples(found):
    """Return the samples of all families *found*, by name and labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in found.values()
        for sample in family.samples
    }


MORE = {
    "steps_by_state": {"complete": 7, "error": 2},
    "groups": {"shop": {"pending": 3, "failed": 1}, "other": {"pending": 5, "failed": 0}},
    "oldest_pending_seconds": 90,
    "drift": 0,
    "method": CountingMethod.TALLY,
}
"""What only some sources know."""


@pytest.fixture(scope="module")
def full():
    """A snapshot in which everything is known."""
    return asyncio.run(snapshot_of(FakeSource(facts_of(**MORE)), vitals=Vitals(0.25, 2), cache=FleetCache()))


@pytest.mark.parametrize("which", FORMATS)
def test_what_only_some_sources_know_is_told_where_they_do(full, which):
    """Steps, groups, the oldest pending task, drift and the way of counting; of a source that lacks them, nothing."""
    told = samples(families(full, which))
    shop = ("source", "shop")
    assert told["tasker_health_source_steps", shop, ("state", "error")] == 2
    assert told["tasker_health_source_group_tasks", ("group", "other"), shop, ("state", "pending")] == 5
    assert told["tasker_health_source_oldest_pending_seconds", shop] == 90
    assert told["tasker_health_source_drift", shop] == told["tasker_health_source_counted_in_full", shop] == 0
    more = ("steps", "group_tasks", "oldest_pending_seconds", "drift", "counted_in_full")
    plain = samples(families(asyncio.run(snapshot_of(FakeSource())), which))
    assert not {f"tasker_health_source_{name}" for name in more} & {name for name, *_ in plain}


@pytest.mark.parametrize("which", FORMATS)
def test_what_is_told_is_what_the_status_says(full, which):
    """The figures of the status, in base units, the same in both formats."""
    told = samples(families(full, which))
    assert told["tasker_health_tasks", ("state", "pending")] == 45
    assert told["tasker_health_tasks", ("state", "completed")] == 1180
    assert told["tasker_health_source_tasks", ("source", "shop"), ("state", "failed")] == 13
    assert told["tasker_health_status", ("status", "healthy")] == 1
    assert told["tasker_health_status", ("status", "unhealthy")] == 0
    assert told["tasker_health_status_reason", ("reason", "no_source")] == 0
    assert told["tasker_health_retry_success_ratio",] == 0.87
    assert told["tasker_health_failure_ratio",] == 0.0099
    assert told["tasker_health_settled_tasks",] == 101
    assert told["tasker_health_task_completion_seconds",] == 2.34
    assert told["tasker_health_step_completion_seconds",] == 0.45
    assert told["tasker_health_retry_queue_steps",] == 3
    assert told["tasker_health_in_backoff_steps",] == 1
    assert told["tasker_health_blocked_tasks",] == told["tasker_health_stuck_tasks",] == 0
    assert told["tasker_health_database_connections",] == 5
    assert told["tasker_health_database_connections_maximum",] == 100
    assert told["tasker_health_status_age_seconds",] == 0
    assert told["tasker_health_status_timestamp_seconds",] == 1_750_260_600
    assert told["tasker_health_source_readable", ("source", "shop")] == 1
    assert told["tasker_health_source_read_timestamp_seconds", ("source", "shop")] == 1_750_260_600


@pytest.mark.parametrize("which", FORMATS)
def test_what_is_told_of_this_process(full, which):
    """Readiness, checks, counts and vitals; a histogram is cumulative up to its count."""
    told = samples(families(full, which))
    assert told["tasker_health_ready",] == told["tasker_health_started",] == 1
    assert told["tasker_health_check_state", ("check", "well"), ("state", "ok")] == 1
    assert told["tasker_health_check_state", ("check", "well"), ("state", "error")] == 0
    assert told["tasker_health_check_duration_seconds_bucket", ("check", "well"), ("le", "0.001")] == 1
    assert told["tasker_health_check_duration_seconds_bucket", ("check", "well"), ("le", "+Inf")] == 1
    assert told["tasker_health_check_duration_seconds_count", ("check", "well")] == 1
    assert told["tasker_health_check_duration_seconds_sum", ("check", "well")] == 0
    assert told["tasker_health_check_timeouts_total", ("check", "well")] == 0
    assert told["tasker_health_held_checks",] == 0
    assert told["tasker_health_source_refreshes_total", ("source", "shop")] == 1
    assert told["tasker_health_cache_lookups_total", ("result", "miss"), ("source", "shop")] == 1
    assert told["tasker_health_cache_lookups_total", ("result", "hit"), ("source", "shop")] == 0
    assert told["tasker_health_source_errors_total", ("reason", "timeout"), ("source", "shop")] == 0
    asked = {
        key[2][1]: value
        for key, value in told.items()
        if key[:2] == ("tasker_health_cache_requests_total", ("operation", "get"))
    }
    assert asked == {"ok": 2, "failed": 0, "skipped": 0}
    refused = ("tasker_health_cache_requests_total", ("operation", "put"), ("result", "failed"))
    assert told[refused] == told["tasker_health_cache_faults_total", ("reason", "read_only")] == 2
    assert told["tasker_health_cache_faults_total", ("reason", "timeout")] == 0
    assert told["tasker_health_cache_refused_entries_total", ("reason", "signature")] == 0
    assert told["tasker_health_check_state", ("check", "cache"), ("state", "degraded")] == 1
    assert told["tasker_health_event_loop_lag_seconds",] == 0.25
    assert told["tasker_health_event_loop_stalls_total",] == 0
    assert told["tasker_health_guard_restarts_total",] == 2
    assert told["tasker_health_authentication_failures_total",] == 0
    to = ("to", "datadog")
    results = {result: told["tasker_health_deliveries_total", ("result", result), to] for result in ("sent", "refused")}
    assert results == {"sent": 3, "refused": 0}
    assert told["tasker_health_deliveries_dropped_total", ("reason", "full"), to] == 1
    assert told["tasker_health_deliveries_pending", to] == 4
    assert told["tasker_health_source_read_duration_seconds_count", ("source", "shop")] == 1
    assert next(key for key in told if key[0] == "tasker_health_build_info")[3] == ("version", "0.1.0")


@pytest.mark.parametrize("which", FORMATS)
def test_a_figure_that_is_not_known_is_not_there(full, which):
    """Neither as 0 nor as NaN, nor is its family; without a guard there are no vitals."""
    source = FakeSource(facts_of(**MORE, **UNKNOWN, connections=Connections()))
    partly = asyncio.run(snapshot_of(source, cache=FleetCache()))
    gone = set(families(full, which)) - set(families(partly, which))
    assert gone == {
        "tasker_avg_completion_time",
        "tasker_health_blocked_tasks",
        "tasker_health_stuck_tasks",
        "tasker_health_retry_queue_steps",
        "tasker_health_in_backoff_steps",
        "tasker_health_task_completion_seconds",
        "tasker_health_step_completion_seconds",
        "tasker_health_retry_success_ratio",
        "tasker_health_failure_ratio",
        "tasker_health_settled_tasks",
        "tasker_health_database_connections",
        "tasker_health_database_connections_maximum",
        "tasker_health_event_loop_lag_seconds",
        "tasker_health_event_loop_stalls",
        "tasker_health_guard_restarts",
    }
    told = samples(families(partly, which))
    assert all(value == value for value in told.values())  # noqa: PLR0124 -- NaN is not itself
    assert told["tasker_health_tasks", ("state", "pending")] == 45


OLDEST = {
    "the older of two": ([{"oldest_pending_seconds": 90}, {"oldest_pending_seconds": 200}], 200),
    "none pending in one": ([{"oldest_pending_seconds": 90}, {"pending": 0}], 90),
    "not known of one": ([{"oldest_pending_seconds": 90}, {}], None),
    "none pending": ([{"pending": 0}, {"pending": 0}], None),
    "no source": ([], None),
}


@pytest.mark.parametrize("facts", OLDEST)
def test_the_oldest_pending_task_of_the_fleet_is_one_number(facts):
    """Not there where a source has pending tasks and cannot tell since when, or where there are none."""
    parts, oldest = OLDEST[facts]
    sources = [FakeSource(facts_of(**part), name=f"source-{number}") for number, part in enumerate(parts)]
    told = samples(families(asyncio.run(snapshot_of(*sources))))
    assert told.get(("tasker_health_oldest_pending_seconds",)) == oldest


@pytest.mark.parametrize("which", FORMATS)
@pytest.mark.parametrize("fault", [None, Reason.REFUSED])
def test_facts_that_were_never_read_have_no_figures_and_no_age(which, fault):
    """Without a source, and with one that cannot be read: the judgement is told and nothing invented."""
    source = FakeSource()
    source.fault = fault
    found = families(asyncio.run(snapshot_of(*[source] if fault else [])), which)
    assert not {name for name in found if name.startswith("tasker_health_status_") and "reason" not in name}
    assert not {"tasker_health_tasks", "tasker_health_source_tasks", *GUIDE} & set(found)
    told = samples(found)
    if fault:
        assert told["tasker_health_status", ("status", "unhealthy")] == 1
        assert told["tasker_health_source_readable", ("source", "shop")] == 0
        assert told["tasker_health_source_errors_total", ("reason", "refused"), ("source", "shop")] == 1
    else:
        assert told["tasker_health_status_reason", ("reason", "no_source")] == 1


@pytest.mark.parametrize("which", FORMATS)
def test_the_guide_s_names_can_be_switched_off(full, which):
    """On by default, with the guide's units; off, nothing else changes."""
    found = families(full, which)
    assert {name: found[name].samples[0].value for name in GUIDE} == GUIDE
    without = families(full, which, guide_names=False)
    assert set(found) - set(without) == set(GUIDE)
    assert samples(without).items() <= samples(found).items()


def test_names_follow_the_conventions(full):
    """As `promtool check metrics` has it: a help text, `_total` for counters only, base units, no type in a name."""
    for family in families(full).values():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert family.documentation.endswith("."), name
        assert re.fullmatch(r"[a-z][a-z0-9_]*", name), name
        assert (family.type == "counter") == name.endswith("_total"), name
        words = set(name.split("_"))
        assert not words & {"ms", "milliseconds", "minutes", "percent", "s", "gauge", "counter", "histogram"}, name
        assert family.type == "histogram" or not name.endswith(("_count", "_sum", "_bucket")), name
        if name != "tasker_health_build_info":
            assert not name.endswith("_info"), name


def test_promtool_has_nothing_to_say(full):
    """Of our names; those of the guide are as they are."""
    if shutil.which("promtool") is None:
        missing_part("promtool is not here: Debian's prometheus")
    body, _ = rendered(full)
    done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, timeout=60, check=False)
    said = (done.stdout + done.stderr).decode().splitlines()
    assert [line for line in said if not line.startswith(tuple(GUIDE))] == []


ACCEPTED = {
    "": "text/plain; version=0.0.4",
    "*/*": "text/plain; version=0.0.4",
    "image/png": "text/plain; version=0.0.4",
    "text/plain;version=0.0.4": "text/plain; version=0.0.4",
    "application/openmetrics-text": "application/openmetrics-text; version=1.0.0",
    OPENMETRICS: "application/openmetrics-text; version=1.0.0",
    "application/openmetrics-text;version=9.9.9": "text/plain; version=0.0.4",
    "application/openmetrics-text;version=x;q=1": "text/plain; version=0.0.4",
    'application/openmetrics-text;version="1.0.0"': "text/plain; version=0.0.4",
    "application/openmetrics-text; version = evil": "text/plain; version=0.0.4",
}


@pytest.mark.parametrize("accept", ACCEPTED)
def test_the_format_follows_accept(full, accept):
    """A version that is not known is not promised, and never repeated; what is not understood gets the text."""
    _, content_type = rendered(full, accept)
    assert content_type.startswith(ACCEPTED[accept])


_PIECES = st.sampled_from(
    [
        *("application/openmetrics-text", "text/plain", ";version=", "1.0.0", "0.0.1", "abc", "version=2", "1.x"),
        *(";escaping=", "allow-utf-8", "dots", ",", ";", "=", " ", "\t", "é", "99999999999", ";q=0.1"),
    ]
)


@given(accept=st.one_of(st.text(), st.lists(_PIECES, max_size=12).map("".join)))
def test_no_accept_makes_a_fault(accept):
    """Whatever is sent, the answer is one of the two formats, and the header's words are not repeated in it."""
    _, content_type = rendered(SNAPSHOT, accept)
    assert re.fullmatch(
        r"(text/plain; version=(0\.0\.4|1\.0\.0)|application/openmetrics-text; version=1\.0\.0); charset=utf-8"
        r"(; escaping=(underscores|allow-utf-8|dots|values))?",
        content_type,
    )


SNAPSHOT = asyncio.run(snapshot_of(FakeSource()))


@pytest.mark.parametrize("which", FORMATS)
@given(service=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_a_service_of_any_name_is_escaped(which, service):
    """Quotes, backslashes and newlines come back as they were."""
    snapshot = type(SNAPSHOT)(
        **{name: getattr(SNAPSHOT, name) for name in SNAPSHOT.__struct_fields__ if name != "service"}, service=service
    )
    (sample,) = families(snapshot, which)["tasker_health_build" + ("_info" if which == "text" else "")].samples
    assert sample.labels["service"] == service


@pytest.mark.parametrize("which", FORMATS)
def test_hundreds_of_series_are_what_the_client_makes_of_them_at_one_stretch(which):
    """Put together from pieces, byte for byte, while others have their turns in between."""

    async def scene():
        health = Health(settings_of(), clock=FakeClock())
        for number in range(60):
            health.check(f"check-{number}")(lambda: None)
            health.add_source(FakeSource(name=f"source-{number}"))
        snapshot = await take_snapshot(health.monitor, AccessCounts())
        exporter = PrometheusExporter(PrometheusSettings())
        rendering = asyncio.ensure_future(exporter.render(snapshot, FORMATS[which][0]))
        turns = 0
        while not rendering.done():
            await asyncio.sleep(0)
            turns += 1
        return snapshot, rendering.result()[0], turns

    snapshot, body, turns = asyncio.run(scene())
    whole = CollectorRegistry()
    whole.register(Whole(snapshot))
    assert body == choose_encoder(FORMATS[which][0])[0](whole)
    assert body.count(b"\n") / turns <= 250


class Whole:
    """Collects everything of a snapshot at once."""

    def __init__(self, snapshot):
        self.told = instruments(snapshot, guide_names=True)

    def collect(self):
        """Return every family."""
        return map(_family, self.told)
