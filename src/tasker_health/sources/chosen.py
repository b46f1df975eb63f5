"""The sources that the settings name: each kind has a module of its name here, and that its `source_of`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from tasker_health.settings import Settings
from tasker_health.sources import Explaining, Source
from tasker_health.sources.place import identity_of, url_of
from tasker_health.workers import Roster


def built_in_sources(settings: Settings, roster: Roster | None = None) -> Sequence[Source]:
    """Return the sources that *settings* name, each with a connection of its own.

    Args:
        settings: Which they are.
        roster: Tells them who works; `None`: nobody can know.

    Raises:
        ConfigurationError: A URL is missing, not one, or of a store that the engine does not run on, or what reads it
            is not installed.
    """
    sources = []
    for name, wanted in settings.sources.items():
        module: Any = import_module(f"tasker_health.sources.{wanted.kind}")
        source: Source = module.source_of(name, wanted, settings)
        source.identity = identity_of(settings, wanted, url_of(settings, name, wanted))  # type: ignore[attr-defined]
        source.engine = wanted.kind  # type: ignore[attr-defined]
        if isinstance(source, Explaining):
            source.roster = roster
        sources.append(source)
    return sources
