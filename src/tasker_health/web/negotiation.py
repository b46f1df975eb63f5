"""In which words a caller wants the answer: by the query, else by `Accept` (RFC 9110 section 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qsl

from tasker_health.request import Request
from tasker_health.web.formats import Format
from tasker_health.web.formats.actuator import Actuator
from tasker_health.web.formats.health_json import HealthJson
from tasker_health.web.formats.microprofile import MicroProfile

PLAIN, PAGE = "application/json", "text/html"

FORMATS: Sequence[Format] = (HealthJson(), Actuator(), MicroProfile())
"""Every format but the plain one, which is `None`."""

_BY_NAME = {form.name: form for form in FORMATS}
_BY_MEDIA_TYPE = {form.media_type: form for form in FORMATS if form.by_accept}
_OFFERED = (PLAIN, *_BY_MEDIA_TYPE)

_MOST_CHARACTERS = 1000
"""A longer header or query is not read: nobody who means it sends one."""

_WEIGHT = re.compile(r"0(\.[0-9]{0,3})?|1(\.0{0,3})?")


def format_of(request: Request) -> Format | None:
    """Return the format that *request* asks for; `None`: plain JSON, which is also for what is not understood."""
    name = _named(request.query)
    if name is not None:
        return _BY_NAME.get(name)
    return _BY_MEDIA_TYPE.get(_best(_accepted(request), _OFFERED))


def prefers_page(request: Request) -> bool:
    """Return whether *request* comes from somebody who would rather see a page than any JSON."""
    return _named(request.query) is None and _best(_accepted(request), (*_OFFERED, PAGE)) == PAGE


def _named(query: str) -> str | None:
    """Return the first `format` in *query*; `None`: there is none."""
    if "format" not in query or len(query) > _MOST_CHARACTERS:
        return None
    pairs = parse_qsl(query, keep_blank_values=True, errors="replace")
    return next((value for name, value in pairs if name == "format"), None)


def _accepted(request: Request) -> str:
    return ",".join(request.headers("accept"))


def _best(accepted: str, offered: Sequence[str]) -> str:
    """Return what is *accepted* most of what is *offered*, and the first when none is.

    Of equals a format wins that is named itself, for its name is known to those alone who want it (Spring Boot Admin
    sends `application/json` beside it with equal weight); then the first.
    """
    if not accepted or len(accepted) > _MOST_CHARACTERS:
        return offered[0]
    weights: dict[str, float] = {}
    for media_range, weight in _ranges(accepted):
        weights[media_range] = max(weight, weights.get(media_range, 0.0))
    return max(offered, key=lambda each: (_weight(each, weights), each in _BY_MEDIA_TYPE and weights.get(each, 0) > 0))


def _weight(media_type: str, weights: dict[str, float]) -> float:
    """Return the weight of the range that names *media_type* most precisely."""
    ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next((weights[each] for each in ranges if each in weights), 0.0)


def _ranges(accepted: str) -> Iterator[tuple[str, float]]:
    """Return every media range in *accepted* with its weight, without those that are malformed."""
    for part in accepted.lower().split(","):
        media_range, *parameters = (word.strip() for word in part.split(";"))
        weight = "1"
        for parameter in parameters:
            name, _, value = parameter.partition("=")
            if name.rstrip() == "q":
                weight = value.lstrip()
        if _WEIGHT.fullmatch(weight):
            yield media_range, float(weight)
