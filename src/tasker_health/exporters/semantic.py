"""What OpenTelemetry calls an instrument of the table, and in which unit: one rule, so no second table.

The name is Prometheus' without its suffix for the kind and the unit, which OpenTelemetry tells beside the name; the
prefix is a namespace (OpenTelemetry's semantic conventions, "Naming"). Units are UCUM's; what is counted is an
annotation in braces. By the specification's rules ("Prometheus and OpenMetrics Compatibility") a collector that hands
them on to Prometheus gives the very names of the table back.
"""

from __future__ import annotations

from typing import NamedTuple

from tasker_health.exporters.instrument import Instrument

_PREFIX = "tasker_health_"
_NAMESPACE = "tasker_health."
_UNITS = {"_seconds": "s", "_ratio": "1"}
_COUNTED = {
    "tasks": "{task}",
    "steps": "{step}",
    "connections": "{connection}",
    "checks": "{check}",
    "deliveries": "{delivery}",
}
_PLURALS = (("shes", "sh"), ("ies", "y"), ("s", ""))


class Meaning(NamedTuple):
    """How OpenTelemetry knows an instrument.

    Attributes:
        name: Such as `tasker_health.check_duration`.
        unit: UCUM's; empty: it has none.
    """

    name: str
    unit: str


def meaning(told: Instrument) -> Meaning:
    """Return name and unit of *told*."""
    name = told.name.removesuffix("_total") if told.kind == "counter" else told.name
    suffix = next((suffix for suffix in _UNITS if name.endswith(suffix)), "")
    unit = _UNITS.get(suffix) or _counted(name, told)
    name = name.removesuffix(suffix)
    if name.startswith(_PREFIX):
        name = _NAMESPACE + name.removeprefix(_PREFIX)
    return Meaning(name, unit)


def _counted(name: str, told: Instrument) -> str:
    """Return what *told* counts: of a counter its last plural, of a gauge what the name says of things."""
    words = name.split("_")
    if told.kind != "counter":
        return next((_COUNTED[word] for word in reversed(words) if word in _COUNTED), "")
    plural = next((word for word in reversed(words) if word.endswith("s")), "")
    ending, instead = next(((ending, it) for ending, it in _PLURALS if plural.endswith(ending)), ("", ""))
    return f"{{{plural.removesuffix(ending)}{instead}}}" if plural else ""
