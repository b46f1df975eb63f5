"""Text and small pictures for a terminal. What a server names is shown, and never obeyed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

_BLOCKS = "▁▂▃▄▅▆▇█"
_NO_VALUE = " "
_MOST = 10**15
"""More than that is nobody's count, and would push everything else off the line."""


def clean(text: str, most: int = 40) -> str:
    """Return *text* without what a terminal obeys or what turns the direction of writing, *most* characters of it."""
    cut = text[: most + 1]
    kept = "".join(each if each.isprintable() else "?" for each in cut)
    return kept if len(kept) <= most else f"{kept[: most - 1]}…"


def cell(text: str, width: int) -> str:
    """Return *text* as exactly *width* cells."""
    if cell_len(text) > width:
        return set_cell_size(text, max(0, width - 1)) + "…"[: width or 0]
    return set_cell_size(text, width)


def sparkline(values: Sequence[float | None], width: int) -> str:
    """Return *values* as at most *width* blocks, each the highest of its part; a part that nobody saw is blank.

    A value above nothing is never drawn as nothing.
    """
    if not values or width < 1:
        return ""
    width = min(width, len(values))
    parts = [values[len(values) * n // width : len(values) * (n + 1) // width] for n in range(width)]
    highest = [max((each for each in part if each is not None), default=None) for part in parts]
    top = max((each for each in highest if each is not None), default=0)
    return "".join(_NO_VALUE if each is None else _block(each, top) for each in highest)


def _block(value: float, top: float) -> str:
    if value <= 0 or top <= 0:
        return _BLOCKS[0]
    return _BLOCKS[max(1, min(len(_BLOCKS) - 1, round(value / top * (len(_BLOCKS) - 1))))]


def bar(value: int, top: int, width: int) -> str:
    """Return *value* as a bar, of which *top* fills *width* cells; what is not nothing has one cell at least."""
    if value <= 0 or top <= 0 or width < 1:
        return ""
    return "█" * max(1, min(width, value * width // top))


def count(value: float | None) -> str:
    """Return *value* with thousands apart; `unknown` where it cannot be known."""
    if value is None:
        return "unknown"
    if abs(value) > _MOST:
        return "too many"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def milliseconds(value: int | None) -> str:
    """Return a duration as people say it."""
    if value is None:
        return "unknown"
    if value > _MOST:
        return "too many"
    return f"{value} ms" if value < 10_000 else seconds(value // 1000)  # noqa: PLR2004


def seconds(value: float) -> str:
    """Return *value* seconds as people say it."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if value >= 2 * size:
            return f"{min(int(value // size), 99999)} {unit}"
    return f"{max(0, int(value))} s"  # a clock that differs makes it no less than now
