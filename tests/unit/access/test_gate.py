"""The gate: the contract's table in every cell, and failing closed."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
import types

import pytest

from fakes import settings_of
from tasker_health.access import PERMISSION, BaseCoordinator
from tasker_health.access.faults import AccessFault
from tasker_health.access.gate import Gate
from tasker_health.access.hashing import digest_of
from tasker_health.access.principal import Principal
from tasker_health.access.roles import RolesCoordinator
from tasker_health.access.tokens import KnownToken, TokenAuthenticator
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


def giving(user):
    """Return an authenticator that answers *user* to everybody."""

    class Authenticator:
        def authenticate(self, request):
            return user

    return Authenticator()


@pytest.mark.parametrize("authorization", [False, True])
def test_a_user_that_lacks_the_two_methods_is_refused(authorization):
    """It is known, but may not, wherever somebody has to be known or permitted."""
    gate = gate_of(giving(Nameless()), Permissions, authentication=True, authorization=authorization)
    assert outcome(gate) == 403
    assert gate.problems() == []


@pytest.mark.parametrize("user", [False, True, "", "text", 7, {"anonymous": True}, [], print, lambda: None])
@pytest.mark.parametrize("authorization", [False, True])
def test_an_authenticator_that_answers_no_user_fails_closed(user, authorization):
    """A wrong type is a fault that the configuration check tells, never somebody who may pass."""
    gate = gate_of(giving(user), Permissions, authentication=True, authorization=authorization)
    assert outcome(gate) == 500
    assert gate.problems()


def test_an_async_authenticator_under_a_plain_decorator_is_awaited():
    """Its coroutine is not taken for a user: bad credentials stay bad."""

    class Decorated(HeaderAuthenticator):
        def authenticate(self, request):
            return super().authenticate(request)

    gate = gate_of(Decorated(), authentication=True)
    assert [outcome(gate, user) for user in ("bad", None, "known")] == [401, 401, 200]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()])
def test_what_would_end_the_application_is_a_fault_and_no_more(error):
    """An authenticator that raises it, async or not, gives 500."""

    class Async:
        async def authenticate(self, request):
            raise error

    class Sync:
        def authenticate(self, request):
            raise error

    assert [outcome(gate_of(each, authentication=True)) for each in (Async(), Sync())] == [500, 500]


def test_many_callers_at_once_are_no_fault():
    """A slow authenticator lets them wait for a thread; nobody is refused, and readiness hears nothing of it."""

    class Slow:
        def authenticate(self, request):
            time.sleep(0.02)
            return USERS["known"]

    async def flood():
        gate = gate_of(Slow(), authentication=True)
        await asyncio.gather(*(gate.admit(Request("GET", "/", [])) for _ in range(100)))
        return gate.problems()

    assert asyncio.run(flood()) == []


def test_a_constructor_that_hangs_does_not_hold_the_loop():
    """A coordinator that looks something up when it is made is given its deadline too."""
    release = threading.Event()

    class Coordinator(Permissions):
        def __init__(self, user):
            release.wait(30)
            super().__init__(user)

    gate = gate_of(HeaderAuthenticator(), Coordinator, authorization=True, timeout_seconds=0.05)

    async def scene():
        admitted = asyncio.create_task(gate.admit(Request("GET", "/", [])))
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(0)
        free = asyncio.get_running_loop().time() - began
        with pytest.raises(AccessFault):
            await admitted
        return free

    assert asyncio.run(scene()) < 10
    release.set()


def test_an_overridden_can_that_answers_a_word_does_not_permit():
    """Only `True` permits, whichever method the user overrides."""

    class Can(BaseCoordinator):
        async def can(self, resource, action, context=None):
            return "no"

    assert outcome(gate_of(HeaderAuthenticator(), Can, authorization=True), "admin") == 500


def test_a_fault_is_forgotten_after_a_while(monkeypatch):
    """One odd request does not keep this process out of service for ever."""
    gate = gate_of(giving("text"), authentication=True)
    assert outcome(gate) == 500
    assert gate.problems()
    now = time.monotonic()
    monkeypatch.setattr("tasker_health.access.faults.time.monotonic", lambda: now + 60)
    assert gate.problems() == []


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

    class Exits:
        def __init__(self):
            raise SystemExit(0)

    class Raises(HeaderAuthenticator):
        def validate_configuration(self):
            raise KeyError("x")

    class Says(HeaderAuthenticator):
        def validate_configuration(self):
            return "nok"

    wired.Exits, wired.Raises, wired.Says = Exits, Raises, Says
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
        ({}, {"authenticator_class": "wired.Exits"}, "cannot be made"),
        ({}, {"authenticator_class": "wired.Raises"}, "validate_configuration raised"),
        ({}, {"authenticator_class": "wired.Says"}, "must answer a list"),
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


def test_what_a_subclass_adds_to_authenticate_is_not_passed_over():
    """Who narrows an authenticator of ours is asked, though what it inherits could answer without waiting."""

    class FromInside(TokenAuthenticator):
        async def authenticate(self, request):
            if request.client != "10.0.0.1":
                raise AuthenticationError
            return await super().authenticate(request)

    known = KnownToken(digest_of("right"), Principal("ci", admin=True), None)
    gate = gate_of(FromInside([known], "x-api-key", leave_jwts=False), authentication=True)

    async def code(client):
        try:
            await gate.admit(Request("GET", "/", [(b"authorization", b"Bearer right")], client))
        except AuthenticationError:
            return 401
        return 200

    assert [asyncio.run(code(client)) for client in ("192.0.2.1", "10.0.0.1")] == [401, 200]


class Hanging(Somebody):
    """A user whose methods ask somebody who does not answer."""

    release = threading.Event()

    def tasker_admin(self):
        """Hang."""
        self.release.wait(30)
        return True


class HangingPrincipal(Principal):
    """The same, of a class that is derived from ours."""

    tasker_admin = Hanging.tasker_admin


class HangingAuthorize:
    """A coordinator of somebody's own, without our base."""

    def __init__(self, user):
        """Take the user and forget it."""

    def authorize(self, resource, action, context):
        """Hang."""
        Hanging.release.wait(30)


@pytest.mark.parametrize(
    ("user", "coordinator"),
    [(Hanging(), RolesCoordinator), (HangingPrincipal("x"), RolesCoordinator), (USERS["admin"], HangingAuthorize)],
)
def test_a_plain_method_that_hangs_holds_neither_the_loop_nor_the_gate_open(user, coordinator):
    """A user's own methods and a plain `authorize` have the deadline of everything else: late is never let in."""
    Hanging.release.clear()
    gate = gate_of(giving(user), coordinator, authentication=True, authorization=True, timeout_seconds=0.05)

    async def scene():
        admitted = asyncio.create_task(gate.admit(Request("GET", "/", [])))
        began = asyncio.get_running_loop().time()
        await asyncio.sleep(0)
        free = asyncio.get_running_loop().time() - began
        with pytest.raises(AccessFault):
            await admitted
        return free

    assert asyncio.run(scene()) < 10
    Hanging.release.set()


def test_to_be_shown_detail_a_user_has_the_deadline_too():
    """Without authorization the user is asked for detail only; one that hangs is a fault then as well."""
    Hanging.release.clear()
    gate = gate_of(giving(Hanging()), authentication=True, timeout_seconds=0.05)
    with pytest.raises(AccessFault):
        asyncio.run(gate.may_see_detail(Hanging()))
    Hanging.release.set()


def test_a_user_whose_methods_are_async_is_a_fault_and_not_a_riddle():
    """A coroutine is no answer: the operator hears of it, and nobody is refused without a word."""

    class Async:
        async def tasker_admin(self):
            return True

        async def has_tasker_permission(self, permission):
            return True

    gate = gate_of(giving(Async()), RolesCoordinator, authentication=True, authorization=True)
    assert outcome(gate) == 500
    assert "async" in gate.problems()[0]


def test_a_user_that_breaks_when_looked_at_is_a_fault():
    """A lazy object that cannot be resolved gives the named 500, is counted, and the configuration check tells it."""

    class Lazy(Somebody):
        @property
        def __class__(self):
            raise OSError("no database")

    class Authenticator:
        async def authenticate(self, request):
            return Lazy()

    gate = gate_of(Authenticator(), RolesCoordinator, authentication=True, authorization=True)
    assert outcome(gate) == 500
    assert gate.counts.faults == 1
    assert gate.problems()


class Slow(BaseCoordinator):
    """Takes a while, in a thread."""

    def authorized(self, resource, action, context):
        """Permit everybody, a little later."""
        time.sleep(0.02)
        return True


def test_many_callers_of_a_slow_coordinator_are_no_fault():
    """A crowd waits for threads: it is not refused, and it cannot turn the configuration check."""

    async def flood():
        gate = gate_of(coordinator=Slow, authorization=True)
        await asyncio.gather(*(gate.admit(Request("GET", "/", [])) for _ in range(60)))
        return gate.problems()

    assert asyncio.run(flood()) == []


def test_two_gates_share_the_threads_and_a_gate_outlives_its_loop():
    """Two applications in one process, and one that is started again, keep nobody out."""
    gates = [gate_of(coordinator=Slow, authorization=True) for _ in range(2)]

    async def flood():
        await asyncio.gather(*(gate.admit(Request("GET", "/", [])) for _ in range(20) for gate in gates))

    for _ in range(2):
        asyncio.run(flood())
    assert [gate.problems() for gate in gates] == [[], []]
