"""One figure with its labels, before any exporter has put it into its own form."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Literal, NamedTuple

from tasker_health.counters import CheckCounts

Kind = Literal["gauge", "counter", "histogram", "info"]
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
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    points: Points = []  # noqa: RUF012 -- never changed
    histograms: dict[str, CheckCounts] = {}  # noqa: RUF012 -- never changed

    def pieces(self, size: int) -> Iterator[Instrument]:
        """Yield this figure in pieces of at most *size* points or histograms."""
        points, histograms = iter(self.points), iter(self.histograms.items())
        for _ in range(0, len(self.points) + len(self.histograms), size):
            yield self._replace(points=list(islice(points, size)), histograms=dict(islice(histograms, size)))


def gauge(name: str, text: str, value: float | None) -> Instrument:
    """Return a figure that goes up and down; without *value* it is not told."""
    return Instrument(name, "gauge", text, (), [] if value is None else [((), value)])


def counter(name: str, text: str, labels: tuple[str, ...], values: dict[tuple[str, ...], int]) -> Instrument:
    """Return *values* that only grow, by the values of *labels*."""
    return Instrument(name, "counter", text, labels, list(values.items()))


def states(name: str, text: str, label: str, states: Iterable[str], now: Iterable[str]) -> Instrument:
    """Return a 1 for each of *states* that is so *now*, and a 0 for the others."""
    true = set(now)
    return Instrument(name, "gauge", text, (label,), [((str(state),), state in true) for state in states])
