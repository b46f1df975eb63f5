"""Who the run says that it is, in the words of `doctor access`."""

from __future__ import annotations

import base64

import typer

from tasker_health.errors import ConfigurationError


def credentials(token: str | None, basic: str | None, headers: list[str]) -> dict[str, str]:
    """Return the headers that say it.

    Args:
        token: Bearer token; `-` reads it from standard input, so that it is not on the command line for all to see.
        basic: `user:password`; `-` as above.
        headers: Others, each as `name: value`.

    Raises:
        ConfigurationError: A header has no name, or something in it cannot be sent; no value is shown.
    """
    found = {}
    if token is not None:
        found["Authorization"] = f"Bearer {_given(token)}"
    if basic is not None:
        found["Authorization"] = f"Basic {base64.b64encode(_given(basic).encode()).decode()}"
    for header in headers:
        name, colon, value = header.partition(":")
        if not colon or not name.strip():
            raise ConfigurationError("--header: no name and value; write it as 'x-api-key: ...'")
        found[name.strip()] = value.strip()
    for name, value in found.items():
        is_name = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
        if not is_name or not value.isascii() or not value.isprintable():
            raise ConfigurationError(f"{name!r}: this header cannot be sent; letters, digits and - in its name, ASCII")
    return found


def _given(value: str) -> str:
    return typer.get_text_stream("stdin").readline().rstrip("\r\n") if value == "-" else value
