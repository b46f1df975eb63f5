"""What is wrong: each thing with its cause and what to do, the worst first."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from fakes import FakeClock, FakeSource, facts_of, settings_of
from tasker_health.health import Health
from tasker_health.meaning import cause_of, remedy_of
from tasker_health.model import CacheInfo, CheckResult, CheckStatus, Readiness, Reason, StatusReason
from tasker_health.web.page.trouble import troubles, wrong

NOW = datetime(2025, 6, 18, 15, 30, tzinfo=UTC)
READY = Readiness(ready=True, checks={}, timestamp=NOW)


@pytest.fixture(scope="module")
def report():
    """A healthy status."""

    async def play():
        health = Health(settings_of(), clock=FakeClock())
        health.add_source(FakeSource(facts_of()))
        made = await health.status()
        await health.stop()
        return made

    return asyncio.run(play())


def changed(report, **fields):
    """Return *report* with other *fields*."""
    from msgspec.structs import replace

    return replace(report, **fields)


def test_nothing_wrong_is_said(report):
    """It is the first thing that somebody wants to know."""
    assert "Nothing is wrong." in wrong(report, READY)


@pytest.mark.parametrize("reason", list(StatusReason))
def test_every_reason_of_the_status_has_its_cause_and_remedy(report, reason):
    """In the words that all of the house use."""
    (found,) = troubles(changed(report, reasons=[reason]), READY)
    assert (found.word, found.cause, found.remedy) == (reason, cause_of(reason), remedy_of(reason))


@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize("critical", [True, False])
def test_every_reason_of_a_check_says_whether_it_decides(report, reason, critical):
    """And names the check."""
    result = CheckResult(status=CheckStatus.ERROR, reason=reason)
    which = {"failed_checks": ["cache"]} if critical else {"degraded_checks": ["cache"]}
    readiness = Readiness(ready=not critical, checks={"cache": result}, timestamp=NOW, **which)
    (found,) = troubles(report, readiness)
    assert found.what == "Check cache"
    assert cause_of(reason) in found.cause
    assert remedy_of(reason) in found.remedy
    assert "tasker-health doctor cache" in found.remedy
    assert (found.colour == "bad") == ("Not ready for traffic" in found.cause) == critical


def test_an_event_loop_that_lags_is_one_of_the_checks(report):
    """A check that nobody registered, as the monitor adds it."""
    result = CheckResult(status=CheckStatus.DEGRADED, reason=Reason.STALLED)
    readiness = Readiness(ready=True, degraded_checks=["event_loop"], checks={"event_loop": result}, timestamp=NOW)
    assert "event_loop" in wrong(report, readiness)


def test_old_figures_are_said_to_be_old(report):
    """With their age."""
    stale = changed(report, cache_info=CacheInfo(cached=True, cache_expires_at=NOW, age_seconds=42, stale=True))
    (found,) = troubles(stale, READY)
    assert "42 s old" in found.cause


def test_the_worst_comes_first_and_commands_look_like_commands(report):
    """Whatever the order in which they were found."""
    html = wrong(changed(report, reasons=[StatusReason.STUCK_TASKS, StatusReason.SOURCE_UNREADABLE]), READY)
    assert html.index("source_unreadable") < html.index("stuck_tasks")
    assert "<code>tasker-health doctor sources</code>" in html
    assert "`" not in html
