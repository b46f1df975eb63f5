"""From settings to checks: what is named is made, and what cannot be made is said at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasker_health.cache.shared import SharedCache
from tasker_health.checks import Check
from tasker_health.checks.cache import CacheCheck
from tasker_health.clock import Clock
from tasker_health.errors import SettingsError
from tasker_health.settings import MigrationsSettings, Settings, SourceSettings
from tasker_health.sources.place import database_at, url_of

if TYPE_CHECKING:
    from tasker_health.checks.migrations import MigrationTool
    from tasker_health.database import Database

_SHARE_OF_CACHE = 0.6
"""Of the deadline of readiness, how much the optional check of the cache may take."""


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

        database = database_at(settings, settings.database.url.get_secret_value())
        databases.append(database)
        writable = settings.database.require_writable
        checks.append(DatabaseCheck(database, require_writable=writable, timeout_seconds=timeout_seconds))
    return checks + migration_checks(settings, databases) + _dependencies(settings)


def _dependencies(settings: Settings) -> list[Check]:
    if not settings.checks:
        return []
    from tasker_health.checks.dependencies.chosen import dependency_checks

    return [*dependency_checks(settings)]


def cache_checks(settings: Settings, shared: SharedCache, clock: Clock) -> list[Check]:
    """Return the check of the cache, where there is one that can be in trouble."""
    if shared.name == "memory":
        return []
    seconds = settings.health.readiness_timeout_seconds * _SHARE_OF_CACHE
    return [CacheCheck(shared, timeout_seconds=seconds, clock=clock)]


def migration_checks(settings: Settings, databases: list[Database]) -> list[Check]:
    """Return the check of the schema, or none where no tool is named and no engine is read.

    The connections that it uses are added to *databases*.

    Raises:
        ConfigurationError: A URL is missing or not one, a tool or what it reads is not there.
    """
    kind = settings.migrations.kind
    if kind == "auto":
        _require_no_tool_is_meant(settings)
        kind = "dbos" if _dbos_sources(settings) else "none"
    if kind == "none":
        return []
    from tasker_health.checks.migrations import MigrationsCheck

    schemas = _dbos_schemas(settings, databases) if kind == "dbos" else _schema(settings, databases)
    return [
        MigrationsCheck(
            schemas,
            ahead_is_error=settings.health.migrations_ahead == "error",
            timeout_seconds=settings.health.readiness_timeout_seconds,
        )
    ]


def _require_no_tool_is_meant(settings: Settings) -> None:
    """Refuse settings of a tool that is not named: they look as if the schema were watched."""
    for name in ("location", "url"):
        if getattr(settings.migrations, name) is not None:
            remedy = "it needs a tool; set migrations.kind to alembic, django, rails or dbos"
            raise SettingsError(f"migrations.{name}", "set", remedy)


def _schema(settings: Settings, databases: list[Database]) -> list[tuple[MigrationTool, Database]]:
    url = settings.migrations.url or settings.database.url
    if url is None:
        raise SettingsError("migrations.url", "not set", "set it, or database.url")
    tool = _migration_tool(settings.migrations)
    return [(tool, _shared_database(settings, url.get_secret_value(), databases))]


def _migration_tool(wanted: MigrationsSettings) -> MigrationTool:
    if wanted.kind == "django":
        from tasker_health.checks.migrations.django import DjangoTool

        return DjangoTool.of(wanted.location)
    if wanted.location is None:
        what = "db/migrate" if wanted.kind == "rails" else "the script directory or alembic.ini"
        raise SettingsError("migrations.location", "not set", f"set it to the path of {what}")
    if wanted.kind == "rails":
        from tasker_health.checks.migrations.rails import RailsTool

        return RailsTool.at(wanted.location)
    from tasker_health.checks.migrations.alembic import AlembicTool

    return AlembicTool.at(wanted.location)


def _dbos_schemas(settings: Settings, databases: list[Database]) -> list[tuple[MigrationTool, Database]]:
    """Return the tables of every dbos source; without one, those that the settings of migrations name."""
    from tasker_health.checks.migrations.dbos import DbosTool
    from tasker_health.sources.dbos import KNOWN_VERSIONS

    wanted = settings.migrations
    schemas: list[tuple[MigrationTool, Database]] = []
    for name, source in (_dbos_sources(settings) or {"dbos": SourceSettings(kind="dbos")}).items():
        url = wanted.url.get_secret_value() if wanted.url else url_of(settings, name, source)
        database = _shared_database(settings, url, databases)
        tool = DbosTool(KNOWN_VERSIONS, database.dialect, wanted.location or source.schema_name or "dbos")
        if (tool, database) not in schemas:
            schemas.append((tool, database))
    return schemas


def _dbos_sources(settings: Settings) -> dict[str, SourceSettings]:
    return {name: source for name, source in settings.sources.items() if source.kind == "dbos"}


def _shared_database(settings: Settings, url: str, databases: list[Database]) -> Database:
    """Return the one of *databases* at *url*; if there is none, add one."""
    own = database_at(settings, url)
    shared = next((database for database in databases if database.url == own.url), None)
    if shared is None:
        databases.append(own)
    return shared or own
