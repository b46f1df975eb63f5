"""The gate: the contract's table in every cell, and failing closed."""

from __future__ import annotations

import asyncio
import sys
import threading
import types

import pytest

from fakes import settings_of
from tasker_health.access import PERMISSION, BaseCoordinator
from tasker_health.access.gate import AccessFault, Gate
from tasker_health.errors import AuthenticationError, ConfigurationError, SettingsError, UnauthorizedError
from tasker_health.request import Request


class Somebody:
    """A user with or without the permission."""

    def __init__(self, *permissions: str, admin: bool = False) -> None:
        self.permissions = permissions
        self.admin = admin

    def tasker_admin(self) -> bool:
        """Return whether this is an admin."""
        return self.admin

    def has_tasker_permission(self, permission: str) -> bool:
        """Return whether this user has *permission*."""
        return permission in self.permissions


USERS = {"known": Somebody(), "permitted": Somebody(PERMISSION), "admin": Somebody(admin=True)}


class HeaderAuthenticator:
    """Takes the user's name from a header; `bad` is not valid."""

    async def authenticate(self, request):
        """Return the user of the header."""
        name = request.header("x-user")
        if name == "bad":
            raise AuthenticationError("canary in the text")
        return USERS.get(name)


class Permissions(BaseCoordinator):
    """Permits admins and who has the permission."""

    def authorized(self, resource, action, context):
        """Return whether the user may."""
        if self.user is None:
            return False
        return self.user.tasker_admin() or self.user.has_tasker_permission(f"{resource}:{action}")


def gate_of(authenticator=None, coordinator=None, *, authentication=False, authorization=False, timeout_seconds=30):
    """Return a gate with the switches set."""
    settings = settings_of(
        health={"status_requires_authentication": authentication},
        auth={
            "authentication_enabled": authentication,
            "authorization_enabled": authorization,
            "timeout_seconds": timeout_seconds,
        },
    )
    return Gate(settings, authenticator=authenticator, coordinator_class=coordinator)


def outcome(gate, user=None):
    """Return the code that the sender gets."""
    headers = [(b"x-user", user.encode())] if user else []
    try:
        asyncio.run(gate.admit(Request("GET", "/", headers)))
    except AuthenticationError:
        return 401
    except UnauthorizedError:
        return 403
    except AccessFault:
        return 500
    return 200


@pytest.mark.parametrize(
    ("authentication", "authorization", "codes"),
    [
        (False, False, {None: 200, "known": 200, "permitted": 200, "admin": 200, "bad": 401}),
        (True, False, {None: 401, "known": 200, "permitted": 200, "admin": 200, "bad": 401}),
        (True, True, {None: 401, "known": 403, "permitted": 200, "admin": 200, "bad": 401}),
        (False, True, {None: 403, "known": 403, "permitted": 200, "admin": 200, "bad": 401}),
    ],
)
def test_the_table_of_the_contract_holds(authentication, authorization, codes):
    """Every switch with every caller, an authenticator being configured throughout."""
    gate = gate_of(HeaderAuthenticator(), Permissions, authentication=authentication, authorization=authorization)
    assert {user: outcome(gate, user) for user in codes} == codes


def test_without_an_authenticator_credentials_are_not_looked_at():
    """Nothing configured: everybody passes, whatever they send, and the gate stands open."""
    gate = gate_of()
    assert gate.open
    assert outcome(gate, "bad") == 200


def test_the_base_coordinator_refuses_everybody():
    """Whoever forgets to override it locks the door, not opens it."""
    gate = gate_of(HeaderAuthenticator(), BaseCoordinator, authorization=True)
    assert [outcome(gate, user) for user in (None, "known", "permitted", "admin")] == [403] * 4


class Nameless:
    """A user that answers nothing."""


@pytest.mark.parametrize("user", [Nameless(), "text", 7, {"admin": True}])
def test_a_user_that_lacks_the_two_methods_is_refused(user):
    """It is known, but may not."""

    class Authenticator:
        def authenticate(self, request):
            return user

    assert outcome(gate_of(Authenticator(), Permissions, authentication=True, authorization=True)) == 403
    assert outcome(gate_of(Authenticator(), Permissions, authentication=True)) == 200


def answering(answer):
    """Return a coordinator that answers *answer*, or raises it."""

    class Coordinator(BaseCoordinator):
        def authorized(self, resource, action, context):
            if isinstance(answer, BaseException):
                raise answer
            return answer

    return Coordinator


@pytest.mark.parametrize("answer", [1, "yes", None, [], object(), ValueError("x"), SystemExit(0), KeyError("x")])
def test_a_coordinator_that_breaks_fails_closed(answer):
    """Only `True` permits and only `False` refuses; the rest is a fault that the configuration check tells."""
    gate = gate_of(HeaderAuthenticator(), answering(answer), authorization=True)
    assert outcome(gate, "admin") == 500
    assert len(gate.problems()) == 1


@pytest.mark.parametrize("asynchronous", [False, True])
def test_who_hangs_fails_closed_within_the_deadline(asynchronous):
    """An authenticator that hangs, async or not, is a fault; many of them hold a bounded number of threads."""
    release = threading.Event()

    class Sync:
        def authenticate(self, request):
            release.wait(30)

    class Async:
        async def authenticate(self, request):
            await asyncio.Event().wait()

    gate = gate_of(Async() if asynchronous else Sync(), authentication=True, timeout_seconds=0.02)
    before = threading.active_count()
    assert [outcome(gate, "admin") for _ in range(20)] == [500] * 20
    assert threading.active_count() - before <= 16
    release.set()


def test_a_fault_is_over_when_it_works_again():
    """The configuration check turns back without a restart."""
    broken = True

    class Authenticator:
        async def authenticate(self, request):
            if broken:
                raise RuntimeError("x")

    gate = gate_of(Authenticator())
    assert outcome(gate) == 500
    assert gate.problems()
    broken = False
    assert outcome(gate) == 200
    assert gate.problems() == []


@pytest.fixture
def module(monkeypatch):
    """A module `wired` with classes that fit and classes that do not."""
    wired = types.ModuleType("wired")

    class Misconfigured(HeaderAuthenticator):
        def validate_configuration(self):
            return ["no key file"]

    class Broken:
        def __init__(self):
            raise OSError("no such key")

    wired.Good, wired.Misconfigured, wired.Broken = HeaderAuthenticator, Misconfigured, Broken
    wired.Coordinator, wired.Nothing = Permissions, Nameless
    monkeypatch.setitem(sys.modules, "wired", wired)


@pytest.mark.parametrize(
    ("health", "auth", "words"),
    [
        ({"status_requires_authentication": True}, {}, "needs auth.authentication_enabled"),
        ({}, {"authentication_enabled": True}, "needs auth.authenticator_class"),
        ({}, {"authorization_enabled": True}, "needs auth.authorization_coordinator_class"),
        ({}, {"authenticator_class": "nothing.Here"}, "does not import"),
        ({}, {"authenticator_class": "word"}, "dotted path"),
        ({}, {"authenticator_class": "wired:None_such"}, "has no None_such"),
        ({}, {"authenticator_class": "wired:Nothing"}, "no authenticate"),
        ({}, {"authenticator_class": "wired.Misconfigured"}, "no key file"),
        ({}, {"authenticator_class": "wired.Broken"}, "cannot be made"),
        ({}, {"authorization_coordinator_class": "wired.Nothing"}, "no class with authorize"),
    ],
)
def test_what_cannot_work_does_not_start(module, health, auth, words):
    """A switch without what it needs, or a class that does not import or fit, is one line at start."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        Gate(settings_of(health=health, auth=auth))
    assert "\n" not in str(caught.value)


def test_classes_are_found_by_dotted_path(module):
    """Both spellings of a path load."""
    auth = {
        "authenticator_class": "wired:Good",
        "authorization_coordinator_class": "wired.Coordinator",
        "authorization_enabled": True,
    }
    gate = Gate(settings_of(auth=auth))
    assert [outcome(gate, user) for user in ("known", "permitted")] == [403, 200]


def test_a_missing_class_names_the_setting():
    """The error carries key and value for whoever reads it."""
    with pytest.raises(SettingsError) as caught:
        Gate(settings_of(auth={"authenticator_class": "nothing.Here"}))
    assert (caught.value.key, caught.value.value) == ("auth.authenticator_class", "'nothing.Here'")
