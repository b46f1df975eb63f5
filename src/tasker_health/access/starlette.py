"""The user of a Starlette or FastAPI application: what its own `AuthenticationMiddleware` has put into the scope."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tasker_health.access import User
from tasker_health.access.principal import Roles
from tasker_health.request import Request
from tasker_health.settings import AuthSettings


class StarletteAuthenticator:
    """Takes `scope["user"]`; the scopes of `scope["auth"]` are permissions, and roles by the names of auth.roles.

    A user object that has `tasker_admin` and `has_tasker_permission` itself is taken as it is.
    """

    def __init__(self, roles: Roles) -> None:
        self._roles = roles

    @classmethod
    def from_settings(cls, settings: AuthSettings) -> StarletteAuthenticator:
        """Return one that knows the roles of *settings*."""
        return cls(Roles(settings.roles))

    async def authenticate(self, request: Request) -> Any:
        """Return the user whom the middleware around us knows; `None`: nobody.

        Raises:
            RuntimeError: There is no such middleware around us.
        """
        scope = request.scope
        if not isinstance(scope, Mapping) or "user" not in scope:
            raise RuntimeError(
                "no user in the scope: Starlette's AuthenticationMiddleware must stand around health.asgi(app)"
            )
        user = scope["user"]
        # Only True: a method of that name, which somebody forgot to make a property, would be true for everybody.
        if user is None or user.is_authenticated is not True:
            return None
        if isinstance(user, User):
            return user
        scopes = _scopes(scope.get("auth"))
        return self._roles.principal(_name(user), scopes, permissions=scopes)


def _scopes(credentials: Any) -> list[str]:
    scopes = getattr(credentials, "scopes", ())
    if isinstance(scopes, str) or not isinstance(scopes, Iterable):
        raise TypeError(f"the scopes of the credentials are {type(scopes).__name__}, not a list of str")
    return [scope for scope in scopes if isinstance(scope, str)]


def _name(user: Any) -> str:
    try:
        return str(user.display_name)
    except (AttributeError, NotImplementedError):
        return type(user).__name__
