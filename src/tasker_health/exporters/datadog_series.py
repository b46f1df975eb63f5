"""What is told under which of Datadog's names, with which tags: the table of instruments in DogStatsD's terms.

`tasker_health_tasks` is `tasker.health.tasks`. What only grows is told as what was added since the last time, under the
name with `.count`; of a histogram there are `.count` and `.sum`. An Agent that scrapes says the same names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

from msgspec import UNSET

from tasker_health.exporters import Snapshot
from tasker_health.exporters.instrument import Instrument, Points
from tasker_health.model import CheckStatus, SystemStatus

GUIDE = {
    "tasker_total_tasks": "tasker.tasks.total",
    "tasker_pending_tasks": "tasker.tasks.pending",
    "tasker_failed_tasks": "tasker.tasks.failed",
    "tasker_avg_completion_time": "tasker.performance.avg_completion_time",
}
"""The names of the original's guide."""

OF_EVERYTHING = frozenset({"service", "version"})
"""Labels that are told as tags of every line instead: `service`, and our version as `tasker_health_version`.

Datadog takes a tag `version` for that of the service (its documentation, "Unified service tagging").
"""

LONGEST_TAG = 200
"""Datadog cuts what is longer (its documentation, "Getting started with tags")."""

_AT_A_TIME = 50
"""Figures after which there is a rest: about half a millisecond."""

_NOT_IN_TAGS = re.compile(r"[^\w:./-]")
"""Letters and digits of any language and _ - : . / stay, as in the official client; all else becomes _."""


class Series(NamedTuple):
    """One figure under one set of tags."""

    name: str
    tags: tuple[str, ...]


class Figure(NamedTuple):
    """A value of a series; one that `grows` is the total since the process started."""

    series: Series
    value: float
    grows: bool


class Verdict(IntEnum):
    """How a service check ended, as Datadog numbers it."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class ServiceCheck(NamedTuple):
    """A service check: its message is made of names and reasons from closed lists."""

    name: str
    verdict: Verdict
    tags: tuple[str, ...] = ()
    message: str = ""


_OF_STATUS = {
    SystemStatus.HEALTHY: Verdict.OK,
    SystemStatus.DEGRADED: Verdict.WARNING,
    SystemStatus.UNHEALTHY: Verdict.CRITICAL,
}
_OF_CHECK = {
    CheckStatus.OK: Verdict.OK,
    CheckStatus.DEGRADED: Verdict.WARNING,
    CheckStatus.ERROR: Verdict.CRITICAL,
    CheckStatus.UNKNOWN: Verdict.UNKNOWN,
}


def tag(key: str, value: str) -> str:
    """Return a tag that is one, whatever *value* is: nothing in it ends the tag, the line or the datagram.

    Datadog's rules ("Getting started with tags"): small letters, at most 200 characters, no colon at the end.
    """
    cleaned = _NOT_IN_TAGS.sub("_", f"{key}:{value}".lower())[:LONGEST_TAG]
    return f"{cleaned[: LONGEST_TAG - 1]}_" if cleaned.endswith(":") else cleaned


def constant_tags(
    of_settings: Sequence[str], of_environment: Sequence[str], service: str, *, version: str | None
) -> list[str]:
    """Return the tags of everything: a key of the settings wins over `DD_ENV` and its likes, and these over ours."""
    ours = [tag("service", service)]
    if version is not None:
        ours.append(tag("tasker_health_version", version))
    found: list[str] = []
    for tags in (of_settings, of_environment, ours):
        taken = {each.partition(":")[0] for each in found}
        found += [each for each in tags if each.partition(":")[0] not in taken]
    return found


def settled(told: Instrument) -> list[Instrument]:
    """Return *told*, or of a histogram the count and the sum: what may be read while checks go on to be counted."""
    if told.kind != "histogram":
        return [told]
    counts: Points = [((name,), sum(each.by_bucket)) for name, each in told.histograms.items()]
    sums: Points = [((name,), each.seconds) for name, each in told.histograms.items()]
    # They are named as an Agent names what it scrapes.
    return [
        Instrument(f"{told.name}_total", "counter", told.help, told.labels, counts),
        Instrument(f"{told.name}.sum", "counter", told.help, told.labels, sums),
    ]


def figures(told: Instrument, rest: Callable[[], None] = lambda: None) -> Iterator[Figure]:
    """Yield the figures of *told*, one for each set of tags, and *rest* after every so many.

    Names that differ only in what a tag cannot have are one tag; their figures are added up, as none would be right.
    """
    name = name_of(told.name)
    found: dict[tuple[str, ...], float] = {}
    for number, (values, value) in enumerate(told.points):
        labels = zip(told.labels, values, strict=True)
        tags = tuple(tag(label, word) for label, word in labels if label not in OF_EVERYTHING)
        found[tags] = found.get(tags, 0) + value
        if number % _AT_A_TIME == _AT_A_TIME - 1:
            rest()
    for number, (tags, value) in enumerate(found.items()):
        if number % _AT_A_TIME == _AT_A_TIME - 1:
            rest()
        yield Figure(Series(name, tags), value, told.kind == "counter")


def name_of(name: str) -> str:
    """Return what the instrument *name* is called in Datadog."""
    if name in GUIDE:
        return GUIDE[name]
    own = name.removeprefix("tasker_health_")
    return f"tasker.health.{own.removesuffix('_total')}.count" if own.endswith("_total") else f"tasker.health.{own}"


def service_checks(snapshot: Snapshot) -> Iterator[ServiceCheck]:
    """Yield the service checks of *snapshot*: that it is told at all says that the process is alive."""
    status, readiness = snapshot.status, snapshot.readiness
    yield ServiceCheck("tasker.health.live", Verdict.OK)
    failed = () if readiness.failed_checks is UNSET else readiness.failed_checks
    yield ServiceCheck(
        "tasker.health.ready", Verdict.OK if readiness.ready else Verdict.CRITICAL, (), ", ".join(failed)
    )
    yield ServiceCheck("tasker.health.status", _OF_STATUS[status.status], (), ", ".join(status.reasons))
    for name, result in readiness.checks.items():
        message = "" if result.reason is UNSET else result.reason.value
        yield ServiceCheck("tasker.health.check", _OF_CHECK[result.status], (tag("check", name),), message)
