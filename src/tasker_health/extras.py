"""Which extra brings a library that is not installed: what is said where nothing nearer knows better."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tasker_health.errors import ConfigurationError

_EXTRAS = {
    "sqlalchemy": "sqlite]', [postgresql] or [mysql], as the URL of the database says",
    "aiosqlite": "sqlite]'",
    "psycopg": "postgresql]'",
    "uvicorn": "server]'",
    "rich": "cli]'",
    "httpx": "http]'",
    "dbos": "demo]'",
}
"""What is imported without a word of its own, and how the remedy ends."""


@contextmanager
def needed() -> Iterator[None]:
    """Say which extra is missing where a library of one is.

    Raises:
        ConfigurationError: A library is not installed that an extra brings.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in _EXTRAS:
            raise
        raise ConfigurationError(f"{library} is not installed; pip install 'tasker-health[{_EXTRAS[library]}") from None
