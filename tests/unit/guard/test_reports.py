"""What the guard makes of reports, and that it has the application's own form."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
import pytest

from tasker_health.guard.memory import DRAINING
from tasker_health.guard.reports import with_stalled_workers
from tasker_health.model import CheckResult, CheckStatus, Liveness, Readiness, Reason, Startup

NOW = datetime(2025, 6, 18, 15, 30, tzinfo=UTC)
OK = CheckResult(status=CheckStatus.OK)


def readiness(**fields):
    """Return a readiness report as the application publishes it."""
    return msgspec.json.encode(Readiness(**{"ready": True, "checks": {"database": OK}, "timestamp": NOW, **fields}))


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"checks": {}},
        {"degraded_checks": ["cache"]},
        {"degraded_checks": []},
        {"ready": False, "failed_checks": ["database"], "degraded_checks": ["a", "b"]},
        {"ready": False, "failed_checks": ["checks", "degraded_checks"]},
        {"checks": {"checks": OK, "degraded_checks": OK}},
    ],
)
def test_stalled_workers_are_added_to_a_report(fields):
    """The report is what it was, with one more degraded check; whatever the checks are called."""
    before = msgspec.json.decode(readiness(**fields), type=Readiness)
    after = msgspec.json.decode(with_stalled_workers(readiness(**fields)), type=Readiness)
    workers = CheckResult(status=CheckStatus.DEGRADED, reason=Reason.STALLED)
    assert after.checks == before.checks | {"workers": workers}
    assert sorted(after.degraded_checks) == sorted([*(before.degraded_checks or []), "workers"])
    assert (after.ready, after.failed_checks) == (before.ready, before.failed_checks)


@pytest.mark.parametrize("body", [b"", b"{}", b'{"ready":true}', readiness(checks={"workers": OK})])
def test_other_bodies_are_left_alone(body):
    """One without checks, and one that knows of workers itself."""
    assert with_stalled_workers(body) == body


def test_live_is_what_the_application_would_say(rooms):
    """Bytes and code are those of the application's own answer."""
    rooms.look()
    code, body = rooms.reports.live()
    known = msgspec.json.decode(body, type=Liveness)
    assert (code, body) == (200, msgspec.json.encode(known))
    rooms.memory.take()
    rooms.look(42.44)
    code, body = rooms.reports.live()
    known = msgspec.json.decode(body, type=Liveness)
    assert (code, body) == (503, msgspec.json.encode(known))
    assert (known.reason, known.stalled_seconds) == ("event_loop_stalled", 42.4)


def test_what_the_guard_says_itself_has_the_contracts_form(rooms):
    """Readiness, one check and startup, before anything was published."""
    rooms.look()
    for check, kind in (("", Readiness), ("database", Readiness)):
        code, body = rooms.reports.ready(check)
        report = msgspec.json.decode(body, type=kind)
        assert (code, body) == (503, msgspec.json.encode(report))
        assert report.failed_checks == list(report.checks) == [check or "application"]
    code, body = rooms.reports.startup()
    assert (code, body) == (503, msgspec.json.encode(msgspec.json.decode(body, type=Startup)))


@pytest.mark.parametrize("check", ["A", "a b", "1a", "-a", "a" * 64, 'a"', "a/b", "\xe9", "a\xe9"])
def test_what_can_be_no_name_is_no_check(rooms, check):
    """It is unknown, published or not, and never stands in an answer."""
    assert rooms.reports.ready(check) is None
    slot = rooms.memory.take()
    slot.publish({"ready": (200, readiness()), "ready/database": (200, readiness())})
    rooms.look()
    assert rooms.reports.ready(check) is None
    assert rooms.reports.ready("a" * 63) is None


def test_an_empty_publication_is_no_report(rooms):
    """A worker that has only started up has not yet run its checks."""
    slot = rooms.memory.take()
    slot.publish({"startup": (200, b"{}")})
    rooms.look(10)
    code, body = rooms.reports.ready()
    assert (code, json.loads(body)["checks"]["application"]["reason"]) == (503, "not_run")
    assert rooms.reports.startup() == (200, b"{}")


def test_a_worker_that_publishes_nothing_hides_no_report(rooms):
    """A second event loop of the process beats, and leaves publishing to the first."""
    rooms.memory.take().publish({"ready": (200, b"{}")})
    rooms.memory.take()
    rooms.look()
    assert rooms.reports.ready() == (200, b"{}")


def test_a_report_grows_old(rooms):
    """Up to its greatest age it is passed on; a grant renews it as it does heartbeats."""
    slot = rooms.memory.take()
    slot.publish({"ready": (200, b"{}")})
    rooms.look(5)
    assert rooms.reports.ready() == (200, b"{}")
    rooms.look(0.001)
    assert rooms.reports.ready()[0] == 503
    rooms.watch.grant(int(rooms.now * 1e9), 0)
    rooms.look(5)
    assert rooms.reports.ready() == (200, b"{}")


def test_startup_is_done_when_one_worker_has_started(rooms):
    """A worker that starts later, or has stalled since, does not undo it."""
    first = rooms.memory.take()
    first.publish({"startup": (200, b"first")})
    rooms.now += 1
    rooms.memory.take().publish({"startup": (503, b"second")})
    rooms.look(100)
    assert rooms.reports.startup() == (200, b"first")
    first.give_back()
    rooms.look()
    assert rooms.reports.startup() == (503, b"second")


def test_who_drains_is_asked_last(rooms):
    """Those who serve count; a stalled one that does not drain is `stalled`, not `draining`."""
    draining = rooms.memory.take(DRAINING)
    draining.publish({"ready": (503, b"draining")})
    rooms.look()
    assert rooms.reports.ready() == (503, b"draining")
    serving = rooms.memory.take()
    rooms.look(31)
    draining.beat()
    rooms.look()
    assert json.loads(rooms.reports.ready()[1])["checks"]["application"]["reason"] == "stalled"
    serving.beat()
    serving.publish({"ready": (200, b"serving")})
    rooms.look()
    assert rooms.reports.ready() == (200, b"serving")
