"""The room of formats: the same report in words that others have agreed on.

The rules for whoever writes one:

* It says the same as the plain report and decides nothing: status code and access are the same in every format.
* It takes what it says from the report it is given. What only some may see is in a `DetailedStatusReport` alone.
* What cannot be known is said to be unknown, or null, in whatever way the format has for it; never 0, never left out.
* Keys of ours keep their names wherever the format leaves them free, so that one page explains them all.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from msgspec import Struct

from tasker_health.model import Liveness, Readiness, Startup, StatusReport

Figure = str | int | float | bool | None


class Format(Protocol):
    """One format.

    Attributes:
        name: Asks for it in the query, as `?format=<name>`.
        media_type: What its answers are called.
        by_accept: Whether a header `Accept` can ask for it: not where the media type is not its own.
    """

    name: str
    media_type: str
    by_accept: bool

    def live(self, report: Liveness) -> Struct:
        """Return whether the process should be left running."""

    def ready(self, report: Readiness) -> Struct:
        """Return whether the process should get traffic, for all checks or for some."""

    def startup(self, report: Startup) -> Struct:
        """Return whether the process has finished starting."""

    def status(self, report: StatusReport) -> Struct:
        """Return how the whole system is, with details where *report* has them."""


def in_words_of(form: Format, report: Any) -> Struct:
    """Return *report* in the words of *form*."""
    if isinstance(report, Liveness):
        return form.live(report)
    if isinstance(report, Readiness):
        return form.ready(report)
    if isinstance(report, Startup):
        return form.startup(report)
    assert isinstance(report, StatusReport)  # noqa: S101 -- there is no fifth question
    return form.status(report)


def fields_of(report: Struct, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the fields of *report* as plain JSON has them, times and words as text; not those *without*."""
    found: dict[str, Any] = msgspec.to_builtins(report)
    return {name: value for name, value in found.items() if name not in without}
