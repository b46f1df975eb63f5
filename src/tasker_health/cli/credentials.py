"""Who a command says that it is: the headers for `--token`, `--basic` and `--header`, the same for every command."""

from __future__ import annotations

import base64
import getpass
import sys

from tasker_health.errors import ConfigurationError

_MOST_CHARACTERS = 4096


def headers_of(token: str | None, basic: str | None, headers: list[str]) -> list[tuple[str, str]]:
    """Return the headers that say it.

    Args:
        token: Bearer token; `-` reads it from standard input, so that it is not on the command line for all to see.
        basic: `user:password`; `-` as above.
        headers: Others, each as `name: value`.

    Raises:
        ConfigurationError: One of them cannot be sent; no value is shown.
    """
    authorization = authorization_of(token, basic)
    found = [] if authorization is None else [("Authorization", authorization)]
    return [*found, *(_pair(header) for header in headers)]


def authorization_of(token: str | None, basic: str | None) -> str | None:
    """Return the header's value for a bearer *token* or for *basic*, `user:password`; `-` is read.

    Raises:
        ConfigurationError: There are both, or it cannot be sent; it is not shown.
    """
    if token is not None and basic is not None:
        raise ConfigurationError("--token and --basic: give one of the two")
    if token is not None:
        given = _given(token, "--token")
        if not given.isascii() or any(each.isspace() for each in given):
            raise ConfigurationError("--token: has characters that no token has; letters, digits and signs are allowed")
        return f"Bearer {given}"
    if basic is not None:
        given = _given(basic, "--basic")
        if ":" not in given:
            raise ConfigurationError("--basic: no colon in it; write USER:PASSWORD")
        return f"Basic {base64.b64encode(given.encode()).decode()}"
    return None


def _pair(header: str) -> tuple[str, str]:
    name, colon, value = (part.strip() for part in header.partition(":"))
    if not colon or not name:
        raise ConfigurationError("--header: no name and value; write it as 'x-api-key: ...'")
    is_name = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    if not is_name or not value.isascii() or not value.isprintable():
        raise ConfigurationError(f"--header {name!r}: cannot be sent; letters, digits and - in its name, ASCII")
    return name, value


def _given(value: str, option: str) -> str:
    """Return *value*, or for `-` what is typed without an echo, or the first line of standard input."""
    if value != "-":
        given = value
    elif sys.stdin is None:
        raise ConfigurationError(f"{option} -: there is no standard input")
    elif sys.stdin.isatty():
        given = getpass.getpass("Token: " if option == "--token" else "USER:PASSWORD: ")
    else:
        given = sys.stdin.readline(_MOST_CHARACTERS + 1).rstrip("\r\n")
    if not given or len(given) > _MOST_CHARACTERS or not given.isprintable():
        raise ConfigurationError(
            f"{option}: empty, too long, or not text; allowed are 1 to {_MOST_CHARACTERS} characters"
        )
    return given
