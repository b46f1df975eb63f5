"""Answers as bytes: a report, its status code and its headers, encoded once for all who get the same report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tasker_health.kept import Kept

RawHeaders = list[tuple[bytes, bytes]]

CACHE_CONTROL = (b"cache-control", b"no-cache, no-store, must-revalidate")

_encode = msgspec.json.Encoder().encode


class Answer:
    """What goes back: status code, headers with `Content-Length`, body."""

    __slots__ = ("body", "headers", "status")

    def __init__(
        self,
        status: int,
        body: bytes,
        headers: Sequence[tuple[bytes, bytes]] = (),
        content_type: str = "application/json",
    ) -> None:
        self.status = status
        self.body = body
        self.headers: RawHeaders = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            CACHE_CONTROL,
            (b"x-content-type-options", b"nosniff"),
            *headers,
        ]


def render(status: int, document: Any, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
    """Return *document* as JSON with *status*."""
    return Answer(status, _encode(document), headers)


def rendered(kept: Kept[Any], status: int, report: Any) -> Answer:
    """Return *report* with *status*, encoded once for all who get what is *kept*: reports are frozen."""
    if report is not kept.value:
        return render(status, report)
    if kept.made is None:
        kept.made = render(status, report)
    made: Answer = kept.made
    return made
