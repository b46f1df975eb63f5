"""The credentials of one request, taken from its headers once, for all authenticators in the same way."""

from __future__ import annotations

from tasker_health.errors import AuthenticationError
from tasker_health.request import Request

MOST_CHARACTERS = 8192
"""Longest credentials that are looked at."""

_JWT_DOTS = 2


def only(request: Request, header: str) -> str | None:
    """Return the value of *header*, or `None` without it.

    Raises:
        AuthenticationError: It was sent more than once, is too long, or has characters that no credentials have. Two
            values would let a proxy in front see one and us the other. Where they may have been joined (WSGI), a comma
            is one too many.
    """
    values = request.headers(header)
    if not values:
        return None
    if len(values) > 1:
        raise AuthenticationError(f"{header} was sent more than once")
    if len(values[0]) > MOST_CHARACTERS or not values[0].isascii() or not values[0].isprintable():
        raise AuthenticationError(f"{header} is too long, or has characters that no credentials have")
    if request.folded and "," in values[0]:
        raise AuthenticationError(f"{header} may have been sent more than once")
    return values[0].strip()


def credentials(request: Request, scheme: str) -> str | None:
    """Return what follows *scheme* in the header `Authorization` (RFC 9110 section 11.6.2), if that is its scheme.

    Raises:
        AuthenticationError: There is nothing after it, or see `only`.
    """
    value = only(request, "authorization")
    if value is None:
        return None
    said, _, rest = value.partition(" ")
    if said.lower() != scheme.lower():
        return None
    if not rest.strip():
        raise AuthenticationError(f"nothing follows {scheme}")
    return rest.strip()


def looks_like_jwt(token: str) -> bool:
    """Return whether *token* has the form of a JSON web token (RFC 7519 section 3): three parts."""
    return token.count(".") == _JWT_DOTS
