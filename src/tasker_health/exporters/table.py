"""What is told under which name: the one table that every exporter reads.

Names and units are Prometheus' conventions: base units, `_total` for what only grows.
"""

from __future__ import annotations

from tasker_health.exporters import Snapshot, fleet, process
from tasker_health.exporters.instrument import Instrument


def instruments(snapshot: Snapshot, *, guide_names: bool) -> list[Instrument]:
    """Return everything that is known in *snapshot*; a figure that is not known is not there.

    Args:
        snapshot: What there is to tell.
        guide_names: Also under the names of the original's guide.
    """
    told = [*fleet.figures(snapshot.status), *process.figures(snapshot)]
    if guide_names:
        told += fleet.figures_of_the_guide(snapshot.status)
    return [each for each in told if each.points or each.histograms]
