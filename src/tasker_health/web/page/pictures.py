"""The last hour in charts, and the tasks in bars."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from tasker_health.charts import Bar, Line, bar_chart, line_chart, spark_chart
from tasker_health.history import CheckHistory, History
from tasker_health.markup import Markup
from tasker_health.model import CheckStatus, StatusReport
from tasker_health.web.page.elements import section, text

_COLOURS = {CheckStatus.OK: "good", CheckStatus.DEGRADED: "warn", CheckStatus.ERROR: "bad"}

_BARS = {
    "pending": "plain",
    "running": "plain",
    "completed": "good",
    "failed": "bad",
    "cancelled": "other",
    "other": "other",
}


class Pictures:
    """What is drawn of one `History`.

    Attributes:
        history: That one; `None`: nobody remembers.
        checks: A small chart of each check, by name.
        hour: Throughput and failures.
        queues: What waits and does not move.
    """

    def __init__(self, history: History | None) -> None:
        self.history: History | None = history
        self.checks: Mapping[str, Markup] = {}
        self.hour: Markup = Markup()
        self.queues: Markup = Markup()

    async def draw(self) -> None:
        """Draw it, with turns for others between."""
        history = self.history
        if history is None or not any(each is not None for each in history.status):
            return
        self.hour = Markup(_throughput(history) + await _turn(lambda: _ratio(history)))
        self.queues = await _turn(lambda: _queues(history))
        drawn = {}
        for name, past in history.checks.items():
            await asyncio.sleep(0)  # each takes up to a millisecond
            drawn[name] = _of_check(name, past)
        self.checks = drawn


def bars_of(report: StatusReport) -> Markup:
    """Return the tasks by state."""
    health = report.system_health
    bars = [Bar(name, colour, getattr(health, f"{name}_tasks")) for name, colour in _BARS.items()]
    return Markup(f"<figure>{bar_chart('Tasks by state', bars)}</figure>")


def hour_of(pictures: Pictures) -> Markup:
    """Return the part of the page on the last hour."""
    history = pictures.history
    if history is None:
        return Markup()
    if not pictures.hour:
        return section("hour", "The last hour", "<p>Nothing is remembered yet: the first figures come soon.</p>")
    of = "all processes together" if history.is_shared else "seen by this process"
    told = f'<p class="quiet">{text(history.replicas)} told of it, {of}, until {text(history.timestamp)}.</p>'
    return section("hour", "The last hour", f'<div class="charts">{pictures.hour}</div>', told)


async def _turn(draw: Callable[[], Markup]) -> Markup:
    await asyncio.sleep(0)
    return draw()


def _throughput(history: History) -> Markup:
    lines = [
        Line("completed", "good", history.completed_per_minute),
        Line("failed", "bad", history.failed_per_minute),
    ]
    return _over_time(history, "Tasks ended a minute", lines)


def _ratio(history: History) -> Markup:
    percent = [None if each is None else round(each * 100, 2) for each in history.failure_ratio]
    return _over_time(history, "Failure ratio", [Line("failed of all that ended", "bad", percent)], "%")


def _queues(history: History) -> Markup:
    colours = {"retry_queue": "plain", "blocked": "bad", "stuck": "warn"}
    lines = [
        Line(name.replace("_", " "), colour, history.tasks[name])
        for name, colour in colours.items()
        if name in history.tasks
    ]
    return _over_time(history, "Retries, blocked and stuck", lines) if lines else Markup()


def _over_time(history: History, title: str, lines: Sequence[Line], unit: str = "") -> Markup:
    until = history.timestamp
    since = until - timedelta(seconds=history.slot_seconds * len(history.status))
    drawn = line_chart(title, lines, from_label=f"{since:%H:%M} UTC", to_label=f"{until:%H:%M} UTC", unit=unit)
    return _figure(title, drawn)


def _of_check(name: str, past: CheckHistory) -> Markup:
    colours = [None if each is None else _COLOURS.get(each) for each in past.status]
    return Markup(spark_chart(f"The last hour of {name}", past.response_time_ms, colours, unit="ms"))


def _figure(title: str, drawn: str) -> Markup:
    return Markup(f"<figure><figcaption>{text(title)}</figcaption>{drawn}</figure>")
