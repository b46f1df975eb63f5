"""What is told of an event in every form: its figures, bounded, and its times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from tasker_health.alerts import Event

MOST_BYTES = 16_384
"""Longest details: Standard Webhooks asks for less than 20 kB, PagerDuty's limit is 512 KB for the whole event."""


def bounded(text: str, most: int) -> str:
    """Return *text* in one line of at most *most* characters."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= most else f"{line[: most - 3]}..."


def details_of(event: Event) -> dict[str, Any]:
    """Return the details of *event* as JSON knows them (no NaN); of too long ones the first, as far as they fit."""
    details: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(event.details))
    if len(msgspec.json.encode(details)) <= MOST_BYTES:
        return details
    kept: dict[str, Any] = {"truncated": True}
    left = MOST_BYTES - len(msgspec.json.encode(kept))
    for name, value in details.items():
        left -= len(msgspec.json.encode({name: value}))
        if left < 0:
            break
        kept[name] = value
    return kept


def moment(epoch_seconds: float) -> str:
    """Return *epoch_seconds* in ISO 8601, UTC, with milliseconds."""
    return datetime.fromtimestamp(epoch_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
