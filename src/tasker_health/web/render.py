"""Answers as bytes: a report, its status code and its headers, encoded once for all who get the same report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from tasker_health.kept import Kept
from tasker_health.model import DetailedStatusReport
from tasker_health.web.formats import Format, in_words_of

RawHeaders = list[tuple[bytes, bytes]]

CACHE_CONTROL = (b"cache-control", b"no-cache, no-store, must-revalidate")
VARY = (b"vary", b"Accept")

_encode = msgspec.json.Encoder().encode


class Answer:
    """What goes back: status code, headers with `Content-Length`, body."""

    __slots__ = ("_text_headers", "body", "headers", "status")

    def __init__(
        self,
        status: int,
        body: bytes,
        headers: Sequence[tuple[bytes, bytes]] = (),
        content_type: str = "application/json",
    ) -> None:
        self.status: int = status
        self.body: bytes = body
        self.headers: RawHeaders = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            CACHE_CONTROL,
            (b"x-content-type-options", b"nosniff"),
            *headers,
        ]
        self._text_headers: tuple[tuple[str, str], ...] = ()

    @property
    def text_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers as text, for protocols and frameworks that have no bytes there; made once for all who ask."""
        if not self._text_headers:
            pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers)
            self._text_headers = tuple(pairs)
        return self._text_headers


def render(status: int, document: Any, headers: Sequence[tuple[bytes, bytes]] = ()) -> Answer:
    """Return *document* as JSON with *status*."""
    return Answer(status, _encode(document), headers)


def encoded(status: int, report: Any, form: Format | None = None) -> Answer:
    """Return *report* with *status* in the format *form*; `None`: in plain JSON."""
    if form is None:
        return render(status, report, (VARY,))
    return Answer(status, _encode(in_words_of(form, report)), (VARY,), form.media_type)


def rendered(
    kept: Kept[Any],
    status: int,
    report: Any,
    form: Format | None = None,
    detailed: DetailedStatusReport | None = None,
) -> Answer:
    """Return *report* with *status* in the format *form*, or what is *detailed* of it in its place.

    It is encoded once for all who get the same of what is *kept*: reports are frozen. Only the plain report without
    details is `made`, which is handed out to whoever asks.
    """
    if report is not kept.value:
        return encoded(status, detailed or report, form)
    answer: Answer | None
    if form is None and detailed is None:
        answer = kept.made or encoded(status, report)
        if report is kept.value:  # another thread may have kept a newer one meanwhile
            kept.made = answer
        return answer
    key = (form and form.name, detailed and tuple(detailed.details.items()))
    answer = kept.variants.get(key)
    if answer is None:
        answer = kept.variants[key] = encoded(status, detailed or report, form)
    return answer
