"""The status as a page for people: HTML without a script, from this server alone.

Everything that is shown goes through `_text`, which escapes it; there is no other way into the markup.
"""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable
from datetime import datetime
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import msgspec
from msgspec import UNSET

from tasker_health.model import (
    CheckStatus,
    DetailedStatusReport,
    Readiness,
    StatusReason,
    StatusReport,
    SystemStatus,
)
from tasker_health.web.negotiation import PAGE
from tasker_health.web.render import VARY, Answer, RawHeaders

_CONTENT_TYPE = f"{PAGE}; charset=utf-8"

_LEAST_REFRESH_SECONDS = 5
_REFRESH_SECONDS = 15
"""How often the page is fetched anew where nothing is cached."""

_MEANS = {
    StatusReason.SOURCE_UNREADABLE: "A source cannot be read now; its last figures are shown with their age.",
    StatusReason.FACTS_STALE: "The last figures are too old to be relied on.",
    StatusReason.FAILURE_RATIO: "Too many of the tasks that ended lately have failed.",
    StatusReason.BLOCKED_TASKS: "Tasks are blocked: they cannot move by themselves.",
    StatusReason.STUCK_TASKS: "Running tasks have not moved for long.",
    StatusReason.CONNECTIONS: "The database server has nearly no connection left.",
    StatusReason.NO_SOURCE: "No source of tasks is configured, so none are counted.",
}

_MARKS = {
    SystemStatus.HEALTHY: ("good", "✓"),
    SystemStatus.DEGRADED: ("warn", "!"),
    SystemStatus.UNHEALTHY: ("bad", "✗"),
    CheckStatus.OK: ("good", "✓"),
    CheckStatus.DEGRADED: ("warn", "!"),
    CheckStatus.ERROR: ("bad", "✗"),
    CheckStatus.UNKNOWN: ("unknown", "?"),
}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def page(status: int, report: StatusReport, readiness: Readiness, service: str) -> Answer:
    """Return *report* and *readiness* of *service* as a page; *status* is the code of the report."""
    body = [
        _heading(report, service),
        _reasons(report, readiness),
        _section("Tasks", _figures(report.system_health)),
        _section("Performance", _figures(report.performance_metrics)),
        _section("Readiness", _checks(readiness)),
        _section("Sources", _sources(report)) if report.sources else "",
        _section("Details", _details(report)) if isinstance(report, DetailedStatusReport) else "",
        _section("Connections of the database", _figures(report.database)),
        _section("Cache", _figures(report.cache_info)),
    ]
    return _answer(status, f"{report.status}: {service}", body, _refresh_seconds(report))


def _answer(status: int, title: str, body: Iterable[str], refresh_seconds: int | None = None) -> Answer:
    template, style, headers = _resources()
    refresh = "" if refresh_seconds is None else f'\n<meta http-equiv="refresh" content="{refresh_seconds}">'
    html = template.substitute(refresh=refresh, title=_text(title), style=style, body="\n".join(filter(None, body)))
    return Answer(status, html.encode(), headers, _CONTENT_TYPE)


@cache
def _resources() -> tuple[Template, str, RawHeaders]:
    """Return the frame of the page, its style, and the headers, which permit this very style and nothing else."""
    here = files("tasker_health.web")
    style = here.joinpath("page.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = [
        VARY,
        (b"content-security-policy", policy.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-frame-options", b"DENY"),
    ]
    return Template(here.joinpath("page.html").read_text("utf-8")), style, headers


def _refresh_seconds(report: StatusReport) -> int:
    """Return the cache duration, for as long as it takes until the figures can have changed."""
    expires_at = report.cache_info.cache_expires_at
    if expires_at is None:
        return _REFRESH_SECONDS
    return max(_LEAST_REFRESH_SECONDS, math.ceil((expires_at - report.timestamp).total_seconds()))


def _heading(report: StatusReport, service: str) -> str:
    age = f"{report.cache_info.age_seconds} s old" if report.cache_info.age_seconds else "read just now"
    return f'<h1>{_text(service)}: {_mark(report.status)}</h1>\n<p class="quiet">{_text(report.timestamp)}, {age}</p>'


def _reasons(report: StatusReport, readiness: Readiness) -> str:
    found = [f"{_MEANS[reason]} ({reason})" for reason in report.reasons]
    if not readiness.ready:
        found.append(f"Not ready because of {', '.join(readiness.failed_checks or [])}.")
    if readiness.degraded_checks:
        found.append(f"Not well, but not decisive for readiness: {', '.join(readiness.degraded_checks)}.")
    if not found:
        return "<p>Nothing is wrong.</p>"
    items = "".join(f"<li>{_text(each)}</li>" for each in found)
    return f"<h2>What is wrong</h2>\n<ul>{items}</ul>"


def _checks(readiness: Readiness) -> str:
    rows = [
        (name, _mark(result.status), result.reason, _with_unit(result.response_time_ms, "ms"))
        for name, result in readiness.checks.items()
    ]
    said = "Ready for traffic" if readiness.ready else "Not ready for traffic"
    return f"<p>{said}.</p>\n" + _table(("Check", "Status", "Reason", "Response time"), rows)


def _sources(report: StatusReport) -> str:
    rows = [
        (
            name,
            _mark(source.status),
            source.reason if source.reason is not UNSET else ", ".join(source.reasons) or UNSET,
            source.system_health.total_tasks,
            source.system_health.running_tasks,
            source.system_health.failed_tasks,
            source.timestamp,
        )
        for name, source in report.sources.items()
    ]
    return _table(("Source", "Status", "Reason", "Tasks", "Running", "Failed", "Read at"), rows)


def _details(report: DetailedStatusReport) -> str:
    rows = [
        (name, UNSET if detail.error is None else detail.error, _with_unit(detail.read_time_ms, "ms"))
        for name, detail in report.details.items()
    ]
    return _table(("Source", "Last error", "Reading took"), rows)


def _figures(group: msgspec.Struct) -> str:
    """Return every field of *group* that is there, by its name in the contract."""
    rows = []
    for name in group.__struct_fields__:
        value = getattr(group, name)
        if value is UNSET or name == "overall_status":
            continue
        if name == "cache_expires_at" and value is None:
            value = UNSET  # nothing is cached, which is known
        label, unit = (name.removesuffix("_ms"), "ms") if name.endswith("_ms") else (name, "")
        rows.append(f"<div><dt>{_text(label.replace('_', ' '))}</dt><dd>{_text(_with_unit(value, unit))}</dd></div>")
    return f"<dl>{''.join(rows)}</dl>"


def _section(title: str, body: str) -> str:
    return f"<section>\n<h2>{_text(title)}</h2>\n{body}\n</section>"


def _table(headings: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> str:
    head = "".join(f'<th scope="col">{_text(heading)}</th>' for heading in headings)
    lines = "".join(
        f'<tr><th scope="row">{_text(first)}</th>{"".join(f"<td>{_text(each)}</td>" for each in rest)}</tr>'
        for first, *rest in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _mark(status: SystemStatus | CheckStatus) -> Markup:
    """Return *status* as a word, with a sign and a colour beside it."""
    colour, sign = _MARKS[status]
    return Markup(f'<span class="mark {colour}"><span aria-hidden="true">{sign}</span> {escape(status)}</span>')


def _with_unit(value: Any, unit: str) -> Any:
    return f"{value:,} {unit}" if unit and isinstance(value, int) else value


def _text(value: Any) -> str:
    """Return *value* for the page, escaped; a figure that cannot be known is `unknown`, what is not there a dash."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return '<span class="unknown">unknown</span>'
    if isinstance(value, datetime):
        return f'<time datetime="{value:%Y-%m-%dT%H:%M:%SZ}">{value:%Y-%m-%d %H:%M:%S} UTC</time>'
    return escape(_words(value))


def _words(value: Any) -> str:
    if value is UNSET:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
