"""The app: it keeps the one Health of a process, made when the project's URLs are loaded."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from django.apps import AppConfig, apps
from django.core.exceptions import ImproperlyConfigured

from tasker_health.errors import ConfigurationError
from tasker_health.frameworks.django.chosen import chosen_health

if TYPE_CHECKING:
    from tasker_health.frameworks.django.views import Probes
    from tasker_health.health import Health

LABEL = "tasker_health"


class TaskerHealthConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """Tasker Health as an app of the project."""

    name = "tasker_health.frameworks.django"
    label = LABEL
    verbose_name = "Tasker Health"

    _lock = threading.RLock()
    _probes: Probes | None = None

    @property
    def health(self) -> Health:
        """The Health that the project's URLs answer with."""
        return self.probes.health

    @property
    def probes(self) -> Probes:
        """Its views.

        Raises:
            ImproperlyConfigured: There can be none; the message names the setting and the remedy.
        """
        from tasker_health.frameworks.django.views import Probes

        with self._lock:
            if self._probes is None:
                try:
                    self._probes = Probes(chosen_health())
                except ConfigurationError as error:
                    raise ImproperlyConfigured(str(error)) from error.__cause__
            return self._probes


def installed() -> TaskerHealthConfig:
    """Return the app.

    Raises:
        ImproperlyConfigured: The project has not installed it.
    """
    try:
        config: TaskerHealthConfig = apps.get_app_config(LABEL)
    except LookupError:
        name = TaskerHealthConfig.name
        raise ImproperlyConfigured(f"{name}.urls: not installed; add {name!r} to INSTALLED_APPS") from None
    return config
