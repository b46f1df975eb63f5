"""The elements that pages are made of: sections, tables, lists of figures, marks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import UNSET

from tasker_health.markup import Markup, escaped
from tasker_health.model import CheckStatus, SystemStatus

_MARKS = {
    SystemStatus.HEALTHY: ("good", "✓"),
    SystemStatus.DEGRADED: ("warn", "!"),
    SystemStatus.UNHEALTHY: ("bad", "✗"),
    CheckStatus.OK: ("good", "✓"),
    CheckStatus.DEGRADED: ("warn", "!"),
    CheckStatus.ERROR: ("bad", "✗"),
    CheckStatus.UNKNOWN: ("unknown", "?"),
}


def section(name: str, title: str, *body: str) -> Markup:
    """Return a part of the page called *name*, under its heading."""
    inside = "\n".join(filter(None, body))
    heading = f'<h2 id="{name}-title">{text(title)}</h2>'
    return Markup(f'<section id="{name}" aria-labelledby="{name}-title">\n{heading}\n{inside}\n</section>')


def table(name: str, caption: str, headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> Markup:
    """Return *rows* under *headings*; the first cell of a row is its heading."""
    return Markup("".join(table_pieces(name, caption, headings, rows)))


def table_pieces(name: str, caption: str, headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> Iterator[str]:
    """Yield the same, row by row, for a table that may be long."""
    head = "".join(f'<th scope="col">{text(heading)}</th>' for heading in headings)
    # Whoever has no mouse scrolls it with the keyboard, which needs the focus.
    yield f'<div class="wide" id="{name}-table" role="region" tabindex="0" aria-label="{escaped(caption)}">'
    yield f'<table><caption class="unseen">{escaped(caption)}</caption><thead><tr>{head}</tr></thead><tbody>'
    for first, *rest in rows:
        cells = "".join(f"<td>{text(each)}</td>" for each in rest)
        yield f'<tr><th scope="row"><bdi>{text(first)}</bdi></th>{cells}</tr>'
    yield "</tbody></table></div>"


def figures(group: msgspec.Struct, names: Sequence[str] = ()) -> Markup:
    """Return the fields *names* of *group* that are there, by their names in the contract; without *names*, all."""
    rows = []
    for name in names or group.__struct_fields__:
        value = getattr(group, name)
        if value is UNSET:
            continue
        if name == "cache_expires_at" and value is None:
            value = UNSET  # nothing is cached, which is known
        label, unit = (name.removesuffix("_ms"), "ms") if name.endswith("_ms") else (name, "")
        rows.append(f"<div><dt>{text(label.replace('_', ' '))}</dt><dd>{text(with_unit(value, unit))}</dd></div>")
    return Markup(f"<dl>{''.join(rows)}</dl>")


def mark(status: SystemStatus | CheckStatus) -> Markup:
    """Return *status* as a word, with a sign and a colour beside it."""
    colour, sign = _MARKS[status]
    return Markup(f'<span class="mark {colour}"><span aria-hidden="true">{sign}</span> {escaped(status)}</span>')


def with_unit(value: Any, unit: str) -> Any:
    """Return *value* with its *unit* when it is a figure."""
    return f"{value:,} {unit}" if unit and isinstance(value, int) else value


def text(value: Any) -> Markup:
    """Return *value* for the page; a figure that cannot be known is `unknown`, what is not there a dash."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return Markup('<span class="unknown">unknown</span>')
    if isinstance(value, datetime):
        return Markup(f'<time datetime="{value:%Y-%m-%dT%H:%M:%SZ}">{value:%Y-%m-%d %H:%M:%S} UTC</time>')
    return escaped(_words(value))


def _words(value: Any) -> str:
    if value is UNSET:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)
