"""The user of a Starlette application, by its real middleware."""

from __future__ import annotations

import asyncio
import base64

import httpx
import pytest
from starlette.authentication import AuthCredentials, AuthenticationBackend, BaseUser, SimpleUser
from starlette.middleware.authentication import AuthenticationMiddleware

from fakes import settings_of
from tasker_health.access import PERMISSION
from tasker_health.access.principal import Roles
from tasker_health.access.starlette import StarletteAuthenticator
from tasker_health.health import Health
from tasker_health.request import Request

SETTINGS = {
    "auth": {
        "authentication_enabled": True,
        "authenticator_class": "starlette",
        "authorization_enabled": True,
        "authorization_coordinator_class": "roles",
        "roles": {"reader": {"permissions": PERMISSION}, "root": {"admin": True}},
    },
    "health": {"status_requires_authentication": True},
}


class OwnUser(BaseUser):
    """A user of the project's with a mind of its own."""

    is_authenticated = True

    def tasker_admin(self):
        """Return whether this is an admin."""
        return False

    def has_tasker_permission(self, permission):
        """Return whether this user has *permission*."""
        return permission == PERMISSION


class Nameless(BaseUser):
    """A user without a name, as the base class has it."""

    is_authenticated = True


class Backend(AuthenticationBackend):
    """Knows by HTTP Basic: the name says the scopes."""

    async def authenticate(self, conn):
        """Return credentials and user."""
        header = conn.headers.get("authorization")
        if header is None:
            return None
        name = base64.b64decode(header.split()[1]).decode().rpartition(":")[0]
        user = {"own": OwnUser(), "nameless": Nameless()}.get(name, SimpleUser(name))
        return AuthCredentials(name.split("+")), user


async def application(scope, receive, send):
    """Answer nothing."""


def ask(path, user=None, around=True):
    """Return the answer to *user*."""
    app = Health(settings_of(**SETTINGS)).asgi(application)
    if around:
        app = AuthenticationMiddleware(app, backend=Backend())

    async def scene():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://a") as client:
            return await client.get(f"/tasker/health/{path}", auth=(user, "x") if user else None)

    return asyncio.run(scene())


@pytest.mark.parametrize(
    ("user", "code"),
    [
        (None, 401),
        ("nobody", 403),
        ("authenticated+reader", 200),
        ("root", 200),
        (PERMISSION, 200),
        ("tasker.health_status:show", 403),
        ("Reader", 403),
        ("own", 200),
        ("nameless", 403),
    ],
)
def test_scopes_are_permissions_and_roles(user, code):
    """Nobody is 401, a user without either 403; the project's own user object answers for itself."""
    assert ask("status", user).status_code == code


def test_without_the_middleware_it_fails_closed():
    """A 500 that names no reason; readiness says that the configuration is at fault; live is live."""
    answer = ask("status", around=False)
    assert (answer.status_code, answer.json()["error"]) == (500, "Authentication Configuration Error")
    assert ask("live", around=False).status_code == 200


@pytest.mark.parametrize("scope", [None, {}, {"auth": 1}, {"REQUEST_METHOD": "GET"}])
def test_the_error_names_the_remedy(scope):
    """Also behind WSGI, where there is no such middleware."""
    authenticator = StarletteAuthenticator.from_settings(settings_of(**SETTINGS).auth)
    with pytest.raises(RuntimeError, match="AuthenticationMiddleware must stand around"):
        asyncio.run(authenticator.authenticate(Request("GET", "/", [], scope=scope)))


class Forgetful:
    """A user whose author forgot that it is a property."""

    def is_authenticated(self):
        """Return that nobody is."""
        return False


def authenticate(user, scopes=()):
    """Return what is said of *user*."""
    scope = {"user": user, "auth": AuthCredentials(scopes) if isinstance(scopes, tuple) else scopes}
    return asyncio.run(StarletteAuthenticator(Roles({})).authenticate(Request("GET", "/", [], scope=scope)))


def test_only_true_is_authenticated():
    """A method of that name is true for everybody, and so is not believed."""
    assert authenticate(Forgetful()) is None
    assert authenticate(None) is None
    assert authenticate(SimpleUser("ops")).name == "ops"


class WordyCredentials:
    """Credentials whose scopes are a word: each letter would be one."""

    scopes = "reader"


def test_scopes_that_are_no_list_fail_closed():
    """A word is not a list of letters."""
    with pytest.raises(TypeError):
        authenticate(SimpleUser("ops"), WordyCredentials())
    assert not authenticate(SimpleUser("ops"), None).has_tasker_permission(PERMISSION)
