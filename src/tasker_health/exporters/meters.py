"""The instruments at the meter provider that an application has set: it collects and sends them, when it pleases.

Gauges and counters are observed: the provider asks for what the newest snapshot says. Of the histogram each run is
recorded, as the API has no other way, from the first telling on.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from tasker_health import __version__
from tasker_health.counters import BUCKETS_SECONDS
from tasker_health.exporters.instrument import Instrument
from tasker_health.exporters.otlp_data import SCOPE
from tasker_health.exporters.semantic import meaning

_PERIODS = 3
"""After so many without a new snapshot nothing is told: what nobody knows any more is no figure."""


Runs = Mapping[tuple[str, str], deque[float]]
"""How long runs took that are not recorded yet, by name of the instrument and value of its label."""


class _Newest(NamedTuple):
    """What the callbacks tell: by name, until when, and in which process."""

    figures: Mapping[str, Sequence[Observation]]
    until: float
    pid: int


class Meters:
    """The instruments of one `Health`; each is made when there is first something to tell of it.

    Args:
        interval_seconds: How often `tell` is called.
    """

    def __init__(self, interval_seconds: float) -> None:
        self._interval_seconds = interval_seconds
        self._newest = _Newest({}, 0.0, 0)
        self._provider: Any = None
        self._made: dict[str, Any] = {}

    def tell(self, provider: Any, told: Iterable[Instrument], runs: Runs) -> None:
        """Have *provider* find *told* from now on, and record *runs*, which are empty afterwards."""
        if provider is not self._provider:
            self._provider, self._made = provider, {}
        meter = metrics.get_meter(SCOPE, __version__, provider)
        figures: dict[str, Sequence[Observation]] = {}
        for each in told:
            name, unit = meaning(each)
            figures[name] = [Observation(value, dict(zip(each.labels, of, strict=True))) for of, value in each.points]
            if name not in self._made:
                self._made[name] = self._make(meter, each, name, unit)
            if each.kind == "histogram":
                _record(self._made[name], each, runs)
        self._newest = _Newest(figures, time.monotonic() + _PERIODS * self._interval_seconds, os.getpid())

    def forget(self) -> None:
        """Tell nothing from now on, until `tell`."""
        self._newest = _Newest({}, 0.0, 0)

    def _make(self, meter: metrics.Meter, told: Instrument, name: str, unit: str) -> Any:
        if told.kind == "histogram":
            bounds = BUCKETS_SECONDS
            return meter.create_histogram(name, unit, told.help, explicit_bucket_boundaries_advisory=bounds)
        make = meter.create_observable_counter if told.kind == "counter" else meter.create_observable_gauge
        return make(name, [self._callback(name)], unit, told.help)

    def _callback(self, name: str) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(_options: CallbackOptions) -> Iterable[Observation]:
            newest = self._newest
            is_ours = newest.pid == os.getpid() and time.monotonic() < newest.until
            return newest.figures.get(name, ()) if is_ours else ()

        return observe


def application_provider() -> Any:
    """Return the meter provider that the application has set, or the one that the environment names; else `None`."""
    provider = metrics.get_meter_provider()
    # The API's stand-in, which is told of the real one later, has no public name.
    return None if type(provider).__name__ == "_ProxyMeterProvider" else provider


def _record(histogram: Any, told: Instrument, runs: Runs) -> None:
    for value in told.histograms:
        waiting = runs[told.name, value]
        for _ in range(len(waiting)):
            histogram.record(waiting.popleft(), {told.labels[0]: value})
