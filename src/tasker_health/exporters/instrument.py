"""One figure with its labels, before any exporter has put it into its own form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Literal, NamedTuple

from tasker_health.counters import DurationCounts

Kind = Literal["gauge", "counter", "histogram", "info"]
Among = Literal["own", "sum", "least", "greatest", "worst"]
Points = list[tuple[tuple[str, ...], float]]


class Instrument(NamedTuple):
    """One figure with its labels.

    Attributes:
        name: Of a counter with its `_total`.
        kind: What sort of a figure it is.
        help: One sentence, with the unit where the name has none.
        labels: Their names.
        points: Values by the values of the labels.
        histograms: In place of points, of a histogram.
        among: What is told of a gauge for several processes behind one port together. `worst` is for a 1 beside zeros:
            the last label is how a check ended.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    points: Points = []  # noqa: RUF012 -- never changed
    histograms: Mapping[str, DurationCounts] = {}
    among: Among = "own"

    def pieces(self, size: int) -> Iterator[Instrument]:
        """Yield this figure in pieces of at most *size* points or histograms."""
        points, histograms = iter(self.points), iter(self.histograms.items())
        for _ in range(0, len(self.points) + len(self.histograms), size):
            yield self._replace(points=list(islice(points, size)), histograms=dict(islice(histograms, size)))


def gauge(name: str, text: str, value: float | None, among: Among = "own") -> Instrument:
    """Return a figure that goes up and down; without *value* it is not told."""
    return Instrument(name, "gauge", text, (), [] if value is None else [((), value)], among=among)


def counter(name: str, text: str, labels: tuple[str, ...], values: dict[tuple[str, ...], int]) -> Instrument:
    """Return *values* that only grow, by the values of *labels*."""
    return Instrument(name, "counter", text, labels, list(values.items()))


def states(name: str, text: str, label: str, states: Iterable[str], now: Iterable[str]) -> Instrument:
    """Return a 1 for each of *states* that is so *now*, and a 0 for the others."""
    true = set(now)
    return Instrument(name, "gauge", text, (label,), [((str(state),), state in true) for state in states])
