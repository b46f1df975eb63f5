"""JSON as a token and a set of keys may have it: one meaning, or none."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

_MOST_DIGITS = 20
"""Digits of the longest number: more than a nanosecond of this century takes, and few enough to be read at once."""


def strict_json(raw: bytes) -> dict[str, Any]:
    """Return the object that *raw* is, as UTF-8.

    Raises:
        ValueError: It is not one object; a name stands twice in it, which two readers may read as two things (RFC 8725
            section 2.8); a number is none, infinite or longer than any that is meant; it is too deep.
    """
    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=_once_each,
            parse_int=_short_integer,
            parse_float=_finite,
            parse_constant=_no_number,
        )
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("it is no object")  # noqa: TRY004 -- the one error of whatever is wrong with it
    return value


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands twice in it")
    return value


def _short_integer(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError("a number in it is too long")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number in it is infinite")
    return number


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
