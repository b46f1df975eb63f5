"""HTTP Basic: names and passwords, and that guessing them is slow for the guesser alone."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import string
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary import secret
from fakes import settings_of
from loop import in_loop
from tasker_health.access import PERMISSION, hashing
from tasker_health.access.basic import BasicAuthenticator, KnownUser
from tasker_health.access.faults import AccessFault
from tasker_health.access.gate import Gate
from tasker_health.access.hashing import PasswordHash
from tasker_health.access.principal import Principal
from tasker_health.access.turns import BusyError
from tasker_health.errors import AuthenticationError, SettingsError
from tasker_health.request import Request

PATIENCE_SECONDS = 30
PASSWORD, OTHER = secret("password"), secret("other-password")
STORED = PasswordHash.of(PASSWORD).stored


def quick(password, n=2):
    """Return a hash of *password* that costs a test nothing."""
    return PasswordHash(n, 1, 1, b"salt", hashlib.scrypt(password.encode(), salt=b"salt", n=n, r=1, p=1, dklen=32))


def authenticator_of(*, patience_seconds=PATIENCE_SECONDS, proxies=()):
    """Return an authenticator that knows ada and bob."""
    users = {"ada": KnownUser(quick(PASSWORD), Principal("ada")), "bob": KnownUser(quick(OTHER), Principal("bob"))}
    return BasicAuthenticator(users, proxies, patience_seconds)


def encoded(text):
    """Return *text* (or bytes) in base64."""
    return base64.b64encode(text if isinstance(text, bytes) else text.encode()).decode()


def request_of(*values, client="192.0.2.1"):
    """Return a request with *values* of the header Authorization."""
    return Request("GET", "/", [(b"authorization", value.encode("latin-1")) for value in values], client)


def login(name, password, client="192.0.2.1"):
    """Return a request of *name* with *password*."""
    return request_of(f"Basic {encoded(f'{name}:{password}')}", client=client)


async def ask(authenticator, request):
    """Return the name of the caller, `None`, or the word refused."""
    told = ""
    try:
        caller = await authenticator.authenticate(request)
    except AuthenticationError as error:
        told = str(error)
        caller = None
    # Why is said to the operator; what was sent, to nobody.
    assert not any(value.decode("latin-1")[-8:] in told for _, value in request.raw_headers if len(value) > 7)
    if told:
        return "refused"
    return caller and caller.name


class Slow:
    """scrypt in slow motion: each call of `matches` waits until the test lets it go on.

    Attributes:
        begun: How many have begun.
        most: How many ran at once at most.
    """

    def __init__(self, monkeypatch):
        self.begun = self.most = self._running = 0
        self.go_on = threading.Event()
        self._lock = threading.Lock()
        matches = PasswordHash.matches

        def slowly(stored, password):
            with self._lock:
                self.begun += 1
                self._running += 1
                self.most = max(self.most, self._running)
            assert self.go_on.wait(PATIENCE_SECONDS)
            with self._lock:
                self._running -= 1
            return matches(stored, password)

        monkeypatch.setattr(PasswordHash, "matches", slowly)


@pytest.fixture
def slow(monkeypatch):
    """Scrypt that waits; let go at the end."""
    waiting = Slow(monkeypatch)
    yield waiting
    waiting.go_on.set()


async def until(condition):
    """Wait until *condition* holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.002)


@in_loop
async def test_a_user_is_known_by_name_and_password():
    """In any case of the scheme; nobody without, and nobody by credentials of another kind."""
    authenticator = authenticator_of()
    assert await ask(authenticator, login("ada", PASSWORD)) == "ada"
    assert await ask(authenticator, request_of(f"bASIC  {encoded(f'bob:{OTHER}')}")) == "bob"
    assert await ask(authenticator, request_of()) is None
    assert await ask(authenticator, request_of("Bearer abc")) is None


@pytest.mark.parametrize(
    "values",
    [
        ["Basic"],
        ["Basic "],
        ["Basic !"],
        ["Basic YWRh"],  # no colon
        [f"Basic {encoded(f'ada:{PASSWORD}')[:8]}!{encoded(f'ada:{PASSWORD}')[8:]}"],
        [f"Basic {encoded(':')}"],
        [f"Basic {encoded(f'ada:{OTHER}')}"],
        [f"Basic {encoded(f'ada:{PASSWORD}x')}"],
        [f"Basic {encoded('ada:')}"],
        [f"Basic {encoded(f'Ada:{PASSWORD}')}"],
        [f"Basic {encoded(f'eve:{PASSWORD}')}"],
        [f"Basic {encoded(f'ada:{PASSWORD}') * 2}"],
        [f"Basic {encoded(b'ada:' + bytes([0xFF, 0xFE]))}"],  # not UTF-8
        [f"Basic {encoded(f'ada:{PASSWORD}') + chr(0xE4)}"],
        [f"Basic {encoded(f'ada:{PASSWORD}' + chr(0))}"],
        [f"Basic {encoded(f'ada:{PASSWORD}' + chr(10))}"],
        [f"Basic {encoded('ada:' + 'x' * 9000)}"],
        [f"Basic {encoded(f'ada:{PASSWORD}')}"] * 2,
        [f"Basic {encoded(f'ada:{PASSWORD}')}", "Bearer x"],
    ],
    ids=lambda values: str(len(values)) + values[0][:8],
)
@in_loop
async def test_credentials_that_are_bad_are_refused(values):
    """Malformed, wrong, of a name that is not known, sent twice, with control characters."""
    assert await ask(authenticator_of(), request_of(*values)) == "refused"


@in_loop
async def test_a_password_may_have_colons_and_any_letters():
    """RFC 7617: the first colon ends the name; UTF-8, and the same accent however it is typed."""
    users = {"ada": KnownUser(quick("caf\u00e9:\u4e16:x"), Principal("ada"))}
    authenticator = BasicAuthenticator(users, (), PATIENCE_SECONDS)
    assert await ask(authenticator, login("ada", "caf\u00e9:\u4e16:x")) == "ada"
    assert await ask(authenticator, login("ada", "cafe\u0301:\u4e16:x")) == "ada"


@in_loop
async def test_an_unknown_name_costs_the_same_scrypt_as_a_wrong_password(monkeypatch):
    """Same parameters, same number of calls; and a decoy lets nobody in, not even with the password it is made from."""
    asked = []
    scrypt = hashing._scrypt

    def count(password, n, r, p, salt, length):
        asked.append((n, r, p, len(salt), length))
        return scrypt(password, n, r, p, salt, length)

    monkeypatch.setattr(hashing, "_scrypt", count)
    only_ada = BasicAuthenticator({"ada": KnownUser(quick(PASSWORD, 64), Principal("ada"))}, (), PATIENCE_SECONDS)
    costs = {}
    for name, password in [
        ("ada", "wrong"),
        ("eve", "wrong"),
        ("eve", PASSWORD),
        ("", PASSWORD),
        ("x" * 999, PASSWORD),
    ]:
        asked.clear()
        assert await ask(only_ada, login(name, password)) == "refused"
        costs[name, password] = list(asked)
    assert set(map(str, costs.values())) == {"[(64, 1, 1, 4, 32)]"}


@in_loop
async def test_among_users_of_unlike_cost_an_unknown_name_has_always_the_cost_of_one_of_them(monkeypatch):
    """Otherwise the second attempt, or the one cost that no user has, would tell."""
    asked = []
    scrypt = hashing._scrypt
    monkeypatch.setattr(hashing, "_scrypt", lambda *given: asked.append(given[1]) or scrypt(*given))
    users = {str(n): KnownUser(quick(PASSWORD, n), Principal(str(n))) for n in (2, 4)}
    authenticator = BasicAuthenticator(users, (), PATIENCE_SECONDS)
    seen = set()
    for name in [f"eve{number}" for number in range(40)]:
        asked.clear()
        for _ in range(2):
            await ask(authenticator, login(name, "wrong"))
        assert len(set(asked)) == 1
        seen |= set(asked)
    assert seen == {2, 4}


@in_loop
async def test_what_was_right_is_not_verified_again(slow):
    """Nor is it for those who sent the same while it was verified: six panels of a dashboard cost one scrypt."""
    authenticator = authenticator_of()
    panels = [asyncio.ensure_future(ask(authenticator, login("ada", PASSWORD))) for _ in range(6)]
    await until(lambda: slow.begun)
    slow.go_on.set()
    assert await asyncio.gather(*panels) == ["ada"] * 6
    assert slow.begun == 1
    assert await ask(authenticator, login("ada", PASSWORD, "192.0.2.77")) == "ada"
    assert slow.begun == 1
    assert await ask(authenticator, login("ada", "wrong")) == "refused"
    assert await ask(authenticator, login("ada", "wrong")) == "refused"
    assert slow.begun == 3


@in_loop
async def test_a_flood_from_one_address_keeps_no_honest_caller_out(slow):
    """Ten wrong passwords at once from one address: another one's right password still has its turn at once."""
    authenticator = authenticator_of()
    flood = [asyncio.ensure_future(ask(authenticator, login("ada", f"wrong{n}", "203.0.113.9"))) for n in range(10)]
    await until(lambda: slow.begun == 1)
    honest = asyncio.ensure_future(ask(authenticator, login("ada", PASSWORD, "192.0.2.1")))
    await until(lambda: slow.begun == 2)
    assert not any(each.done() for each in flood)
    slow.go_on.set()
    assert await honest == "ada"
    assert set(await asyncio.gather(*flood)) == {"refused"}
    assert slow.most == 2


@in_loop
async def test_a_flood_from_many_addresses_that_failed_keeps_no_honest_caller_out(slow):
    """They have one turn among them."""
    authenticator = authenticator_of()
    addresses = [f"203.0.113.{number}" for number in range(8)]
    slow.go_on.set()
    for address in addresses:
        assert await ask(authenticator, login("ada", "wrong", address)) == "refused"
    slow.go_on.clear()
    begun = slow.begun
    flood = [asyncio.ensure_future(ask(authenticator, login("eve", "wrong", address))) for address in addresses]
    await until(lambda: slow.begun == begun + 1)
    honest = asyncio.ensure_future(ask(authenticator, login("ada", PASSWORD)))
    await until(lambda: slow.begun == begun + 2)
    slow.go_on.set()
    assert await honest == "ada"
    await asyncio.gather(*flood)


@in_loop
async def test_behind_a_proxy_that_is_named_callers_have_addresses_of_their_own(slow):
    """Or a flood through the proxy would be everybody's."""
    auth = settings_of(auth={"trusted_proxies": "10.0.0.0/8"}).auth
    authenticator = authenticator_of(proxies=auth.trusted_proxies)

    def through_proxy(password, address):
        request = login("ada", password, "10.0.0.1")
        request.raw_headers = [*request.raw_headers, (b"x-forwarded-for", address.encode())]
        return asyncio.ensure_future(ask(authenticator, request))

    flood = [through_proxy("wrong", "203.0.113.9") for _ in range(5)]
    await until(lambda: slow.begun == 1)
    honest = through_proxy(PASSWORD, "198.51.100.1")
    await until(lambda: slow.begun == 2)
    slow.go_on.set()
    assert await honest == "ada"
    await asyncio.gather(*flood)


@in_loop
async def test_threads_of_those_who_left_still_count(slow):
    """A caller may go; the thread cannot be ended, so its turn lasts until it returns."""
    authenticator = authenticator_of()
    for number in range(5):
        task = asyncio.ensure_future(ask(authenticator, login("ada", "wrong", f"192.0.2.{number}")))
        for _ in range(20):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    slow.go_on.set()
    assert await ask(authenticator, login("ada", PASSWORD, "192.0.2.9")) == "ada"
    assert (slow.begun, slow.most) == (3, 2)


@in_loop
async def test_who_waits_in_vain_is_told_before_the_gate_takes_it_for_a_fault(slow):
    """It is nobody's fault: the request gets a 500, and the check `configuration` stays well."""
    settings = settings_of(
        auth={
            "authentication_enabled": True,
            "authenticator_class": "basic",
            "timeout_seconds": 0.5,
            "users": {"ada": {"password_hash": STORED}},
        },
        health={"status_requires_authentication": True},
    )
    gate = Gate(settings)
    flood = [asyncio.ensure_future(gate.admit(login("ada", PASSWORD, f"192.0.2.{number}"))) for number in range(8)]
    answers = await asyncio.gather(*flood, return_exceptions=True)
    assert {type(answer) for answer in answers} == {AccessFault}
    assert gate.problems() == []


@in_loop
async def test_an_address_that_fails_and_has_no_turn_in_time_is_refused_as_one_that_failed(slow):
    """So that the limiter slows it and the log is not its to fill; one that did not fail is told that we are busy."""
    authenticator = authenticator_of(patience_seconds=0.3)
    authenticator._turns.failed("203.0.113.9")
    assert await ask(authenticator, login("ada", "wrong", "203.0.113.9")) == "refused"
    with pytest.raises(BusyError):
        await authenticator.authenticate(login("ada", PASSWORD, "192.0.2.1"))


@in_loop
async def test_a_right_password_that_took_too_long_is_remembered_for_the_next_attempt(slow):
    """A machine that is short of time lets its callers in at last."""
    authenticator = authenticator_of(patience_seconds=0.3)
    with pytest.raises(BusyError):
        await authenticator.authenticate(login("ada", PASSWORD))
    slow.go_on.set()
    await until(lambda: authenticator._remembered._callers)
    assert await ask(authenticator, login("ada", PASSWORD)) == "ada"
    assert slow.begun == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["auth.authenticator_class = 'basic'", "auth.users", "token password"]),
        ({"users": {"ada": {"password_hash": PASSWORD}}}, ["auth.users.ada.password_hash = '***'", "token password"]),
        ({"users": {"ada": {"password_hash": STORED, "roles": ["boss"]}}}, ["auth.users.ada.roles = 'boss'", "none"]),
    ],
)
def test_settings_that_cannot_work_do_not_start(changes, words):
    """No user, no hash, no such role: key and remedy, never the value."""
    with pytest.raises(SettingsError) as caught:
        Gate(settings_of(auth={"authenticator_class": "basic", **changes}))
    for word in words:
        assert word in str(caught.value)
    assert PASSWORD not in str(caught.value)


@in_loop
async def test_the_gate_finds_it_by_name_and_tells_its_challenge():
    """`auth.authenticator_class = "basic"`, with real scrypt, roles and permissions."""
    roles = {"reader": {"permissions": [PERMISSION]}}
    users = {"ada": {"password_hash": STORED, "roles": ["reader"]}}
    gate = Gate(
        settings_of(auth={"authenticator_class": "basic", "users": users, "roles": roles, "timeout_seconds": 30})
    )
    assert gate.challenges == ['Basic realm="tasker_health", charset="UTF-8"']
    caller = await gate.identify(login("ada", PASSWORD))
    assert caller.has_tasker_permission(PERMISSION)
    with pytest.raises(AuthenticationError):
        await gate.identify(login("ada", OTHER))


VALUES = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=60),
    st.text(string.printable, max_size=40).map("Basic ".__add__),
    st.binary(max_size=60).map(lambda value: f"Basic {encoded(value)}"),
    st.text(max_size=30).map(lambda value: f"Basic {encoded(value.encode('utf-8', 'replace'))}"),
    st.just(f"Basic {encoded(f'ada:{PASSWORD}')}"),
)


@given(st.lists(VALUES, max_size=2))
def test_whatever_is_sent_is_a_caller_nobody_or_refused(values):
    """And a caller only for the right password."""
    answer = asyncio.run(ask(authenticator_of(), request_of(*values)))
    assert answer in {"ada", None, "refused"}
    assert answer != "ada" or encoded(f"ada:{PASSWORD}") in values[0]
