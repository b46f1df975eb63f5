"""What is told under which name: the one table that every exporter reads.

Names and units are Prometheus' conventions: base units, `_total` for what only grows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from tasker_health.exporters import Snapshot, fleet, objectives, process, work, workers
from tasker_health.exporters.instrument import Instrument


def instruments(snapshot: Snapshot, *, guide_names: bool) -> list[Instrument]:
    """Return everything that is known in *snapshot*; a figure that is not known is not there.

    Args:
        snapshot: What there is to tell.
        guide_names: Also under the names of the original's guide.
    """
    return list(one_by_one(snapshot, guide_names=guide_names))


def one_by_one(snapshot: Snapshot, *, guide_names: bool) -> Iterator[Instrument]:
    """Yield the same, each made when it is asked for, so that others may have a turn in between."""
    guide = fleet.figures_of_the_guide(snapshot.status) if guide_names else ()
    status = snapshot.status
    figures = (fleet.figures, work.figures, workers.figures, objectives.figures)
    for each in chain(*(of(status) for of in figures), process.figures(snapshot), guide):
        if each.points or each.histograms:
            yield each
