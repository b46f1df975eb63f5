"""What is true of the process that answers, and of no other: its readiness, and what it has counted."""

from __future__ import annotations

import platform
from collections.abc import Iterator

from tasker_health import __version__
from tasker_health.cache.sealing import Refusal
from tasker_health.counters import DELIVERY_RESULTS, DROP_REASONS
from tasker_health.exporters import ProcessSnapshot
from tasker_health.exporters.instrument import Instrument, counter, gauge
from tasker_health.model import CheckStatus, Reason


def figures(snapshot: ProcessSnapshot) -> Iterator[Instrument]:
    """Yield what *snapshot* says of this process."""
    yield from _readiness(snapshot)
    yield from _sources(snapshot)
    yield from _cache(snapshot)
    yield from _deliveries(snapshot)
    yield from _access(snapshot)
    yield from _process(snapshot)


def _readiness(snapshot: ProcessSnapshot) -> Iterator[Instrument]:
    report = snapshot.readiness
    if report is not None:
        yield gauge("tasker_health_ready", "1 when this process should get traffic.", report.ready, "least")
        yield Instrument(
            "tasker_health_check_state",
            "gauge",
            "1 for how the check ended the last time.",
            ("check", "state"),
            [
                ((name, state.value), result.status is state)
                for name, result in report.checks.items()
                for state in CheckStatus
            ],
            among="worst",
        )
    yield gauge("tasker_health_started", "1 when this process has finished starting.", snapshot.started, "least")
    yield from _checks(snapshot)


def _checks(snapshot: ProcessSnapshot) -> Iterator[Instrument]:
    counts = snapshot.counters.checks
    yield Instrument(
        "tasker_health_check_duration_seconds",
        "histogram",
        "How long runs of the check took: runs, not probes.",
        ("check",),
        histograms=counts,
    )
    yield counter(
        "tasker_health_check_timeouts_total",
        "Runs of the check that ended with timeout.",
        ("check",),
        {(name,): each.timeouts for name, each in counts.items()},
    )
    yield gauge(
        "tasker_health_held_checks",
        "Checks that still run beyond their deadline; a blocking one holds a thread.",
        snapshot.held_checks,
        "sum",
    )


def _sources(snapshot: ProcessSnapshot) -> Iterator[Instrument]:
    counts = snapshot.counters.sources
    yield Instrument(
        "tasker_health_source_read_duration_seconds",
        "histogram",
        "How long readings of the source took: readings, not answers.",
        ("source",),
        histograms={name: each.durations for name, each in counts.items()},
    )
    yield counter(
        "tasker_health_source_refreshes_total",
        "Readings begun.",
        ("source",),
        {(name,): each.reads for name, each in counts.items()},
    )
    yield counter(
        "tasker_health_source_errors_total",
        "Readings that failed.",
        ("source", "reason"),
        {(name, reason.value): each.errors.get(reason, 0) for name, each in counts.items() for reason in Reason},
    )
    yield counter(
        "tasker_health_cache_lookups_total",
        "Lookups of facts by result; answers repeated within a second look nothing up.",
        ("source", "result"),
        {
            (name, result): value
            for name, each in counts.items()
            for result, value in (("hit", each.hits), ("miss", each.misses))
        },
    )


def _cache(snapshot: ProcessSnapshot) -> Iterator[Instrument]:
    counts = snapshot.counters.cache
    if counts.back_end == "memory":
        return
    yield counter(
        "tasker_health_cache_requests_total",
        "Questions to the shared cache; skipped: it was left alone because it had not answered.",
        ("operation", "result"),
        {
            (operation, result): counts.requests[operation, result]
            for operation in ("get", "put", "acquire", "release")
            for result in ("ok", "failed", "skipped")
        },
    )
    yield counter(
        "tasker_health_cache_faults_total",
        "Questions to the shared cache that failed, and what it has not kept.",
        ("reason",),
        {(reason.value,): counts.faults[reason] for reason in Reason},
    )
    yield counter(
        "tasker_health_cache_refused_entries_total",
        "Entries of the shared cache that were not believed.",
        ("reason",),
        {(refusal.value,): counts.refused_entries[refusal] for refusal in Refusal},
    )


def _deliveries(snapshot: ProcessSnapshot) -> Iterator[Instrument]:
    counts = snapshot.deliveries
    yield counter(
        "tasker_health_deliveries_total",
        "What exporters and alerts have sent, by what came of each attempt.",
        ("to", "result"),
        {(name, result): each.results[result] for name, each in counts.items() for result in DELIVERY_RESULTS},
    )
    yield counter(
        "tasker_health_deliveries_dropped_total",
        "What nobody will get any more.",
        ("to", "reason"),
        {(name, reason): each.dropped[reason] for name, each in counts.items() for reason in DROP_REASONS},
    )
    yield Instrument(
        "tasker_health_deliveries_pending",
        "gauge",
        "What waits to be sent.",
        ("to",),
        [((name,), each.pending) for name, each in counts.items()],
        among="greatest",
    )


def _access(snapshot: ProcessSnapshot) -> Iterator[Instrument]:
    access = snapshot.access
    yield counter(
        "tasker_health_authentication_failures_total",
        "Requests answered with 401.",
        (),
        {(): access.authentication_failures},
    )
    yield counter(
        "tasker_health_authorization_failures_total",
        "Requests answered with 403.",
        (),
        {(): access.authorization_failures},
    )
    yield counter(
        "tasker_health_access_faults_total",
        "Times that an authenticator or a coordinator broke.",
        (),
        {(): access.faults},
    )


def _process(snapshot: ProcessSnapshot) -> Iterator[Instrument]:
    vitals = snapshot.vitals
    if vitals.loop_lag_seconds is not None:
        yield gauge(
            "tasker_health_event_loop_lag_seconds",
            "How late the last heartbeat was.",
            vitals.loop_lag_seconds,
            "greatest",
        )
        yield counter(
            "tasker_health_event_loop_stalls_total",
            "How often the event loop began to lag by more than the warning.",
            (),
            {(): snapshot.counters.loop_stalls},
        )
    if vitals.guard_restarts is not None:
        yield counter(
            "tasker_health_guard_restarts_total",
            "How often the guard was started again.",
            (),
            {(): vitals.guard_restarts},
        )
    yield Instrument(
        "tasker_health_build_info",
        "info",
        "What runs here.",
        ("version", "python_version", "service"),
        [((__version__, platform.python_version(), snapshot.service), 1)],
    )
