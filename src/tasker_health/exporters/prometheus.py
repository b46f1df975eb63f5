"""The exporter `prometheus`: text and OpenMetrics, encoded by the official client.

A registry of its own and a collector that makes every figure anew from the snapshot: there is no global state, no
series outlives what it is about, and several processes need no files of the client's (see `siblings`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from tasker_health.counters import BUCKETS_SECONDS
from tasker_health.exporters import Snapshot
from tasker_health.exporters.instrument import Instrument
from tasker_health.exporters.table import one_by_one
from tasker_health.settings import PrometheusSettings

_BOUNDS = [*map(str, BUCKETS_SECONDS), "+Inf"]
_LINES = 120
"""How many are encoded at one stretch: about a millisecond."""

_END = b"# EOF\n"  # of OpenMetrics
_VERSION = re.compile(r"version\s*=\s*([^;\s]*)", re.IGNORECASE)
_KNOWN_VERSIONS = frozenset({"", "0.0.1", "0.0.4", "1.0.0"})


class PrometheusExporter:
    """Renders snapshots.

    Args:
        settings: Which names are told, and who may ask.
    """

    def __init__(self, settings: PrometheusSettings) -> None:
        self.settings = settings
        self._registry = CollectorRegistry()
        self._registry.register(self)
        self._piece: Instrument | None = None

    async def render(self, snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
        """Return *snapshot* in the format that *accept* asks for. See `PullExporter.render`.

        The client encodes at one stretch: hundreds of series would hold the loop, so it is handed a few at a time.
        """
        encode, content_type = choose_encoder(_understood(accept))
        parts: list[bytes] = []
        lines = 0
        together = snapshot.together
        for told in one_by_one(snapshot, guide_names=self.settings.guide_names):
            if len(told.points) > _LINES:
                await asyncio.sleep(0)  # to make so many has taken its time
            size = _LINES // (len(_BOUNDS) + 2) if told.histograms else _LINES
            for number, piece in enumerate(told.pieces(size)):
                # Nobody else has a turn before it is encoded.
                self._piece = piece if together is None else together(piece)
                part = encode(self._registry).removesuffix(_END)
                parts.append(part.split(b"\n", 2)[2] if number else part)  # HELP and TYPE stand there once
                lines += part.count(b"\n")
                if lines >= _LINES:
                    await asyncio.sleep(lines := 0)
        if content_type.startswith("application/openmetrics-text"):
            parts.append(_END)
        return b"".join(parts), content_type

    def collect(self) -> Iterator[Metric]:
        """Yield the piece that is being rendered; the registry asks for it."""
        if self._piece is not None:
            yield _family(self._piece)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: what there is differs from scrape to scrape."""
        return ()


def _understood(accept: str) -> str:
    """Return *accept* without the versions that are not known here.

    The client compares the version without looking whether it is one, and repeats it in the content type.
    """
    ranges = ((each, _VERSION.search(each)) for each in accept.split(","))
    return ",".join(each for each, version in ranges if version is None or version[1] in _KNOWN_VERSIONS)


def _family(told: Instrument) -> Metric:
    if told.kind == "histogram":
        return _histogram(told)
    if told.kind == "info":
        info = InfoMetricFamily(told.name.removesuffix("_info"), told.help)
        for values, _ in told.points:
            info.add_metric((), dict(zip(told.labels, values, strict=True)))
        return info
    make = CounterMetricFamily if told.kind == "counter" else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = make(told.name, told.help, labels=told.labels)
    for values, value in told.points:
        family.add_metric(values, value)
    return family


def _histogram(told: Instrument) -> HistogramMetricFamily:
    family = HistogramMetricFamily(told.name, told.help, labels=told.labels)
    for name, counts in told.histograms.items():
        family.add_metric((name,), list(zip(_BOUNDS, accumulate(counts.by_bucket), strict=True)), counts.seconds)
    return family
