"""What Grafana shows: a file for each part of the dashboard, panels in the order in which an operator asks.

The rules for whoever writes a panel:

* Figures of the fleet are asked by `fleet`, which takes `max by`, whatever the instance: every replica tells the same.
* Figures of a process are those of the chosen instances, and may be summed.
* Its description says what is bad about the figure, where that is not plain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FLEET = 'job="$job"'
"""Selects every replica."""

CHOSEN = 'job="$job", instance=~"$instance"'
"""Selects the replicas that somebody wants to see."""

RATE = "[$__rate_interval]"
"""As long as four scrapes: Grafana knows."""

Threshold = float | Literal["degraded_failure_ratio", "status_max_stale_seconds"]
"""A figure, or the setting of `health` that has it."""


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title, description: What it shows, and what is bad about it.
        unit: Of its figures, by Grafana's id.
        queries: Legends, each with its PromQL.
        kind: `stat` is one figure, `timeseries` a graph, `table` rows of labels.
        width: Of 24 columns.
        warning: The figure from which on it is bad, or the setting that says; `None`: none is.
        is_worse_below: Whether it is bad below that figure, in place of above.
    """

    title: str
    description: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    kind: Literal["stat", "timeseries", "table"] = "timeseries"
    width: int = 8
    warning: Threshold | None = None
    is_worse_below: bool = False


def fleet(name: str, *labels: str) -> str:
    """Return the query for a figure of the fleet, by *labels*."""
    return f"max by ({', '.join(labels)}) ({name}{{{FLEET}}})" if labels else f"max({name}{{{FLEET}}})"


def rate(name: str, *labels: str) -> str:
    """Return the query for how fast counters of processes grow, by *labels*."""
    return f"sum by ({', '.join(labels)}) (rate({name}{{{CHOSEN}}}{RATE}))"


def p95(name: str, label: str) -> str:
    """Return the query for what nineteen of twenty do not exceed, of a histogram of processes."""
    return f"histogram_quantile(0.95, {rate(f'{name}_bucket', label, 'le')})"
