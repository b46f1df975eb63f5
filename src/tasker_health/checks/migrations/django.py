"""Django: the migrations on disk against the rows of `django_migrations`.

Django's loader reads the disk; the rows are read on our own connection, so Django opens none. A squashed migration is
applied when all that it replaces is recorded, whether it is itself or not: so Django's loader has it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import sqlalchemy as sa

from tasker_health.checks.migrations import LOCATION, Gap, Rows, named, not_installed, unusable
from tasker_health.errors import SettingsError

Key = tuple[str, str]
"""App label and name of a migration."""

_VARIABLE = "DJANGO_SETTINGS_MODULE"
_REMEDY = "correct it, or the module, or PYTHONPATH; inside an application build Health after django.setup()"
_TABLE = sa.table("django_migrations", sa.column("id"), sa.column("app"), sa.column("name"))


@dataclass(frozen=True)
class DjangoTool:
    """What the migrations of all installed apps expect.

    Attributes:
        replaces: Every migration on disk, with those that it replaces.
    """

    replaces: Mapping[Key, Collection[Key]]
    query: ClassVar[sa.Select[Any]] = sa.select(_TABLE.c.app, _TABLE.c.name).order_by(_TABLE.c.id)
    known: frozenset[Key] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        replaced = {key for keys in self.replaces.values() for key in keys}
        object.__setattr__(self, "known", frozenset(self.replaces) | replaced)

    @classmethod
    def of(cls, settings_module: str | None) -> Self:
        """Return what the project of *settings_module* expects; its apps and migrations are imported.

        Args:
            settings_module: `None`: the one that Django is configured with, or that its variable names.

        Raises:
            SettingsError: Django is not installed, is configured with other settings, or the project does not load.
        """
        try:
            return cls(_migrations_on_disk(settings_module))
        except SettingsError:
            raise
        except ModuleNotFoundError as error:
            if error.name == "django":
                raise not_installed("django") from None
            raise unusable(settings_module, error, _REMEDY) from None
        except (Exception, SystemExit) as error:  # noqa: BLE001 -- settings, apps and migrations are modules of the user's
            raise unusable(settings_module, error, _REMEDY) from None

    def compare(self, rows: Rows) -> Gap:
        """Return what lies between the code and the *rows*, oldest first. See `MigrationTool.compare`."""
        applied = [(str(app), str(name)) for app, name in rows]
        pending = self.replaces.keys() - self._covered(applied)
        return Gap(pending=named(map(".".join, pending)), ahead=named(map(".".join, self._ahead(applied))))

    def _covered(self, applied: Collection[Key]) -> set[Key]:
        """Return what counts as applied; of a squashed migration only what it replaces is asked, as Django does."""
        squashed = {key: set(keys) for key, keys in self.replaces.items() if keys}
        covered = set(applied) - squashed.keys()
        while found := {key for key, keys in squashed.items() if key not in covered and keys <= covered}:
            covered |= found
        return covered

    def _ahead(self, applied: Collection[Key]) -> list[Key]:
        """Return the unknown ones that were applied after every known one, of their app or, if it is new, of all.

        Rows stay when the code of a squashed migration or of a removed app is deleted; those came before.
        """
        newest: dict[str, int] = {}
        newest_of_all = -1
        for place, key in enumerate(applied):
            if key in self.known:
                newest[key[0]] = newest_of_all = place
        return [
            key
            for place, key in enumerate(applied)
            if key not in self.known and place > newest.get(key[0], newest_of_all)
        ]


def _migrations_on_disk(settings_module: str | None) -> dict[Key, list[Key]]:
    from django.apps import apps
    from django.conf import settings
    from django.db.migrations.loader import MigrationLoader

    if settings.configured:
        _require_same(settings_module, getattr(settings, "SETTINGS_MODULE", None), "Django runs with")
    else:
        _require_same(settings_module, os.environ.get(_VARIABLE), f"{_VARIABLE} says")
        module = settings_module or os.environ.get(_VARIABLE)
        if not module:
            raise SettingsError(LOCATION, "not set", f"set it, or {_VARIABLE}, to the settings module: shop.settings")
        os.environ[_VARIABLE] = module  # the only way to tell Django that does not keep it from configuring itself
    if not apps.models_ready:
        # Not django.setup(): it would also put the project's logging in place of ours.
        apps.populate(settings.INSTALLED_APPS)
    loader = MigrationLoader(None, load=False, ignore_no_migrations=True)
    loader.load_disk()
    return {key: [tuple(old) for old in migration.replaces] for key, migration in loader.disk_migrations.items()}


def _require_same(wanted: str | None, found: str | None, who: str) -> None:
    """Refuse *wanted* settings beside the ones *found*: Django has one configuration a process."""
    if wanted and found and wanted != found:
        raise SettingsError(LOCATION, repr(wanted), f"{who} {found!r} already; leave the location out, or name that")
