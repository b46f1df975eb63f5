"""The user of a Django project, by its own sessions.

Our wrapper stands before Django's middleware, so the session is looked up here as `AuthenticationMiddleware` does it:
by the project's session engine and `django.contrib.auth.get_user`, which verifies the session's hash. Nothing is
written: a session is neither renewed nor ended by a probe, whose answer sets no cookie.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from http.cookies import CookieError
from importlib import import_module
from typing import Any

from tasker_health.access import PERMISSION, User
from tasker_health.access.credentials import MOST_CHARACTERS
from tasker_health.access.principal import Principal, Roles
from tasker_health.errors import AuthenticationError, ConfigurationError, SettingsError
from tasker_health.reasons import words_of
from tasker_health.request import Request
from tasker_health.settings import AuthSettings

HANDED = "django.request"
"""Key of the scope under which a view hands over Django's own request."""

_LONGEST_KEY = 128
"""Longest key of a session that is stored somewhere; Django's own have 32 characters."""


class DjangoAuthenticator:
    """Takes the user whom Django knows.

    `is_superuser` is an admin, `has_perm` the permission; groups named as roles of auth.roles have these as well. A
    user object that has `tasker_admin` and `has_tasker_permission` itself is taken as it is.

    It only blocks, so the gate calls it in a thread, with a deadline. All that is asked of the database is asked there.
    """

    challenge = 'Cookie realm="tasker_health"'

    def __init__(self, roles: Roles) -> None:
        from django.conf import settings

        self._roles = roles
        self._cookie = settings.SESSION_COOKIE_NAME
        self._store, self._stored = _reading_store(settings.SESSION_ENGINE)

    @classmethod
    def from_settings(cls, settings: AuthSettings) -> DjangoAuthenticator:
        """Return one that knows the roles of *settings*.

        Raises:
            ConfigurationError: Django is not installed or not configured, or keeps no users or sessions.
        """
        _require_django()
        return cls(Roles(settings.roles))

    def authenticate(self, request: Request) -> Any:
        """Return the user; `None`: nobody is logged in.

        Raises:
            AuthenticationError: The cookie of the session is malformed, or there are two.
        """
        from django.db import close_old_connections, connections

        handed = request.scope.get(HANDED) if isinstance(request.scope, Mapping) else None
        key = None if handed is not None else self._session_key(request)
        if handed is None and key is None:
            return None
        close_old_connections()
        try:
            return self._known(handed.user if handed is not None else self._user_of(key))
        finally:
            connections.close_all()  # those of this thread, which ends now

    def _session_key(self, request: Request) -> str | None:
        from django.http import parse_cookie

        found = set()
        for header in request.headers("cookie"):
            # Each by itself: of two of the same name Django takes the last, and a proxy in front perhaps the first.
            for pair in header.split(";"):
                try:
                    cookies = parse_cookie(pair)
                except CookieError:
                    raise AuthenticationError from None
                if self._cookie in cookies:
                    found.add(cookies[self._cookie])
        found.discard("")
        if not found:
            return None
        key: str = found.pop()
        longest = _LONGEST_KEY if self._stored else MOST_CHARACTERS
        # A store may break on other characters, a memory cache on blanks, a database on NUL: the caller's fault.
        if found or len(key) > longest or not key.isascii() or not key.isprintable() or " " in key:
            raise AuthenticationError
        return key

    def _user_of(self, key: str | None) -> Any:
        from django.contrib.auth import get_user
        from django.core.exceptions import SuspiciousOperation
        from django.http import HttpRequest

        request = HttpRequest()
        request.session = self._store(key)
        try:
            return get_user(request)
        except SuspiciousOperation:
            raise AuthenticationError from None

    def _known(self, user: Any) -> Any:
        if not user.is_authenticated:
            return None
        if isinstance(user, User):
            # Asked here once: what Django looks up for it is then known, and the event loop asks no database.
            user.tasker_admin()
            user.has_tasker_permission(PERMISSION)
            return user
        if not user.is_active:
            return Principal(user.get_username())
        permissions = set(user.get_all_permissions()) if hasattr(user, "get_all_permissions") else set()
        if hasattr(user, "has_perm") and user.has_perm(PERMISSION):  # a back end of the project's may say so alone
            permissions.add(PERMISSION)
        groups = list(user.groups.values_list("name", flat=True)) if hasattr(user, "groups") else []
        admin = getattr(user, "is_superuser", False) is True
        return self._roles.principal(user.get_username(), groups, permissions=permissions, admin=admin)


def _require_django() -> None:
    key, value = "auth.authenticator_class", "'django'"
    try:
        from django.apps import apps
        from django.conf import settings
    except ModuleNotFoundError:
        raise SettingsError(key, value, "Django is not installed: pip install 'tasker-health[django]'") from None
    if not settings.configured and not os.environ.get("DJANGO_SETTINGS_MODULE"):
        allowed = "Django is not configured: set DJANGO_SETTINGS_MODULE, or build Health after django.setup()"
        raise SettingsError(key, value, allowed)
    try:
        if not apps.ready:
            # Not django.setup(): it would also put the project's logging in place of ours.
            apps.populate(settings.INSTALLED_APPS)
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- settings and apps are modules of the user's
        raise ConfigurationError(
            f"{key} = {value}: the Django project does not load ({words_of(error)}); correct it, or PYTHONPATH"
        ) from None
    if not apps.is_installed("django.contrib.auth"):
        raise SettingsError(key, value, "the Django project has no users: add django.contrib.auth to INSTALLED_APPS")


def _reading_store(engine: str) -> tuple[type[Any], bool]:
    """Return the session store of *engine* without its writes, and whether it stores anything but the cookie.

    Raises:
        SettingsError: There is no such engine.
    """
    try:
        store = import_module(engine).SessionStore
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- it may be a module of the user's
        raise SettingsError("auth.authenticator_class", "'django'", f"SESSION_ENGINE: {words_of(error)}") from None
    from django.contrib.sessions.backends.signed_cookies import SessionStore as CookieStore

    # `get_user` gives a session that was signed with an old key a new name, which the browser would never hear of.
    writes = ("cycle_key", "flush", "save", "create", "delete", "acycle_key", "aflush", "asave", "acreate", "adelete")
    # By the same name: Django signs what it stores with that of the class.
    body = {**dict.fromkeys(writes, _nothing), "__qualname__": store.__qualname__}
    reading: type[Any] = type(store.__name__, (store,), body)
    return reading, not issubclass(store, CookieStore)


def _nothing(*_arguments: Any, **_options: Any) -> None:
    """Write nothing."""
