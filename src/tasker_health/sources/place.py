"""Where the data of a source is, from the settings: its URL, its connections, and what tells its figures apart."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from tasker_health.errors import SettingsError
from tasker_health.settings import Settings, SourceSettings

if TYPE_CHECKING:  # SQLAlchemy is needed only where there is a database
    from tasker_health.database import Database


def url_of(settings: Settings, name: str, source: SourceSettings) -> str:
    """Return the URL of *source*: its own, or that of the database.

    Raises:
        SettingsError: There is none.
    """
    url = source.url or settings.database.url
    if url is None:
        raise SettingsError(f"sources.{name}.url", "not set", "set it, or database.url")
    return url.get_secret_value()


def database_at(settings: Settings, url: str) -> Database:
    """Return the database at *url*, over a connection of the source's own.

    Raises:
        ConfigurationError: The URL is not one, or its driver is not installed.
    """
    from tasker_health.database import Database

    return Database.of(settings.database, url)


def counting_at(settings: Settings, source: SourceSettings, url: str) -> Database:
    """Return the same over another connection, on which counting everything may take long."""
    from tasker_health.database import Database

    return Database.of(settings.database, url, counting_seconds=source.full_count_timeout_seconds)


def identity_of(settings: Settings, source: SourceSettings, url: str) -> str:
    """Return what tells the figures of *source* from those of another one: whose data, and counted how; no secret."""
    at = urlsplit(url if "://" in url else f"//{url}")
    what = (
        *(source.kind, at.scheme.partition("+")[0], at.hostname, at.netloc.rpartition("@")[2], at.path),
        *(source.schema_name, source.attempts_recorded, source.breakdown),
        *(source.most_groups, settings.health.metrics_window_seconds, settings.health.stuck_after_seconds),
    )
    return hashlib.sha256(repr(what).encode()).hexdigest()[:12]
