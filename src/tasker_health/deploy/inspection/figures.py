"""Seconds, ports and counts, as each software writes them."""

from __future__ import annotations

import re

_SECONDS = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "d": 86400.0,
}
_PORT = re.compile(r"[0-9]{1,5}")
_LAST_PORT = 65535
_COUNT = re.compile(r"[0-9]{1,9}")
_PART = re.compile(r"\s*([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*([a-z]*)")


def seconds_of(text: str, *, unit: str = "s") -> float | None:
    """Return the seconds of *text*, such as `1m30s`; a figure alone is in *unit*; `None`: it is none."""
    total, position = 0.0, 0
    text = text.strip().lower()
    while position < len(text):
        part = _PART.match(text, position)
        scale = _SECONDS.get(part[2] or unit) if part else None
        if part is None or scale is None:
            return None
        total += float(part[1]) * scale
        position = part.end()
    return total if text else None


def port_of(text: str | None) -> int | None:
    """Return the port that *text* is; `None`: it is none."""
    return int(text) if text and _PORT.fullmatch(text) and int(text) <= _LAST_PORT else None


def count_of(text: str, default: int) -> int:
    """Return the count that *text* is, or *default*."""
    return int(text) if _COUNT.fullmatch(text) else default
