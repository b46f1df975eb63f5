"""What values settings can have, and what every group of them has in common."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


def _no_bool(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("a number, not true or false")  # noqa: TRY004 -- pydantic takes a ValueError
    return value


_Number = BeforeValidator(_no_bool)
_TEN_YEARS = 315_360_000
"""Longest duration: beyond it the arithmetic of dates ends."""

Seconds = Annotated[float, _Number, Field(ge=0, le=_TEN_YEARS, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, _Number, Field(gt=0, le=_TEN_YEARS, allow_inf_nan=False)]
Ratio = Annotated[float, _Number, Field(ge=0, le=1, allow_inf_nan=False)]
Port = Annotated[int, _Number, Field(ge=0, le=65535)]
Count = Annotated[int, _Number, Field(ge=1)]

CHECK_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def _clean_prefix(value: str) -> str:
    if value in {"", "/"}:
        return ""
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", value) or any(part in {".", ".."} for part in value.split("/")):
        raise ValueError("a path such as /tasker, without a slash at its end")
    return value


Path = Annotated[str, AfterValidator(_clean_prefix)]


def _words(value: Any) -> Any:
    """Return the words of a text, as an environment variable has them: separated by commas."""
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_words)]

Network = IPv4Network | IPv6Network


def _networks(value: Any) -> Any:
    words = _words(value)
    if not isinstance(words, list | tuple) or not all(isinstance(word, str | Network) for word in words):
        raise ValueError("addresses and networks, such as 10.0.0.0/8")
    return tuple(ip_network(word) for word in words)


Networks = Annotated[tuple[Network, ...], BeforeValidator(_networks)]


def _name(value: str) -> str:
    if not CHECK_NAME.fullmatch(value):
        raise ValueError("a name of a-z, 0-9, _ and -, beginning with a letter, at most 63 long")
    return value


Name = Annotated[str, AfterValidator(_name)]


def _no_number(value: object) -> object:
    if isinstance(value, int | float) or (isinstance(value, str) and not _LIKE_A_DATE.match(value)):
        raise ValueError("a time such as 2027-01-31T00:00:00Z")
    return value


def _in_utc(value: datetime) -> datetime:
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


_LIKE_A_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")

Moment = Annotated[datetime, BeforeValidator(_no_number), AfterValidator(_in_utc)]
"""A time; without an offset it is UTC, whatever the time zone of the machine."""


class Group(BaseModel):
    """A group of settings: immutable, and without unknown names."""

    # Who makes settings in Python sees pydantic's own errors, which would show a password that does not fit.
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
