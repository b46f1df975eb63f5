"""What is wrong, the worst first, and what to do about each: a sentence of cause and one of remedy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from msgspec import UNSET

from tasker_health.markup import Markup
from tasker_health.meaning import cause_of, remedy_of
from tasker_health.model import CheckResult, CheckStatus, Readiness, SourceReport, StatusReason, StatusReport
from tasker_health.web.page.elements import section, text

_DRAWN = {"bad": "✗", "warn": "!"}
_DECISIVE = {StatusReason.SOURCE_UNREADABLE, StatusReason.FACTS_STALE}
_CACHE_REMEDY = "The figures stay true meanwhile; run `tasker-health doctor cache` where the service runs."


class Trouble(NamedTuple):
    """One thing that is wrong.

    Attributes:
        colour: `bad` or `warn`.
        what: Its name.
        word: Its reason, by its word in the contract.
        cause, remedy: A sentence each.
    """

    colour: str
    what: str
    word: str
    cause: str
    remedy: str


def wrong(report: StatusReport, readiness: Readiness) -> Markup:
    """Return what is wrong with the system as a part of the page, which is there also when nothing is."""
    found = sorted(troubles(report, readiness), key=lambda each: each.colour != "bad")
    if not found:
        return section("wrong", "What is wrong", "<p>Nothing is wrong.</p>")
    return section("wrong", "What is wrong, and what to do", f"<ul>{''.join(map(_item, found))}</ul>")


def troubles(report: StatusReport, readiness: Readiness) -> Iterator[Trouble]:
    """Yield what is wrong with the checks, the status and its sources."""
    for name in readiness.failed_checks or ():
        yield _of_check(name, readiness.checks[name], "bad")
    for reason in report.reasons:
        yield Trouble("bad" if reason in _DECISIVE else "warn", "Status", reason, cause_of(reason), remedy_of(reason))
    for name, source in report.sources.items():
        yield from _of_source(name, source)
    for name in readiness.degraded_checks or ():
        yield _of_check(name, readiness.checks[name], "warn")
    if report.cache_info.stale is True:
        cause = f"The figures are {report.cache_info.age_seconds} s old: newer ones are being read, or cannot be read."
        yield Trouble("warn", "Figures", "stale", cause, "If they stay old, run `tasker-health doctor`.")


def _of_check(name: str, result: CheckResult, colour: str) -> Trouble:
    effect = "Not ready for traffic because of it." if colour == "bad" else "It does not decide readiness."
    if result.reason is UNSET:
        state = "has not run yet" if result.status is CheckStatus.UNKNOWN else f"is {result.status}"
        return Trouble(colour, f"Check {name}", result.status, f"It {state}. {effect}", "See what the log says of it.")
    remedy = remedy_of(result.reason)
    if name == "cache":
        remedy = f"{remedy} {_CACHE_REMEDY}"
    return Trouble(colour, f"Check {name}", result.reason, f"{cause_of(result.reason)} {effect}", remedy)


def _of_source(name: str, source: SourceReport) -> Iterator[Trouble]:
    if source.reason is not UNSET:
        yield Trouble("bad", f"Source {name}", source.reason, cause_of(source.reason), remedy_of(source.reason))


def _item(trouble: Trouble) -> str:
    sign = f'<span class="mark {trouble.colour}"><span aria-hidden="true">{_DRAWN[trouble.colour]}</span>'
    head = f"{sign} <bdi>{text(trouble.what)}</bdi>: {text(trouble.word)}</span>"
    return f'<li><p>{head}</p><p>{text(trouble.cause)}</p><p class="remedy">{_remedy(trouble.remedy)}</p></li>'


def _remedy(sentence: str) -> Markup:
    """Return *sentence* with its commands as such: every second piece between backticks."""
    pieces = (text(piece) for piece in sentence.split("`"))
    return Markup("".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces)))
