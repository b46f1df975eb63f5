"""Charts as SVG, without a script and without a style of their own: a page's style sheet gives the classes colours.

Each is one picture for a screen reader: a title, and a description that says the figures in words. Nothing is told by
colour alone: lines differ in their dashes, bars carry their figure. `STYLE` is for the style sheet of the page.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeGuard, TypeVar

from tasker_health.markup import escaped

WIDTH = 320
"""Units of every chart but the small one: on a narrow phone one is about a pixel, so that letters stay legible."""

STYLE = """
.chart { display: block; width: 100%; max-width: 28rem; height: auto; }
.chart text { fill: currentColor; font: 11px system-ui, sans-serif; }
.chart .axis { stroke: currentColor; stroke-width: 1; opacity: .25; }
.chart .end { text-anchor: end; }
.chart path { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.chart rect { fill: currentColor; }
.chart.small { width: 7.5rem; min-width: 7.5rem; }
.chart.small path { stroke-width: 1.5; }
.chart.small rect { opacity: .5; }
.chart .good { color: var(--good, #146c37); }
.chart .warn { color: var(--warn, #8a5300); }
.chart .bad { color: var(--bad, #a81c1c); }
.chart .plain { color: var(--plain, #1f5fa8); }
.chart .other { color: var(--unknown, #4a4a8f); }
"""

T = TypeVar("T")

_LEFT, _RIGHT, _TOP, _HEIGHT, _ROW = 44, 8, 8, 110, 18
_MOST_POINTS = 240
_DASHES = {"good": "", "plain": "", "bad": "5 4", "warn": "1 5", "other": "8 3 1 3"}
_LABEL_LETTERS = 18
_MANY = 1000  # from here on fractions say nothing


class Line(NamedTuple):
    """One line of a chart.

    Attributes:
        name: What it shows.
        colour: Its class: `good`, `warn`, `bad`, `plain`, `other`.
        values: At equal distances; `None` is a gap.
    """

    name: str
    colour: str
    values: Sequence[float | None]


class Bar(NamedTuple):
    """One bar of a chart.

    Attributes:
        name: What it shows.
        colour: As of a line.
        value: How long it is; `None`: not known.
    """

    name: str
    colour: str
    value: float | None


def line_chart(
    title: str, lines: Sequence[Line], *, from_label: str, to_label: str, unit: str = "", least_top: float = 1
) -> str:
    """Return *lines* over time, from *from_label* to *to_label*, with gaps where nothing is known.

    Args:
        title: What the chart shows.
        lines: Drawn in this order, with a key below.
        from_label: What stands under the left end.
        to_label: What stands under the right end.
        unit: Of the values, such as `ms` or `%`.
        least_top: The axis goes up to this at least, so that nothing much does not look like much.
    """
    drawn = [line._replace(values=_thinned(line.values, _MOST_POINTS)) for line in lines]
    known = [value for line in drawn for value in line.values if value is not None]
    ticks = ticks_of(max([least_top, *known]))
    bottom, right = _TOP + _HEIGHT, WIDTH - _RIGHT
    parts = list(_axis(ticks, unit, bottom, right))
    parts.append(f'<text x="{_LEFT}" y="{bottom + 15}">{escaped(from_label)}</text>')
    parts.append(f'<text class="end" x="{right}" y="{bottom + 15}">{escaped(to_label)}</text>')
    for line in drawn:
        path = _path(line.values, (_LEFT, right), (bottom, _TOP), ticks[-1])
        if path:
            parts.append(f'<path class="{escaped(line.colour)}"{_dashes(line.colour)} d="{path}"/>')
    parts.extend(_key(lines, bottom + 15))
    height = bottom + 22 + _ROW * math.ceil(len(lines) / 2)
    told = " ".join(_in_words(line, unit) for line in lines)
    return _svg(title, f"From {from_label} to {to_label}. {told}", WIDTH, height, parts)


def bar_chart(title: str, bars: Sequence[Bar], *, unit: str = "") -> str:
    """Return *bars*, one below the other, each with its name and its figure; one that is not known says so."""
    longest = max((bar.value for bar in bars if _is_known(bar.value)), default=0) or 1
    room, left, parts = WIDTH - 120 - 74, 120, []
    for number, bar in enumerate(bars):
        top, value = number * _ROW + 2, bar.value
        parts.append(f'<text class="end" x="{left - 6}" y="{top + 12}">{escaped(_short(bar.name))}</text>')
        length = 0.0 if not _is_known(value) else max(0, value) / longest * room
        if length:
            width = f"{max(1, length):.1f}"
            parts.append(
                f'<rect class="{escaped(bar.colour)}" x="{left}" y="{top + 2}" width="{width}" height="12" rx="2"/>'
            )
        parts.append(f'<text x="{left + length + 5:.1f}" y="{top + 12}">{escaped(_figure(value, unit))}</text>')
    told = ", ".join(f"{bar.name} {_figure(bar.value, unit)}" for bar in bars)
    return _svg(title, f"{told or 'Nothing'}.", WIDTH, len(bars) * _ROW + 4, parts)


def spark_chart(title: str, values: Sequence[float | None], colours: Sequence[str | None], *, unit: str = "") -> str:
    """Return a small chart of *values* for a cell of a table; where *colours* says `warn` or `bad`, a bar stands.

    The bar of `bad` is as high as the chart, that of `warn` half as high: they differ without colour.
    """
    width, height, most = 120, 28, 60
    thin, marks = _thinned(values, most), _worst(colours, most)
    known = [value for value in thin if value is not None]
    step, parts = width / max(1, len(marks)), []
    for start, end, colour in _runs(marks):
        high = height if colour == "bad" else height / 2
        at, wide = f"{start * step:.1f}", f"{(end - start) * step:.1f}"
        parts.append(f'<rect class="{colour}" x="{at}" y="{height - high:g}" width="{wide}" height="{high:g}"/>')
    path = _path(thin, (2, width - 2), (height - 3, 3), max([1, *known]))
    if path:
        parts.append(f'<path class="plain" d="{path}"/>')
    bad, warned, seen = (
        sum(each in kinds for each in colours) for kinds in ({"bad"}, {"warn"}, {"bad", "warn", "good"})
    )
    told = f"In error in {bad} and degraded in {warned} of {seen} parts of the time that were seen."
    return _svg(
        title, f"{_in_words(Line('Response time', 'plain', values), unit)} {told}", width, height, parts, " small"
    )


def ticks_of(largest: float) -> list[float]:
    """Return three to six round figures from 0 on, the last not below *largest*."""
    if not math.isfinite(largest) or largest <= 0:
        return [0, 1]
    rough = largest / 4
    power: float = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999999)
    return [round(step * number, 10) for number in range(math.ceil(largest / step - 1e-9) + 1)]


def _axis(ticks: Sequence[float], unit: str, bottom: float, right: float) -> Iterator[str]:
    for tick in ticks:
        y = bottom - tick / ticks[-1] * _HEIGHT
        yield f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
        label = _briefly(tick) + (unit if unit == "%" else "")
        yield f'<text class="end" x="{_LEFT - 5}" y="{y + 4:.1f}">{escaped(label)}</text>'


def _key(lines: Sequence[Line], top: float) -> Iterator[str]:
    """Return what each line means: a piece of it, and its name."""
    for number, line in enumerate(lines):
        x = _LEFT + number % 2 * (WIDTH - _LEFT) / 2
        y = top + _ROW * (number // 2 + 1)
        yield f'<path class="{escaped(line.colour)}"{_dashes(line.colour)} d="M{x:g} {y - 4:g}h22"/>'
        yield f'<text x="{x + 28:g}" y="{y:g}">{escaped(_short(line.name))}</text>'


def _dashes(colour: str) -> str:
    pattern = _DASHES.get(colour)
    return f' stroke-dasharray="{pattern}"' if pattern else ""


def _path(
    values: Sequence[float | None], across: tuple[float, float], upward: tuple[float, float], largest: float
) -> str:
    """Return the line through *values*, of which one alone is a dot."""
    (left, right), (bottom, top) = across, upward
    step, words, is_open = (right - left) / max(1, len(values) - 1), [], False
    for number, value in enumerate(values):
        if value is None:
            is_open = False
            continue
        x, y = left + number * step, bottom + (top - bottom) * min(1, max(0, value / largest))
        words.append(f"L{x:.1f} {y:.1f}" if is_open else f"M{x:.1f} {y:.1f}h0")
        is_open = True
    return "".join(words)


def _thinned(values: Sequence[float | None], most: int) -> list[float | None]:
    """Return *values*, *most* of them: of neighbours the largest, so that no peak is lost."""
    pieces = _pieces(values, most)
    return [max((value for value in piece if _is_known(value)), default=None) for piece in pieces]


def _worst(colours: Sequence[str | None], most: int) -> list[str | None]:
    return [next((each for each in ("bad", "warn") if each in piece), None) for piece in _pieces(colours, most)]


def _pieces(values: Sequence[T], most: int) -> list[Sequence[T]]:
    size = max(1, math.ceil(len(values) / most))
    return [values[start : start + size] for start in range(0, len(values), size)]


def _runs(marks: Sequence[str | None]) -> Iterator[tuple[int, int, str]]:
    """Return where each row of equal *marks* begins and ends."""
    start = 0
    for number in range(1, len(marks) + 1):
        if number == len(marks) or marks[number] != marks[start]:
            mark = marks[start]
            if mark is not None:
                yield start, number, mark
            start = number


def _in_words(line: Line, unit: str) -> str:
    known = [value for value in line.values if _is_known(value)]
    if not known:
        return f"{line.name}: nothing is known."
    last = line.values[-1] if _is_known(line.values[-1]) else None
    words = f"{line.name}: {_figure(last, unit)} last, lowest {_figure(min(known), unit)}"
    words += f", highest {_figure(max(known), unit)}"
    gaps = len(line.values) - len(known)
    return f"{words}, not known in {gaps} of {len(line.values)} parts." if gaps else f"{words}."


def _is_known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _figure(value: float | None, unit: str) -> str:
    if not _is_known(value):
        return "unknown"
    words = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}" if abs(value) < _MANY else f"{value:,.0f}"
    return f"{words}{unit}" if unit in {"", "%"} else f"{words} {unit}"


def _briefly(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _short(name: str) -> str:
    return name if len(name) <= _LABEL_LETTERS else f"{name[: _LABEL_LETTERS - 1]}…"


def _svg(title: str, told: str, width: float, height: float, parts: Sequence[str], kind: str = "") -> str:
    return (
        f'<svg class="chart{kind}" role="img" viewBox="0 0 {width:g} {height:g}">'
        f"<title>{escaped(title)}</title><desc>{escaped(told)}</desc>{''.join(parts)}</svg>"
    )
