"""Answers as bytes: a report, its status code and its headers, encoded once for all who get the same report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

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


class Rendered:
    """Keeps the answer of the report it saw last: reports are frozen, so the same object has the same bytes.

    Args:
        code: The status code of a report.
    """

    __slots__ = ("_answer", "_code", "_report")

    _answer: Answer

    def __init__(self, code: Callable[[Any], int]) -> None:
        self._code = code
        self._report: Any = None

    def answer(self, report: Any) -> Answer:
        """Return *report* as an answer, encoding it only when it is another one."""
        if report is not self._report:
            self._answer = render(self._code(report), report)
            self._report = report
        return self._answer
