"""From settings to checks and sources: what is named is made, and what cannot be made is said at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasker_health.checks import Check
from tasker_health.errors import SettingsError
from tasker_health.settings import Settings, SourceSettings
from tasker_health.sources import Source

if TYPE_CHECKING:
    from tasker_health.database import Database


def built_in_checks(settings: Settings, databases: list[Database]) -> list[Check]:
    """Return the checks that *settings* ask for; the connections that they use are added to *databases*.

    Raises:
        ConfigurationError: A URL is not one, a driver is missing, a script directory is not there.
    """
    checks: list[Check] = []
    database = None
    timeout_seconds = settings.health.readiness_timeout_seconds
    if settings.database.url is not None:
        from tasker_health.checks.database import DatabaseCheck

        database = _database(settings, settings.database.url.get_secret_value())
        databases.append(database)
        writable = settings.database.require_writable
        checks.append(DatabaseCheck(database, require_writable=writable, timeout_seconds=timeout_seconds))
    return checks + _migrations(settings, databases)


def built_in_sources(settings: Settings) -> list[Source]:
    """Return the sources that *settings* name, each with a connection of its own.

    Raises:
        ConfigurationError: A URL is missing, not one, or of a database that the engine does not run on.
    """
    return [_source(settings, name, source) for name, source in settings.sources.items()]


def _database(settings: Settings, url: str) -> Database:
    from tasker_health.database import Database

    return Database(
        url,
        connect_timeout_seconds=settings.database.connect_timeout_seconds,
        statement_timeout_seconds=settings.database.statement_timeout_seconds,
    )


def _source(settings: Settings, name: str, source: SourceSettings) -> Source:
    from tasker_health.sources.dbos import DbosSource

    return DbosSource(
        name,
        _database(settings, _url_of(settings, name, source)),
        schema=source.schema_name,
        window_seconds=settings.health.metrics_window_seconds,
        stuck_after_seconds=settings.health.stuck_after_seconds,
        attempts_recorded=source.attempts_recorded,
    )


def _url_of(settings: Settings, name: str, source: SourceSettings) -> str:
    url = source.url or settings.database.url
    if url is None:
        raise SettingsError(f"sources.{name}.url", "not set", "set it, or database.url")
    return url.get_secret_value()


def _migrations(settings: Settings, databases: list[Database]) -> list[Check]:
    del settings, databases
    return []
