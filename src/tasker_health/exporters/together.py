"""What several processes behind one port tell together: counts are added up, and a gauge says how it is combined.

Figures travel under one key each, the name and the values of its labels. Series are those of the process that is asked:
what another one has beside them adds nothing, so their number does not depend on what is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from tasker_health.counters import DurationCounts
from tasker_health.exporters.instrument import Instrument, Points
from tasker_health.model import CheckStatus

Values = dict[str, int | float]

_SUM = "sum"
_DIGITS = 2
"""Of gauges: what changes by less is no change that is worth writing."""

_SEVERITY = (CheckStatus.OK, CheckStatus.DEGRADED, CheckStatus.UNKNOWN, CheckStatus.ERROR)
_COMBINE: dict[str, Callable[[Iterable[float]], float]] = {"sum": sum, "least": min, "greatest": max}


class Figures(NamedTuple):
    """Those of one process by their keys.

    Attributes:
        counts: What only grows.
        gauges: What goes up and down, and is combined.
    """

    counts: Values
    gauges: Values


async def figures_of(instruments: Iterable[Instrument]) -> Figures:
    """Return the figures of *instruments*; others have a turn between any two of these."""
    figures = Figures({}, {})
    for told in instruments:
        _note(told, figures)
        await asyncio.sleep(0)
    return figures


def figures_at_once(instruments: Iterable[Instrument]) -> Figures:
    """Return the same where there is no event loop."""
    figures = Figures({}, {})
    for told in instruments:
        _note(told, figures)
    return figures


def _note(told: Instrument, figures: Figures) -> None:
    if told.kind == "counter":
        figures.counts.update((_key(told.name, labels), value) for labels, value in told.points)
    elif told.kind == "histogram":
        for label, counts in told.histograms.items():
            figures.counts.update((_key(told.name, (label, str(n))), v) for n, v in enumerate(counts.by_bucket))
            figures.counts[_key(told.name, (label, _SUM))] = counts.seconds
    elif told.among != "own":
        figures.gauges.update((_key(told.name, labels), round(value, _DIGITS)) for labels, value in told.points)


class Combined:
    """Puts the figures of all processes in place of those of one.

    Args:
        counts: The sums over all, those that have ended included.
        living: The gauges of each process that lives.
    """

    def __init__(self, counts: Mapping[str, float], living: Sequence[Mapping[str, float]]) -> None:
        self._counts = counts
        self._living = living

    def __call__(self, told: Instrument) -> Instrument:
        """Return *told*, or a piece of it, for all of them."""
        if told.kind == "counter":
            return told._replace(points=[(labels, self._count(told.name, labels, own)) for labels, own in told.points])
        if told.kind == "histogram":
            histograms = {label: self._durations(told.name, label, own) for label, own in told.histograms.items()}
            return told._replace(histograms=histograms)
        if told.among == "own":
            return told
        return told._replace(points=self._worst(told) if told.among == "worst" else self._gauges(told))

    def _count(self, name: str, labels: tuple[str, ...], own: float) -> float:
        return self._counts.get(_key(name, labels), own)

    def _durations(self, name: str, label: str, own: DurationCounts) -> DurationCounts:
        found = DurationCounts()
        found.by_bucket = [int(self._count(name, (label, str(n)), runs)) for n, runs in enumerate(own.by_bucket)]
        found.seconds = self._count(name, (label, _SUM), own.seconds)
        return found

    def _gauges(self, told: Instrument) -> Points:
        combine = _COMBINE[told.among]
        return [
            (labels, combine([gauges[key] for gauges in self._living if key in gauges] or [own]))
            for labels, own in told.points
            for key in [_key(told.name, labels)]
        ]

    def _worst(self, told: Instrument) -> Points:
        """Return a 1 for the worst of what any process says, whatever piece of the states is asked for."""
        worst: dict[tuple[str, ...], str] = {}
        for (*of, _), _ in told.points:
            states = [
                state.value
                for state in _SEVERITY
                if any(gauges.get(_key(told.name, (*of, state.value))) for gauges in self._living)
            ]
            worst[tuple(of)] = states[-1] if states else ""
        return [
            (labels, worst[labels[:-1]] == labels[-1] if worst[labels[:-1]] else own) for labels, own in told.points
        ]


def _key(name: str, labels: Iterable[str]) -> str:
    return "|".join((name, *labels))
