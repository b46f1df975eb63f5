"""`django_checks(health)`: checks from what the project's settings say."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from tasker_health.checks import Check
from tasker_health.errors import ConfigurationError

if TYPE_CHECKING:
    from tasker_health.checks.django.connection import DjangoConnection
    from tasker_health.database import Database
    from tasker_health.health import Health

Kind = Literal["databases", "caches", "migrations", "system"]

KINDS: tuple[Kind, ...] = get_args(Kind)

_SHARE_OF_CACHE = 0.6
"""Of the deadline of readiness, how long one answer of a cache may take."""


def django_checks(
    health: Health,
    *kinds: Kind,
    critical: Collection[str] = ("default",),
    migrated: Collection[str] = ("default",),
    deploy: bool = False,
    warnings: bool = False,
) -> None:
    """Add checks of the Django project to *health*.

    Args:
        health: What they are added to.
        kinds: Which ones; none named: all.
        critical: Aliases of DATABASES that readiness depends on; the others are optional.
        migrated: Aliases of DATABASES whose migrations are compared.
        deploy: Whether the system check is that of `manage.py check --deploy`.
        warnings: Whether a warning of it is degraded.

    Raises:
        ConfigurationError: Django is not configured, a name is none, or it comes too late.
    """
    _require_configured()
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ConfigurationError(f"django_checks: {unknown[0]!r}: unknown kind; allowed: {', '.join(KINDS)}")
    made = _Maker(health, critical=critical, migrated=migrated)
    wanted = kinds or KINDS
    checks: list[Check] = []
    if "databases" in wanted:
        checks += made.databases()
    if "caches" in wanted:
        checks += made.caches()
    if "migrations" in wanted:
        checks += made.migrations()
    if "system" in wanted:
        from tasker_health.checks.django.system import SystemCheck

        checks.append(SystemCheck(deploy=deploy, warnings=warnings))
    for check in checks:
        health.add_check(check)


class _Maker:
    """Makes the checks of the project that Django is configured with."""

    def __init__(self, health: Health, *, critical: Collection[str], migrated: Collection[str]) -> None:
        from django.db import connections

        self._settings = health.settings
        self._timeout_seconds = health.settings.health.readiness_timeout_seconds
        self._rows: Mapping[str, Mapping[str, Any]] = connections.settings
        for what, aliases in (("critical", critical), ("migrated", migrated)):
            if unknown := [alias for alias in aliases if alias not in self._rows]:
                known = ", ".join(self._rows)
                raise ConfigurationError(f"django_checks: {what} = {unknown[0]!r}: not in DATABASES; known: {known}")
        self._critical, self._migrated = critical, migrated

    def databases(self) -> list[Check]:
        """Return one for each database, but those in memory."""
        from tasker_health.checks.django.database import AliasCheck, ConnectionCheck
        from tasker_health.database import Database

        checks: list[Check] = []
        for alias in self._askable(self._rows):
            name, critical = _name("database", alias), alias in self._critical
            at = self._at(alias)
            if isinstance(at, Database):
                checks.append(AliasCheck(name, at, critical=critical, timeout_seconds=self._timeout_seconds))
            else:
                checks.append(ConnectionCheck(name, at, critical=critical, timeout_seconds=self._timeout_seconds))
        return checks

    def caches(self) -> list[Check]:
        """Return one for each cache, but those in the memory of this process."""
        from django.core.cache import caches

        from tasker_health.checks.django.cache import CacheAliasCheck, keeps_for_others

        seconds = self._timeout_seconds * _SHARE_OF_CACHE
        return [
            CacheAliasCheck(_name("cache", alias), row, patience_seconds=seconds)
            for alias, row in caches.settings.items()
            if keeps_for_others(row)
        ]

    def migrations(self) -> list[Check]:
        """Return the one of all apps, over all databases that are migrated."""
        from tasker_health.checks.django.migrations import DjangoMigrationsCheck

        databases = [self._at(alias) for alias in self._askable(self._migrated)]
        ahead_is_error = self._settings.health.migrations_ahead == "error"
        if not databases:
            return []
        if self._settings.migrations.kind not in {"auto", "none"}:
            raise ConfigurationError(
                f"django_checks: migrations.kind = {self._settings.migrations.kind!r} has a check `migrations` already;"
                " leave that setting out, or name the other kinds only"
            )
        return [DjangoMigrationsCheck(databases, ahead_is_error=ahead_is_error, timeout_seconds=self._timeout_seconds)]

    def _askable(self, aliases: Collection[str]) -> list[str]:
        from tasker_health.checks.django.database_url import is_in_memory

        rows = {alias: self._rows[alias] for alias in aliases}
        return [
            alias
            for alias, row in rows.items()
            if row["ENGINE"] != "django.db.backends.dummy" and not is_in_memory(row)
        ]

    def _at(self, alias: str) -> Database | DjangoConnection:
        """Return the database of *alias*: over our own driver, or over Django's where there is no other way."""
        from tasker_health.checks.django.connection import DjangoConnection
        from tasker_health.checks.django.database_url import url_of
        from tasker_health.database import Database

        url = url_of(self._rows[alias])
        if url is not None:
            try:
                return Database.of(self._settings.database, url)
            except ConfigurationError:  # its driver is not installed
                pass
        return DjangoConnection(alias, self._rows[alias])


def _name(kind: str, alias: str) -> str:
    return f"{kind}_{re.sub('[^a-z0-9_-]', '_', alias.lower())}"[:63]


def _require_configured() -> None:
    try:
        import django.conf
        import sqlalchemy as _  # noqa: F401 -- asks the databases
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"django_checks: {error.name} is not installed; pip install 'tasker-health[django]'"
        ) from None
    if not django.conf.settings.configured and not os.environ.get("DJANGO_SETTINGS_MODULE"):
        raise ConfigurationError(
            "django_checks: Django is not configured; set DJANGO_SETTINGS_MODULE, or call it after django.setup()"
        )
