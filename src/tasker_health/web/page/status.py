"""The status as a page for people: what is wrong first, then the figures, the last hour, and where they come from."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from msgspec import UNSET

from tasker_health.history import History
from tasker_health.markup import Markup
from tasker_health.model import DetailedStatusReport, Readiness, StatusReport
from tasker_health.single_flight import SingleFlight
from tasker_health.slo import WINDOWS
from tasker_health.web.page.elements import figures, mark, section, table, table_pieces, text, with_unit
from tasker_health.web.page.frame import framed
from tasker_health.web.page.pictures import Pictures, bars_of, hour_of
from tasker_health.web.page.trouble import wrong
from tasker_health.web.render import Answer
from tasker_health.work import SloReport

_LEAST_REFRESH_SECONDS = 5
_REFRESH_SECONDS = 15
"""How often the page is fetched anew where nothing is cached."""

_ROWS_AT_A_TIME = 20
"""So many rows of a table are written before others have their turn."""

_TASKS = (
    *("total_tasks", "pending_tasks", "running_tasks", "completed_tasks", "failed_tasks", "cancelled_tasks"),
    "other_tasks",
)
_WAITING = ("retry_queue_size", "in_backoff", "blocked_tasks", "stuck_tasks")


class Shown(NamedTuple):
    """What stands on one page.

    Attributes:
        report: The status, with its details for those who may see them.
        readiness: The checks.
        history: The last hour; `None`: nobody remembers.
        service: The name of the service.
    """

    report: StatusReport
    readiness: Readiness
    history: History | None
    service: str


class _UnderWay(NamedTuple):
    """A page that is being made: of what, on which event loop, and its run, which all wait for who get the same.

    Were each to make its own, a hundred browsers would hold up every turn of the loop by a hundred pieces.
    """

    shown: Shown
    loop: asyncio.AbstractEventLoop
    run: SingleFlight[Answer]


class StatusPage:
    """Renders the status, once for all who get the same."""

    def __init__(self) -> None:
        self._pictures = Pictures(None)
        self._is_drawing = False
        self._made: dict[bool, tuple[Shown, Answer]] = {}
        self._under_way: dict[bool, _UnderWay] = {}

    async def answer(self, status: int, shown: Shown) -> Answer:
        """Return *shown* as a page; *status* is the code of the report."""
        has_detail = isinstance(shown.report, DetailedStatusReport)
        made = self._made.get(has_detail)
        if made is not None and _is_same(made[0], shown):
            return made[1]
        loop, under_way = asyncio.get_running_loop(), self._under_way.get(has_detail)
        if under_way is None or under_way.loop is not loop or not _is_same(under_way.shown, shown):
            under_way = _UnderWay(shown, loop, SingleFlight(lambda: self._render(status, shown)))
            self._under_way[has_detail] = under_way
        return await under_way.run()

    async def _render(self, status: int, shown: Shown) -> Answer:
        pictures = await self._drawn(shown.history)
        answer = await _rendered(status, shown, pictures)
        if pictures.history is shown.history:
            self._made[isinstance(shown.report, DetailedStatusReport)] = shown, answer
        return answer

    async def _drawn(self, history: History | None) -> Pictures:
        """Return the pictures of *history*; while somebody else is about to draw them, those of the one before."""
        if self._pictures.history is history or self._is_drawing:
            return self._pictures
        self._is_drawing = True
        try:
            pictures = Pictures(history)
            await pictures.draw()
            self._pictures = pictures
        finally:
            self._is_drawing = False
        return pictures


def _is_same(one: Shown, other: Shown) -> bool:
    """Return whether both are of the same answers; the details are put together anew for each who asks."""
    are_same = one.readiness is other.readiness and one.history is other.history and one.service == other.service
    if not isinstance(one.report, DetailedStatusReport):
        return are_same and one.report is other.report
    return are_same and one.report == other.report


async def _rendered(status: int, shown: Shown, pictures: Pictures) -> Answer:
    report, seconds = shown.report, refresh_seconds(shown.report)
    checks = await _checks(shown.readiness, pictures)
    body = []
    for part in _parts(shown, checks, pictures):
        body.append(part)
        await asyncio.sleep(0)
    title = f"{report.status}: {shown.service}"
    data = {"status": str(report.status), "refresh": str(seconds)}
    return framed(status, title, body, data, refresh_seconds=seconds)


def _parts(shown: Shown, checks: Markup, pictures: Pictures) -> Iterator[str]:
    report = shown.report
    health = report.system_health
    yield _heading(report, shown.service)
    yield wrong(report, shown.readiness)
    yield checks
    yield section("tasks", "Tasks by state", bars_of(report), figures(health, _TASKS))
    yield hour_of(pictures)
    yield section("waiting", "Retry queue, blocked and stuck work", figures(health, _WAITING), pictures.queues)
    if report.slos:
        yield section("slos", "Objectives", _objectives(report.slos))
    yield section("performance", "Performance", figures(report.performance_metrics))
    if report.sources:
        yield section("sources", "Sources", _sources(report))
    if isinstance(report, DetailedStatusReport):
        yield section("details", "Details", _details(report))
    yield section("connections", "Connections of the database", figures(report.database))
    yield section("cache", "Age and cache", _age(report), figures(report.cache_info))


def refresh_seconds(report: StatusReport) -> int:
    """Return the cache duration, for as long as it takes until the figures can have changed."""
    expires_at = report.cache_info.cache_expires_at
    if expires_at is None:
        return _REFRESH_SECONDS
    return max(_LEAST_REFRESH_SECONDS, math.ceil((expires_at - report.timestamp).total_seconds()))


def _heading(report: StatusReport, service: str) -> str:
    age = report.cache_info.age_seconds
    words = f"{age} s old" if age else "read just now"
    told = "no figures yet" if _is_unread(report) else f'<span data-age="{age}">{words}</span>'
    return (
        f"<h1><bdi>{text(service)}</bdi>: {mark(report.status)}</h1>\n"
        f'<p class="quiet">{text(report.timestamp)}, {told}</p>'
    )


def _is_unread(report: StatusReport) -> bool:
    """Return whether there are no figures, whose time and age would be those of nothing."""
    return all(source.system_health.total_tasks is None for source in report.sources.values())


def _age(report: StatusReport) -> str:
    info = report.cache_info
    if _is_unread(report):
        return "<p>No figures have been read.</p>"
    if info.stale is True:
        return "<p>These figures are older than the cache duration; what is wrong stands at the top.</p>"
    return "<p>These figures come from the cache.</p>" if info.cached else "<p>These figures were just read.</p>"


async def _checks(readiness: Readiness, pictures: Pictures) -> Markup:
    headings = ["Check", "Status", "Reason", "Response time"]
    if pictures.checks:
        headings.append("The last hour")
    rows: Iterator[list[Any]] = (
        [
            name,
            mark(result.status),
            result.reason,
            with_unit(result.response_time_ms, "ms"),
            *([pictures.checks.get(name, UNSET)] if pictures.checks else []),
        ]
        for name, result in readiness.checks.items()
    )
    pieces = []
    for number, piece in enumerate(table_pieces("checks", "Checks of readiness", headings, rows)):
        pieces.append(piece)
        if number % _ROWS_AT_A_TIME == 0:
            await asyncio.sleep(0)
    said = "Ready for traffic" if readiness.ready else "Not ready for traffic"
    return section("checks", "Checks", f"<p>{said}.</p>", "".join(pieces))


def _sources(report: StatusReport) -> Markup:
    rows = [
        (
            name,
            mark(source.status),
            source.reason if source.reason is not UNSET else ", ".join(source.reasons) or UNSET,
            source.system_health.total_tasks,
            source.system_health.running_tasks,
            source.system_health.failed_tasks,
            source.timestamp,
        )
        for name, source in report.sources.items()
    ]
    headings = ("Source", "Status", "Reason", "Tasks", "Running", "Failed", "Read at")
    return table("sources", "Sources of tasks", headings, rows)


def _objectives(slos: Mapping[str, SloReport]) -> Markup:
    rows = [
        (name, f"{slo.objective:.4%}", *slo.burn_rates.values(), slo.budget_left, slo.firing, slo.since)
        for name, slo in slos.items()
    ]
    headings = ("Objective", "Of the work", *(f"Burn {window}" for window in WINDOWS), "Budget left", "Fires", "Since")
    return table("slos", "How fast the failures that are borne are used up", headings, rows)


def _details(report: DetailedStatusReport) -> Markup:
    rows = [
        (name, UNSET if detail.error is None else detail.error, with_unit(detail.read_time_ms, "ms"))
        for name, detail in report.details.items()
    ]
    return table(
        "details", "What the databases of the sources said last", ("Source", "Last error", "Reading took"), rows
    )
