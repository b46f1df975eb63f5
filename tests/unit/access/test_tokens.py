"""Bearer tokens and API keys: whose they are, and when they are not."""

from __future__ import annotations

import asyncio
import logging
import string
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canary import watch
from fakes import FakeClock, settings_of
from tasker_health.access import PERMISSION, tokens
from tasker_health.access.gate import Gate
from tasker_health.access.hashing import digest_of, new_token, stored_token
from tasker_health.access.principal import Principal
from tasker_health.access.tokens import KnownToken, TokenAuthenticator
from tasker_health.errors import AuthenticationError, SettingsError
from tasker_health.request import Request

TOKENS = {name: watch(new_token()) for name in ("reader", "nobody", "admin", "old")}
ROLES = {"reader": {"permissions": [PERMISSION]}, "chief": {"admin": True}}


def auth_of(**changes):
    """Return the group `auth` with a token for each of `TOKENS`, and *changes*."""
    group = {
        "authenticator_class": "tokens",
        "roles": ROLES,
        "tokens": {
            "reader": {"hash": stored_token(TOKENS["reader"]), "roles": ["reader"]},
            "nobody": {"hash": stored_token(TOKENS["nobody"])},
            "admin": {"hash": stored_token(TOKENS["admin"]), "roles": ["chief"]},
            "old": {"hash": stored_token(TOKENS["old"]), "roles": ["chief"], "expires": "2020-01-01T00:00:00Z"},
        },
    }
    return settings_of(auth={**group, **changes}).auth


def authenticator_of(**changes):
    """Return an authenticator made from `auth_of`."""
    return TokenAuthenticator.from_settings(auth_of(**changes))


def request_of(*headers):
    """Return a request with *headers*."""
    pairs = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return Request("GET", "/health/status", pairs, "192.0.2.1")


def ask(authenticator, *headers):
    """Return the name of the caller, or `None`, or the word refused."""
    told = ""
    try:
        caller = asyncio.run(authenticator.authenticate(request_of(*headers)))
    except AuthenticationError as error:
        told = str(error)
        caller = None
    # Why is said to the operator; what was sent, to nobody.
    assert not any(
        value.decode("latin-1")[-8:] in told for _, value in request_of(*headers).raw_headers if len(value) > 7
    )
    if told:
        return "refused"
    return caller and caller.name


def bearer(name):
    """Return the header with the token of *name*."""
    return ("Authorization", f"Bearer {TOKENS[name]}")


def test_a_token_is_known_in_either_header():
    """`Authorization: Bearer`, in any case of the scheme, or the header for API keys."""
    authenticator = authenticator_of()
    assert ask(authenticator, bearer("reader")) == "reader"
    assert ask(authenticator, ("Authorization", f"bEARER   {TOKENS['reader']} ")) == "reader"
    assert ask(authenticator, ("X-API-Key", TOKENS["nobody"])) == "nobody"
    assert ask(authenticator_of(api_key_header="X-Status-Key"), ("x-status-key", TOKENS["nobody"])) == "nobody"
    assert ask(authenticator_of(api_key_header="X-Status-Key"), ("x-api-key", TOKENS["nobody"])) is None


def test_without_a_token_nobody_is_known():
    """No header, or credentials of another kind, are none of ours."""
    assert ask(authenticator_of()) is None
    assert ask(authenticator_of(), ("Authorization", "Basic YTpi")) is None
    assert ask(authenticator_of(), ("Cookie", TOKENS["reader"])) is None


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Bearer tasker_wrong")],
        [("Authorization", "Bearer")],
        [("Authorization", "Bearer ")],
        [("X-API-Key", "")],
        [("X-API-Key", "tasker_wrong")],
        [bearer("reader"), bearer("reader")],
        [("X-API-Key", TOKENS["reader"]), ("X-API-Key", "tasker_wrong")],
        [("Authorization", f"Bearer {TOKENS['reader']}x")],
        [("Authorization", f"Bearer {TOKENS['reader'][:-1]}")],
        [("Authorization", f"Bearer {TOKENS['reader'].upper()}")],
        [("Authorization", f"Bearer {TOKENS['reader']}, Bearer {TOKENS['reader']}")],
        [("Authorization", "Bearer " + "a" * 9000)],
        [("Authorization", "Bearer t\u00f6ken")],
        [("Authorization", f"Bearer {stored_token(TOKENS['reader'])}")],  # the hash is no key
        [("X-API-Key", f"Bearer {TOKENS['reader']}")],
        [bearer("old")],
    ],
    ids=lambda headers: f"{len(headers)} of {headers[0][0]}",  # secrets stand in no name of a test
)
def test_credentials_that_are_bad_are_refused(headers):
    """Wrong, empty, sent twice, nearly right, too long, not ASCII, the hash itself, expired."""
    assert ask(authenticator_of(), *headers) == "refused"


def test_two_tokens_in_one_request_are_both_right_and_of_one_caller():
    """A proxy that adds its own key would otherwise lend its rights, or hide a wrong token."""
    authenticator = authenticator_of()
    assert ask(authenticator, bearer("reader"), ("X-API-Key", TOKENS["reader"])) == "reader"
    assert ask(authenticator, bearer("reader"), ("X-API-Key", TOKENS["admin"])) == "refused"
    assert ask(authenticator, bearer("reader"), ("X-API-Key", "tasker_wrong")) == "refused"
    assert ask(authenticator, ("Authorization", "Bearer tasker_wrong"), ("X-API-Key", TOKENS["reader"])) == "refused"
    assert ask(authenticator, bearer("old"), ("X-API-Key", TOKENS["reader"])) == "refused"


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("written", ["2030-06-01T12:00:00", "2030-06-01T12:00:00Z", "2030-06-01T14:00:00+02:00"])
def test_a_token_ends_at_its_moment_and_without_an_offset_that_is_utc(monkeypatch, zone, written):
    """To the second, whatever the time zone of the machine."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        auth = auth_of(tokens={"a": {"hash": stored_token(TOKENS["reader"]), "expires": written}})
        clock = FakeClock(datetime(2030, 6, 1, 12, tzinfo=UTC).timestamp() - 1)
        authenticator = TokenAuthenticator(tokens._known_tokens(auth), "x-api-key", leave_jwts=False, clock=clock)
        assert ask(authenticator, bearer("reader")) == "a"
        clock.move(1)
        assert ask(authenticator, bearer("reader")) == "refused"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_an_expired_token_is_told_at_start_by_its_name(caplog):
    """Or its caller would wonder for long."""
    with caplog.at_level(logging.WARNING):
        authenticator_of()
    assert [record.getMessage().split(";")[0] for record in caplog.records] == ["the token of old has expired"]


def test_roles_say_what_a_caller_may():
    """Permissions and admins by the roles in the settings; without a role, nothing."""
    authenticator = authenticator_of()
    found = {
        name: asyncio.run(authenticator.authenticate(request_of(bearer(name)))) for name in TOKENS if name != "old"
    }
    assert [name for name, caller in found.items() if caller.tasker_admin()] == ["admin"]
    assert [name for name, caller in found.items() if caller.has_tasker_permission(PERMISSION)] == ["reader"]


def test_beside_jwt_what_looks_like_one_is_left_to_it():
    """Alone, tokens judges every bearer value."""
    jwt = ("Authorization", "Bearer aaa.bbb.ccc")
    assert ask(authenticator_of(), jwt) == "refused"
    both = authenticator_of(authenticator_class="tokens,jwt")
    assert ask(both, jwt) is None
    assert ask(both, ("Authorization", "Bearer tasker_wrong")) == "refused"
    assert ask(both, bearer("reader")) == "reader"
    assert ask(both, jwt, ("X-API-Key", TOKENS["reader"])) == "reader"
    assert ask(both, jwt, ("X-API-Key", "aaa.bbb.ccc")) == "refused"


@pytest.mark.parametrize("verdict", [True, False])
def test_the_constant_time_comparison_decides_and_sees_every_token(monkeypatch, verdict):
    """By inspection of what it is asked: the digests, all of them, right or wrong, found or not."""
    authenticator = authenticator_of()
    asked = []

    def compare(one, two):
        asked.append((one, two))
        return verdict

    monkeypatch.setattr(tokens, "compare_digest", compare)
    expected = "refused" if not verdict else "last"
    authenticator._tokens = (*authenticator._tokens, KnownToken(b"x" * 32, Principal("last"), None))
    for sent in (TOKENS["reader"], "tasker_wrong"):
        asked.clear()
        assert ask(authenticator, ("Authorization", f"Bearer {sent}")) == expected
        assert [one for one, _ in asked] == [known.digest for known in authenticator._tokens]
        assert {two for _, two in asked} == {digest_of(sent)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tokens": {}}, ["auth.authenticator_class = 'tokens'", "auth.tokens", "token create"]),
        ({"tokens": {"grafana": {"hash": TOKENS["reader"]}}}, ["auth.tokens.grafana.hash = '***'", "token hash"]),
        (
            {"tokens": {"grafana": {"hash": stored_token("x"), "roles": ["boss"]}}},
            ["auth.tokens.grafana.roles = 'boss'", "reader, chief"],
        ),
        (
            {"tokens": {name: {"hash": stored_token(TOKENS["reader"])} for name in ("one", "two")}},
            ["auth.tokens.two.hash = '***'", "auth.tokens.one", "of its own"],
        ),
        ({"api_key_header": "Authorization"}, ["auth.api_key_header", "other than"]),
    ],
)
def test_settings_that_cannot_work_do_not_start(changes, words):
    """No token, no hash, no such role, one token for two, one header for both: key and remedy, never the value."""
    with pytest.raises(SettingsError) as caught:
        Gate(settings_of(auth={**auth_of().model_dump(), "tokens": raw_tokens(), **changes}))
    for word in words:
        assert word in str(caught.value)
    assert TOKENS["reader"] not in str(caught.value)


def raw_tokens():
    """Return one good token of the settings."""
    return {"reader": {"hash": stored_token(TOKENS["reader"]), "roles": ["reader"]}}


def test_the_gate_finds_it_by_name_and_tells_its_challenge():
    """`auth.authenticator_class = "tokens"`."""
    gate = Gate(settings_of(auth={**auth_of().model_dump(), "tokens": raw_tokens()}))
    assert gate.challenges == ['Bearer realm="tasker_health"']
    assert asyncio.run(gate.identify(request_of(bearer("reader")))).name == "reader"


VALUES = st.one_of(
    st.text(st.characters(max_codepoint=255), max_size=80),
    st.sampled_from(
        [f"Bearer {TOKENS['reader']}", TOKENS["reader"], TOKENS["old"], "Bearer", "Basic x", "Bearer a.b.c"]
    ),
    st.text(string.printable, max_size=20).map("Bearer ".__add__),
)


@given(
    headers=st.lists(st.tuples(st.sampled_from(["authorization", "x-api-key", "cookie"]), VALUES), max_size=4),
    authenticator=st.sampled_from([authenticator_of(), authenticator_of(authenticator_class="tokens,jwt")]),
)
def test_whatever_is_sent_is_a_caller_nobody_or_refused(headers, authenticator):
    """And a caller only for a right token."""
    answer = ask(authenticator, *headers)
    assert answer in {"reader", None, "refused"}
    if answer == "reader":
        assert any(TOKENS["reader"] in value for _, value in headers)
