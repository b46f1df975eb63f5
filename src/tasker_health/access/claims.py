"""What a token says of its caller: claims of the right types, the caller's name, and the names of roles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasker_health.access.strict_json import strict_json

Claims = Mapping[str, Any]

_LAST_MOMENT = 253_402_300_799
"""The end of the year 9999, in seconds: beyond it the arithmetic of dates ends."""

_MOMENTS = ("exp", "nbf", "iat")
_TEXTS = ("iss", "sub", "jti")
_LONGEST_NAME = 100


def claims_of(payload: bytes) -> dict[str, Any]:
    """Return the claims of *payload*, each that RFC 7519 section 4.1 names being of its type.

    Raises:
        ValueError: One is not, or it is not JSON of one meaning.
    """
    claims = strict_json(payload)
    for name in _MOMENTS:
        if name in claims and not _is_moment(claims[name]):
            raise ValueError(f"{name} is no moment")
    for name in _TEXTS:
        if name in claims and not isinstance(claims[name], str):
            raise ValueError(f"{name} is no text")
    if "aud" in claims and not _is_audience(claims["aud"]):
        raise ValueError("aud is neither a text nor a list of texts")
    return claims


def name_of(claims: Claims, claim: str) -> str:
    """Return the caller's name, which *claim* holds, in characters that a line of a log can have."""
    value = found(claims, claim)
    if not isinstance(value, str) or not value:
        return "somebody unnamed"
    return value[:_LONGEST_NAME].encode("unicode_escape").decode("ascii")[:_LONGEST_NAME]


def roles_of(claims: Claims, claim: str) -> list[str]:
    """Return the names that *claim* holds: a list of texts, or one text with spaces between them; none otherwise."""
    value = found(claims, claim)
    if isinstance(value, str):
        return value.split(" ")
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return value
    return []


def found(claims: Claims, claim: str) -> Any:
    """Return what stands under the name *claim*, or else where its dots lead; `None`: nothing.

    The whole name comes first: `https://example.com/roles` has dots that lead nowhere.
    """
    if claim in claims:
        return claims[claim]
    value: Any = claims
    for name in claim.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _is_moment(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _LAST_MOMENT


def _is_audience(value: Any) -> bool:
    texts = value if isinstance(value, list) else [value]
    return bool(texts) and all(isinstance(each, str) and each for each in texts)
