"""Which Health answers: the one that the project's settings name, or one that is made of the environment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasker_health.dotted import load_dotted
from tasker_health.errors import ConfigurationError, SettingsError
from tasker_health.frameworks.django.checks import KINDS, django_checks
from tasker_health.health import Health
from tasker_health.reasons import words_of

HEALTH, CHECKS = "TASKER_HEALTH", "TASKER_HEALTH_CHECKS"


def chosen_health() -> Health:
    """Return the Health of the project, with the checks that its settings name.

    Raises:
        ConfigurationError: There can be none; the message names the setting and the remedy.
    """
    from django.conf import settings

    path = getattr(settings, HEALTH, None)
    health = Health() if path is None else _named(path)
    kinds = _kinds(getattr(settings, CHECKS, ()))
    if kinds:
        django_checks(health, *kinds)
    return health


def _named(path: Any) -> Health:
    remedy = "name a Health, or a function that returns one: 'myproject.health.health'"
    if not isinstance(path, str):
        raise SettingsError(HEALTH, f"a {type(path).__name__}", f"{remedy}, as a string")
    found = load_dotted(path, HEALTH)
    if callable(found) and not isinstance(found, type):
        try:
            found = found()
        except ConfigurationError:
            raise
        except Exception as error:
            raise SettingsError(HEALTH, repr(path), f"it raised {words_of(error)}; correct it") from error
    if not isinstance(found, Health):
        what = "is a class" if isinstance(found, type) else f"is or returned a {type(found).__name__}"
        raise SettingsError(HEALTH, repr(path), f"{what}; {remedy}")
    return found


def _kinds(value: Any) -> Sequence[Any]:
    allowed = f"allowed: a list of some of {', '.join(KINDS)}"
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise SettingsError(CHECKS, f"a {type(value).__name__}", allowed)
    if unknown := [each for each in value if each not in KINDS]:
        raise SettingsError(CHECKS, repr(unknown[0]), allowed)
    return value
