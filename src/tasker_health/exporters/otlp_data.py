"""Instruments as OpenTelemetry's data model has them: complete with each telling, and remembering nothing.

The SDK's own instruments are not asked: a histogram that is counted already cannot be told by them, and they keep every
set of attributes that they ever saw. So what is told here is exactly the snapshot, and no memory grows.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, overload

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from tasker_health import __version__
from tasker_health.counters import BUCKETS_SECONDS, DurationCounts
from tasker_health.exporters.instrument import Instrument
from tasker_health.exporters.semantic import meaning

SCOPE = "tasker_health"

_AT_A_TIME = 50
"""So many points are encoded at a stretch, which takes about a millisecond."""

_PAUSE_SECONDS = 0.0005


class Period(NamedTuple):
    """What counters and histograms are about, in nanoseconds since the epoch.

    Attributes:
        began: When the counting began.
        ends: Now.
    """

    began: int
    ends: int


def metrics_data(told: Iterable[Instrument], resource: Resource, period: Period) -> MetricsData:
    """Return *told* of *resource*; sums and histograms are cumulative."""
    metrics = [_metric(each, period) for each in told]
    scope = ScopeMetrics(InstrumentationScope(SCOPE, __version__), metrics, "")
    return MetricsData([ResourceMetrics(resource, [scope], resource.schema_url)])


def frozen(told: Iterable[Instrument]) -> list[Instrument]:
    """Return *told* as it is now, for another thread: histograms are the very counts that go on counting."""
    return [
        each._replace(histograms={name: _copy(counts) for name, counts in each.histograms.items()}) for each in told
    ]


def _copy(counts: DurationCounts) -> DurationCounts:
    copy = DurationCounts()
    copy.by_bucket, copy.seconds = counts.by_bucket.copy(), counts.seconds
    return copy


def _metric(told: Instrument, period: Period) -> Metric:
    name, unit = meaning(told)
    return Metric(name, told.help, unit, _data(told, period))


def _data(told: Instrument, period: Period) -> Gauge | Sum | Histogram:
    if told.kind == "histogram":
        points = [_of_histogram(told.labels[0], name, counts, period) for name, counts in told.histograms.items()]
        return Histogram(points, AggregationTemporality.CUMULATIVE)
    is_counter = told.kind == "counter"
    began = period.began if is_counter else 0
    numbers = _Numbers(told, began, period.ends)
    return Sum(numbers, AggregationTemporality.CUMULATIVE, is_monotonic=True) if is_counter else Gauge(numbers)


class _Numbers(Sequence[NumberDataPoint]):
    """The points of one instrument, each made when the encoder takes it, and now and then a turn for others.

    A thread that computes lets the event loop have the interpreter after five milliseconds, each time anew: with 6,000
    points the loop had 20 turns in the time of 130.
    """

    def __init__(self, told: Instrument, began: int, ends: int) -> None:
        self._told = told
        self._began = began
        self._ends = ends

    def __len__(self) -> int:
        return len(self._told.points)

    def __iter__(self) -> Iterator[NumberDataPoint]:
        for number in range(len(self)):
            if number % _AT_A_TIME == _AT_A_TIME - 1:
                time.sleep(_PAUSE_SECONDS)
            yield self[number]

    @overload
    def __getitem__(self, number: int) -> NumberDataPoint: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[NumberDataPoint]: ...
    def __getitem__(self, number: int | slice) -> NumberDataPoint | Sequence[NumberDataPoint]:
        if isinstance(number, slice):
            return [self[each] for each in range(len(self))[number]]
        values, value = self._told.points[number]
        attributes = dict(zip(self._told.labels, values, strict=True))
        return NumberDataPoint(attributes, self._began, self._ends, _number(value))


def _of_histogram(label: str, name: str, counts: DurationCounts, period: Period) -> HistogramDataPoint:
    return HistogramDataPoint(
        attributes={label: name},
        start_time_unix_nano=period.began,
        time_unix_nano=period.ends,
        count=sum(counts.by_bucket),
        sum=counts.seconds,
        bucket_counts=counts.by_bucket,
        explicit_bounds=BUCKETS_SECONDS,
        min=None,  # type: ignore[arg-type]  # optional in OTLP; nobody has counted them
        max=None,  # type: ignore[arg-type]
    )


def _number(value: float) -> float:
    """Return *value*; what is true or false as 1 or 0."""
    return int(value) if isinstance(value, bool) else value
