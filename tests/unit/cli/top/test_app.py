"""The screen: what it shows in each state, with which keys, and in how little room."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest
from textual.geometry import Size

from fakes import facts_of
from loop import in_loop
from tasker_health.cli.top.app import Help, Part, Top
from tasker_health.cli.top.snapshot import Snapshot, Trouble
from tasker_health.history import CheckHistory, History
from tasker_health.model import CheckResult, CheckStatus, Reason, SystemStatus
from unit.cli.top.answering import NOW, ready_of, report_of

PATIENCE_SECONDS = 30
HISTORY = History(
    timestamp=NOW,
    slot_seconds=600,
    is_shared=True,
    replicas=3,
    status=[SystemStatus.HEALTHY] * 6,
    tasks={},
    completed_per_minute=[1.0, 2.0, 8.0, None, 4.0, 4.0],
    failed_per_minute=[0.0] * 6,
    failure_ratio=[0.0, 0.0, 0.25, None, 0.1, 0.1],
    checks={"database": CheckHistory(status=[CheckStatus.OK] * 6, response_time_ms=[1, 1, 8, None, 2, 2])},
)
WELL = Snapshot(status=report_of(facts_of()), ready=ready_of(), history=HISTORY)
BLOCKED = Snapshot(
    status=report_of(facts_of(blocked=3)),
    ready=ready_of(database=CheckResult(status=CheckStatus.ERROR, reason=Reason.REFUSED)),
)
UNREADABLE = Snapshot(status=report_of(None, fault=Reason.UNREACHABLE), ready=ready_of())
AWAY = Snapshot(trouble=Trouble.DISCONNECTED, words="Connection refused; is the server started?")
REFUSED = Snapshot(ready=ready_of(), trouble=Trouble.REFUSED, words="answered 401: start with --token -")


class Scripted:
    """Answers with `snapshot`, and counts how often it was asked."""

    def __init__(self, snapshot):
        self.snapshot = snapshot
        self.asked = 0
        self.forgotten = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self):
        """Return what the test has put there."""
        self.asked += 1
        await self.gate.wait()
        return self.snapshot

    def forget_history(self):
        """Count it."""
        self.forgotten += 1


def shown(app):
    """Return all text on the screen of *app*, hidden parts excluded, as they are written."""
    return "\n".join(str(each.render()) for each in app.query("Static") if each.display)


async def until(pilot, condition, what):
    """Wait for *condition*."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await pilot.pause(0.01)
    assert condition(), what


def top(snapshot, interval_seconds=3600):
    """Return an application that is told *snapshot*."""
    asking = Scripted(snapshot)
    return Top(asking, "http://h/tasker/health", interval_seconds), asking


@pytest.mark.parametrize(
    ("snapshot", "words"),
    [
        (WELL, ["✓ healthy", "Nothing is wrong.", "▂▂█ ▃▃", "the fleet, 3 processes", "✓ ok", "pending"]),
        (
            BLOCKED,
            ["! degraded", "NOT READY", "Tasks are blocked", "Check database: It is there", "✗ error", "refused"],
        ),
        (UNREADABLE, ["✗ unhealthy", "A source cannot be read now", "Source shop0:", "unreachable", "unknown"]),
        (REFUSED, ["✗ REFUSED", "answered 401: start with --token -", "? unknown", "database"]),
        (AWAY, ["✗ DISCONNECTED for", "Connection refused", "Not known"]),
    ],
)
@in_loop
async def test_each_state_is_said_in_words(snapshot, words):
    """What is wrong, with what to do, without a colour; and the first part has the focus."""
    app, _ = top(snapshot)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: words[0] in shown(app), words[0])
        for each in words:
            assert each in shown(app)
        assert app.focused.id == "wrong"


@in_loop
async def test_what_is_wrong_comes_first():
    """And the rest in the order in which somebody who is worried reads it."""
    app, _ = top(WELL)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "healthy" in shown(app), "shown")
        titles = [str(each.render()).partition("\n")[0] for each in app.query(Part)]
    assert titles == [
        *("What is wrong", "Checks", "Tasks by state", "The last hour", "Retries, blocked and stuck work", "Sources"),
        "Age and cache",
    ]


@pytest.mark.parametrize("size", [(80, 24), (40, 24), (20, 8)])
@in_loop
async def test_it_fits_a_small_terminal(size, monkeypatch):
    """Nothing stands beyond the right edge, with NO_COLOR, too."""
    monkeypatch.setenv("NO_COLOR", "1")
    app, _ = top(BLOCKED)
    async with app.run_test(size=size) as pilot:
        await until(pilot, lambda: "Tasks are blocked" in shown(app), "shown")
        parts = app.query_one("#parts")
        assert parts.virtual_size.width <= size[0]
        assert all(each.region.right <= size[0] for each in app.query(Part))
        assert parts.max_scroll_x == 0


@in_loop
async def test_a_new_width_is_drawn_anew():
    """As when a window is made narrower."""
    app, _ = top(WELL)
    async with app.run_test(size=(120, 24)) as pilot:
        await until(pilot, lambda: "healthy" in shown(app), "shown")
        wide = max(map(len, shown(app).splitlines()))
        await pilot.resize_terminal(44, 20)
        await until(pilot, lambda: app.size == Size(44, 20), "resized")
        await until(pilot, lambda: max(map(len, str(app.query_one("#tasks").render()).splitlines())) <= 44, "drawn")
    assert wide > 44


@in_loop
async def test_figures_stay_when_the_server_goes_and_it_comes_back_by_itself():
    """They are said to be old, loudly, and no longer so afterwards."""
    app, asking = top(WELL, interval_seconds=0.2)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "healthy" in shown(app), "shown")
        asking.snapshot = AWAY
        await until(pilot, lambda: "DISCONNECTED" in shown(app), "said")
        assert "✓ healthy" in shown(app)
        asking.snapshot = BLOCKED
        await until(pilot, lambda: "DISCONNECTED" not in shown(app), "back")
        assert "! degraded" in shown(app)


@in_loop
async def test_who_is_refused_now_sees_the_figures_no_longer():
    """A right that was taken away is taken away here, too."""
    app, asking = top(WELL, interval_seconds=0.2)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Tasks by state" in shown(app), "shown")
        asking.snapshot = REFUSED
        await until(pilot, lambda: "REFUSED" in shown(app), "refused")
        await until(pilot, lambda: "Tasks by state" not in shown(app), "gone")


@in_loop
async def test_the_keys():
    """Key r asks at once, p pauses and goes on, ? helps, Tab and the arrows move, q leaves."""
    app, asking = top(WELL)
    async with app.run_test(size=(60, 12)) as pilot:
        await until(pilot, lambda: "healthy" in shown(app), "shown")
        await pilot.press("r")
        await until(pilot, lambda: asking.asked == 2, "asked")
        assert asking.forgotten == 1
        await pilot.press("p")
        await until(pilot, lambda: "PAUSED" in shown(app), "paused")
        await pilot.press("p")
        await until(pilot, lambda: asking.asked == 3, "asked again")
        assert "PAUSED" not in shown(app)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, Help), "help")
        await pilot.press("q")
        await until(pilot, lambda: not isinstance(app.screen, Help), "closed")
        await pilot.press("down", "down")
        await until(pilot, lambda: app.query_one("#parts").scroll_y == 2, "scrolled")
        await pilot.press("tab")
        assert app.focused.id == "checks"
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running, "left")


@in_loop
async def test_a_slow_server_is_not_asked_twice_and_holds_up_no_key():
    """While it is waited for, the screen answers."""
    app, asking = top(WELL, interval_seconds=0.2)
    asking.gate.clear()
    async with app.run_test(size=(60, 12)) as pilot:
        await until(pilot, lambda: asking.asked == 1, "asked")
        await pilot.press("r", "r", "question_mark")
        await until(pilot, lambda: isinstance(app.screen, Help), "help")
        assert asking.asked == 1
        asking.gate.set()
        await until(pilot, lambda: asking.asked > 1, "asked again, below the help")
        await pilot.press("escape")
        await until(pilot, lambda: "healthy" in shown(app), "shown")


@in_loop
async def test_the_picture_of_the_documentation_is_what_is_shown():
    """It names no other server; TASKER_TEST_SCREENSHOTS=1 draws it anew."""
    app, _ = top(Snapshot(status=BLOCKED.status, ready=BLOCKED.ready, history=HISTORY))
    async with app.run_test(size=(80, 34)) as pilot:
        await until(pilot, lambda: "degraded" in shown(app), "shown")
        picture = re.sub(r"@font-face \{.*?\}", "", app.export_screenshot(), flags=re.DOTALL)
    assert "degraded" in picture
    assert re.findall(r"(?:url\(|href=.)https?://[^)\"']+", picture) == []
    if os.environ.get("TASKER_TEST_SCREENSHOTS"):
        (Path(__file__).parents[4] / "docs" / "images" / "top.svg").write_text(picture)
