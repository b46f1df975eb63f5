"""By how much two counts of the same tables differ."""

from __future__ import annotations

from msgspec.structs import asdict

from tasker_health.model import Facts


def difference(one: Facts, other: Facts) -> int:
    """Return the sum of the differences between all figures of *one* and *other* that are counts of the same tables."""
    left, right = asdict(one), asdict(other)
    return sum(_distance(left[name], right[name]) for name in left if name not in {"connections", "age_seconds"})


def _distance(one: object, other: object) -> int:
    if isinstance(one, dict) and isinstance(other, dict):
        return sum(_distance(one.get(key, 0), other.get(key, 0)) for key in one.keys() | other.keys())
    if isinstance(one, int) and isinstance(other, int):
        return abs(one - other)
    return int(one != other)
