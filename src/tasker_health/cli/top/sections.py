"""What is shown, from what was told: lines of text in the order in which somebody who is worried reads them.

The same lines are printed once and kept on a screen. Everything is `rich.text.Text`, so no markup that a server names
is obeyed; a status is a word with a sign before it, never a colour alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, TypeVar

from msgspec import UNSET
from rich.text import Text

from tasker_health.cli.top.snapshot import Snapshot
from tasker_health.cli.top.text import bar, cell, clean, count, milliseconds, seconds, sparkline
from tasker_health.history import History
from tasker_health.meaning import cause_of, remedy_of
from tasker_health.model import CheckResult, CheckStatus, Reason, SourceReport, StatusReport, SystemStatus
from tasker_health.work import Urgency

T = TypeVar("T")

MOST_ROWS = 100
"""Checks or sources that are shown; how many more there are is said."""

_NARROW = 60
_MOST_SECONDS = 10**12
_GOOD, _WARN, _BAD, _QUIET = "green", "yellow", "red", "dim"
_MARKS = {
    SystemStatus.HEALTHY: ("✓", _GOOD),
    SystemStatus.DEGRADED: ("!", _WARN),
    SystemStatus.UNHEALTHY: ("✗", _BAD),
    CheckStatus.OK: ("✓", _GOOD),
    CheckStatus.DEGRADED: ("!", _WARN),
    CheckStatus.ERROR: ("✗", _BAD),
    CheckStatus.UNKNOWN: ("?", _WARN),
}
_STATES = ("pending", "running", "completed", "failed", "cancelled", "other")


class Section(NamedTuple):
    """A heading and the lines under it."""

    name: str
    title: str
    lines: list[Text]


def sections_of(snapshot: Snapshot, width: int, elapsed_seconds: float = 0) -> list[Section]:
    """Return all that *snapshot* tells, on lines of at most *width* cells where they are tables.

    Args:
        snapshot: What was told.
        width: Of the terminal.
        elapsed_seconds: How long ago that was.
    """
    width = max(20, width)
    parts: list[tuple[str, str, Callable[[], Iterator[Text]]]] = [
        ("wrong", "What is wrong", lambda: _wrong(snapshot)),
        ("checks", "Checks", lambda: _checks(snapshot, width)),
    ]
    report = snapshot.status
    if report is not None:
        parts += [
            ("tasks", "Tasks by state", lambda: _tasks(report, width)),
            ("hour", "The last hour", lambda: _hour(report, snapshot.history, width)),
            ("waiting", "Retries, blocked and stuck work", lambda: _waiting(report)),
            *([("slos", "Objectives", lambda: _objectives(report))] if report.slos else []),
            ("sources", "Sources", lambda: _sources(report, width)),
            ("age", "Age and cache", lambda: _age(report, elapsed_seconds)),
        ]
    return [Section(name, title, list(lines())) for name, title, lines in parts]


def headline(snapshot: Snapshot, elapsed_seconds: float) -> Text:
    """Return in one line how the system is, and how old that is."""
    report, ready = snapshot.status, snapshot.ready
    line = Text()
    if report is None:
        line.append("? unknown", style="bold")
    else:
        line.append_text(_marked(report.status, bold=True))
        age = _age_of(report, elapsed_seconds)
        line.append(f"  read {seconds(age)} ago")
    if ready is not None:
        line.append("  ready" if ready.ready else "  NOT READY", style="" if ready.ready else f"bold {_BAD}")
    return line


def _wrong(snapshot: Snapshot) -> Iterator[Text]:
    report, ready = snapshot.status, snapshot.ready
    told = False
    for reason in report.reasons if report is not None else ():
        told = True
        yield from _trouble(f"{cause_of(reason)} ({reason})", remedy_of(reason))
    for name, source in _first(report.sources if report is not None else {}):
        if source.reason is not UNSET:
            told = True
            yield from _trouble(f"Source {clean(name)}: {cause_of(source.reason)}", remedy_of(source.reason))
    for name, result in _first(ready.checks if ready is not None else {}):
        if result.status is not CheckStatus.OK:
            told = True
            why = result.reason if result.reason is not UNSET else Reason.ERROR
            yield from _trouble(f"Check {clean(name)}: {cause_of(why)}", remedy_of(why))
    if not told:
        known = report is not None and ready is not None
        yield Text("Nothing is wrong." if known else "Not known: see the line above.", style="" if known else _WARN)


def _objectives(report: StatusReport) -> Iterator[Text]:
    for name, slo in _first({} if report.slos is UNSET else report.slos):
        rates = "  ".join(
            f"{clean(window)} {'?' if rate is None else f'{rate:g}'}" for window, rate in slo.burn_rates.items()
        )
        style = {None: "", Urgency.PAGE: f"bold {_BAD}"}.get(slo.firing, _WARN)
        fires = "" if slo.firing is None else f"  {clean(slo.firing)}"
        yield Text(f"{clean(name)}  {slo.objective:.4%}  burns {rates}{fires}", style=style)


def _trouble(cause: str, remedy: str) -> Iterator[Text]:
    yield Text(f"✗ {cause}", style="bold")
    yield Text(f"  → {remedy}")


def _checks(snapshot: Snapshot, width: int) -> Iterator[Text]:
    ready = snapshot.ready
    if ready is None:
        yield Text("unknown", style=_QUIET)
        return
    past = snapshot.history.checks if snapshot.history is not None else {}
    columns = 14 if width < _NARROW else 22
    for name, result in _first(ready.checks):
        line = Text(cell(clean(name), columns) + " ")
        line.append_text(_marked(result.status))
        line.append(f" {cell(_detail(result), 9)}")
        room = width - line.cell_len - 1
        if name in past and room > 0:
            line.append(" " + sparkline(past[name].response_time_ms, min(room, 40)), style="cyan")
        yield line
    yield from _and_more(len(ready.checks))


def _detail(result: CheckResult) -> str:
    took = "" if result.response_time_ms is UNSET else milliseconds(result.response_time_ms)
    return took if result.reason is UNSET or result.status is CheckStatus.OK else str(result.reason)


def _tasks(report: StatusReport, width: int) -> Iterator[Text]:
    health = report.system_health
    figures = {state: getattr(health, f"{state}_tasks") for state in _STATES}
    top = max((each for each in figures.values() if each is not None), default=0)
    for state, figure in figures.items():
        line = Text(f"{state:<10}{count(figure):>13} ")
        style = _BAD if state == "failed" else "cyan"
        line.append(bar(figure or 0, top, min(60, width - line.cell_len)), style=style)
        yield line
    yield Text(f"{'total':<10}{count(health.total_tasks):>13}", style="bold")


def _hour(report: StatusReport, history: History | None, width: int) -> Iterator[Text]:
    metrics = report.performance_metrics
    if history is not None:
        yield _line("completed/min", history.completed_per_minute, _latest(history.completed_per_minute), width)
        yield _line("failed/min", history.failed_per_minute, _latest(history.failed_per_minute), width, _BAD)
        yield _line("failure ratio", history.failure_ratio, metrics.failure_ratio, width, _WARN)
        yield Text(_seen_by(history), style=_QUIET)
    else:
        yield Text(f"failure ratio {count(metrics.failure_ratio)}")
        yield Text("This server keeps no history.", style=_QUIET)
    yield Text(f"settled in the window {count(metrics.settled_tasks)}")
    yield Text(f"average task {milliseconds(metrics.avg_task_completion_time_ms)}")
    yield Text(f"average step {milliseconds(metrics.avg_step_completion_time_ms)}")


def _seen_by(history: History) -> str:
    who = f"the fleet, {count(history.replicas)} processes" if history.is_shared else "this one process"
    return f"oldest left, newest right; as seen by {who}"


def _line(name: str, values: list[float | None], now: float | None, width: int, style: str = "cyan") -> Text:
    line = Text(f"{name:<14}{count(now):>8} ")
    return line.append(sparkline(values, min(60, width - line.cell_len)), style=style)


def _latest(values: list[float | None]) -> float | None:
    return next((each for each in reversed(values) if each is not None), None)


def _waiting(report: StatusReport) -> Iterator[Text]:
    health, metrics = report.system_health, report.performance_metrics
    in_backoff = "" if health.in_backoff is None else f", {count(health.in_backoff)} not due yet"
    yield Text(f"retry queue    {count(health.retry_queue_size)}{in_backoff}")
    yield Text(f"retries gone well {count(metrics.retry_success_rate)}")
    for name, figure in (("blocked", health.blocked_tasks), ("stuck", health.stuck_tasks)):
        yield Text(f"{name:<15}{count(figure)}", style=f"bold {_WARN}" if figure else "")


def _sources(report: StatusReport, width: int) -> Iterator[Text]:
    if not report.sources:
        yield Text("none configured", style=_QUIET)
    for name, source in _first(report.sources):
        line = Text(cell(clean(name), 14 if width < _NARROW else 22) + " ")
        line.append_text(_marked(source.status))
        line.append(f" {_source_detail(source)}")
        yield line
    yield from _and_more(len(report.sources))


def _source_detail(source: SourceReport) -> str:
    if source.reason is not UNSET:
        return str(source.reason)
    return ", ".join(source.reasons[:7]) or f"{count(source.system_health.total_tasks)} tasks"


def _age(report: StatusReport, elapsed_seconds: float) -> Iterator[Text]:
    cache = report.cache_info
    stale = " (stale)" if cache.stale is True else ""
    yield Text(f"figures read {seconds(_age_of(report, elapsed_seconds))} ago{stale}")
    yield Text("from the cache" if cache.cached else "read for this answer")
    if cache.cache_expires_at is None:
        yield Text("nothing is cached")
    else:
        yield Text(f"expires {cache.cache_expires_at:%H:%M:%S} by the server's clock")
    database = report.database
    yield Text(f"database connections {count(database.active_connections)} of {count(database.maximum_connections)}")


def _age_of(report: StatusReport, elapsed_seconds: float) -> float:
    """Return how old the figures are; a server may say what no number of seconds can be."""
    return min(max(0, report.cache_info.age_seconds), _MOST_SECONDS) + elapsed_seconds


def _marked(status: CheckStatus | SystemStatus, *, bold: bool = False) -> Text:
    mark, style = _MARKS[status]
    return Text(f"{mark} {status}", style=f"bold {style}" if bold else style)


def _first(rows: dict[str, T]) -> list[tuple[str, T]]:
    return list(rows.items())[:MOST_ROWS]


def _and_more(rows: int) -> Iterator[Text]:
    if rows > MOST_ROWS:
        yield Text(f"and {rows - MOST_ROWS:,} more", style=_QUIET)
