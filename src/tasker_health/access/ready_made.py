"""From settings to authenticators and a coordinator: ours by name, users' own by dotted path."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from tasker_health.access import Authenticator
from tasker_health.dotted import load_dotted
from tasker_health.errors import ConfigurationError, SettingsError
from tasker_health.reasons import words_of
from tasker_health.redaction import redacted
from tasker_health.request import Request
from tasker_health.settings import AuthSettings

AUTHENTICATORS = {
    "tokens": "tasker_health.access.tokens:TokenAuthenticator",
    "basic": "tasker_health.access.basic:BasicAuthenticator",
    "jwt": "tasker_health.access.jwt:JwtAuthenticator",
    "mtls": "tasker_health.access.mtls:MtlsAuthenticator",
    "django": "tasker_health.access.django:DjangoAuthenticator",
    "starlette": "tasker_health.access.starlette:StarletteAuthenticator",
}
COORDINATORS = {"roles": "tasker_health.access.roles:RolesCoordinator"}

_AUTHENTICATOR, _COORDINATOR = "auth.authenticator_class", "auth.authorization_coordinator_class"


def authenticators_of(settings: AuthSettings) -> list[Authenticator]:
    """Return the authenticators that *settings* name, in their order.

    A class that has `from_settings(settings)` is made by it, as ours are; any other without arguments.

    Raises:
        ConfigurationError: One does not import or fit, or says itself what is wrong with it.
    """
    named = settings.authenticator_class
    if twice := [path for path in named if named.count(path) > 1]:
        raise SettingsError(_AUTHENTICATOR, repr(twice[0]), "is named twice; name it once")
    _require_readers(settings)
    return [_authenticator(path, settings) for path in named]


def _require_readers(settings: AuthSettings) -> None:
    """Refuse settings that nothing reads: they look as if they kept somebody out.

    A class of somebody's own may read whatever it likes.
    """
    if any(path not in AUTHENTICATORS for path in settings.authenticator_class):
        return
    given = {"tokens": settings.tokens, "basic": settings.users, "jwt": settings.jwt, "mtls": settings.mtls.callers}
    keys = {"tokens": "tokens", "basic": "users", "jwt": "jwt", "mtls": "mtls.callers"}
    for name, group in given.items():
        if group and name not in settings.authenticator_class:
            raise SettingsError(f"auth.{keys[name]}", "set", f"nothing reads it; add {name} to {_AUTHENTICATOR}")


def coordinator_class_of(settings: AuthSettings) -> type[Any] | None:
    """Return the class of the coordinator that *settings* name, if they do.

    Raises:
        ConfigurationError: It does not import or fit.
    """
    path = settings.authorization_coordinator_class
    if path is None:
        return None
    found = load_dotted(COORDINATORS.get(path, path), _COORDINATOR)
    if not (isinstance(found, type) and callable(getattr(found, "authorize", None))):
        raise SettingsError(_COORDINATOR, repr(path), "is no class with authorize; inherit BaseCoordinator")
    return found


def fitting(authenticator: Any, value: str = "") -> Authenticator:
    """Return *authenticator* when it is one that can work; *value* is what named it.

    Raises:
        ConfigurationError: It does not fit, or says itself what is wrong with it.
    """
    value = value or type(authenticator).__name__
    if not isinstance(authenticator, Authenticator):
        raise SettingsError(_AUTHENTICATOR, value, "has no authenticate(request); give it one")
    problems = _problems_of(authenticator)
    if problems:
        raise ConfigurationError(f"{_AUTHENTICATOR} = {value}: {redacted('; '.join(problems))}")
    return authenticator


def at_once_of(authenticator: Any) -> Callable[[Request], Any] | None:
    """Return the `at_once` of *authenticator*, unless it has an `authenticate` that was written without regard to that.

    A subclass of ours that looks at more in its own `authenticate` must be asked: what it inherits knows less.
    """
    of_instance = getattr(authenticator, "__dict__", {})
    for names in (of_instance, *(vars(each) for each in type(authenticator).__mro__)):
        if "at_once" in names:
            found: Callable[[Request], Any] = authenticator.at_once
            return found
        if "authenticate" in names:
            return None
    return None


def _authenticator(path: str, settings: AuthSettings) -> Authenticator:
    found = load_dotted(AUTHENTICATORS.get(path, path), _AUTHENTICATOR)
    try:
        if hasattr(found, "from_settings"):
            made = found.from_settings(settings)
        else:
            made = found() if isinstance(found, type) else found
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- a constructor of the user's may raise anything
        raise SettingsError(_AUTHENTICATOR, repr(path), f"cannot be made: {words_of(error)}") from None
    return fitting(made, repr(path))


def _problems_of(authenticator: Any) -> list[str]:
    """Return what the authenticator says is wrong with it; one that cannot say it is wrong too."""
    validate = getattr(authenticator, "validate_configuration", None)
    if validate is None:
        return []
    try:
        problems = validate()
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- as above
        return [f"validate_configuration raised {words_of(error)}"]
    if isinstance(problems, list) and all(isinstance(each, str) for each in problems):
        return [" ".join(each.split()) for each in problems]
    if inspect.iscoroutine(problems):
        problems.close()
    return [f"validate_configuration answered {type(problems).__name__}; it must answer a list of str, not async"]
