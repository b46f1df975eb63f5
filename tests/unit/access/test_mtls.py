"""Client certificates by a proxy's word: whose word, which word, and whose certificate."""

from __future__ import annotations

import asyncio
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import settings_of
from tasker_health.access import PERMISSION
from tasker_health.access.mtls import MtlsAuthenticator
from tasker_health.access.principal import Principal
from tasker_health.errors import AuthenticationError, SettingsError
from tasker_health.request import Request

SUBJECT = "CN=ops,O=Shop"
VERIFY, NAME = "x-client-verify", "x-client-subject"
PROXY = "10.1.2.3"


def settings(**changes):
    """Return settings of auth in which `ops` may read the status."""
    auth = {
        "authenticator_class": "mtls",
        "trusted_proxies": "10.0.0.0/8, ::1",
        "roles": {"reader": {"permissions": PERMISSION}},
        "mtls": {"callers": {"ops": {"subject": SUBJECT, "roles": "reader"}, "guest": {"subject": "/CN=guest"}}},
    }
    return settings_of(auth={**auth, **changes}).auth


def authenticator(**changes):
    """Return the authenticator of these settings."""
    return MtlsAuthenticator.from_settings(settings(**changes))


def ask(pairs, client=PROXY, *, folded=False, whom=None):
    """Return what the authenticator says of a request with the headers *pairs*."""
    headers = [(name.encode(), value.encode("latin-1")) for name, value in pairs]
    request = Request("GET", "/tasker/health/status", headers, client, folded=folded)
    return asyncio.run((whom or authenticator()).authenticate(request))


def test_the_verified_subject_is_the_caller():
    """With the roles that the settings give; another with none."""
    ops = ask([(VERIFY, "SUCCESS"), (NAME, SUBJECT)])
    assert (ops.name, ops.has_tasker_permission(PERMISSION), ops.tasker_admin()) == ("ops", True, False)
    assert not ask([(VERIFY, "SUCCESS"), (NAME, "/CN=guest")]).has_tasker_permission(PERMISSION)


@pytest.mark.parametrize("client", [PROXY, "::1", "::ffff:10.1.2.3"])
def test_a_trusted_proxy_is_believed(client):
    """Also where its IPv4 address is written as IPv6."""
    assert ask([(VERIFY, "SUCCESS"), (NAME, SUBJECT)], client).name == "ops"


@pytest.mark.parametrize("client", ["", "192.0.2.1", "11.0.0.1", "::2", "10.1.2.3, 192.0.2.1", "unix:/run/a", "10.1.2"])
@pytest.mark.parametrize("headers", [[(VERIFY, "SUCCESS"), (NAME, SUBJECT)], [(NAME, SUBJECT)], [(VERIFY, "NONE")]])
def test_nobody_else_is(client, headers, caplog):
    """Who carries one of the headers and is no proxy of ours is refused, and the log says who, once."""
    whom = authenticator()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            with pytest.raises(AuthenticationError):
                ask(headers, client, whom=whom)
    (record,) = [each for each in caplog.records if "auth.trusted_proxies" in each.getMessage()]
    assert (client or "without an address") in record.getMessage()
    assert SUBJECT not in record.getMessage()


@pytest.mark.parametrize("client", ["", "192.0.2.1", PROXY])
def test_without_the_headers_there_is_nobody(client):
    """Whoever asks."""
    assert ask([("authorization", "Bearer a")], client) is None


@pytest.mark.parametrize("headers", [[(VERIFY, "NONE")], [(VERIFY, "")], [(VERIFY, "NONE"), (NAME, "")], [(NAME, "")]])
def test_no_certificate_is_nobody(headers):
    """NONE is nginx's word, others send the header empty."""
    assert ask(headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        [(VERIFY, "FAILED:certificate has expired"), (NAME, SUBJECT)],
        [(VERIFY, "FAILED:unable to verify the first certificate"), (NAME, "")],
        [(VERIFY, "success"), (NAME, SUBJECT)],
        [(VERIFY, "SUCCESS "), (NAME, "CN=other")],
        [(VERIFY, "SUCCESS;"), (NAME, SUBJECT)],
        [(VERIFY, "NONE"), (NAME, SUBJECT)],
        [(VERIFY, ""), (NAME, SUBJECT)],
        [(NAME, SUBJECT)],
        [(VERIFY, "SUCCESS")],
        [(VERIFY, "SUCCESS"), (NAME, "")],
        [(VERIFY, "SUCCESS"), (NAME, "CN=other")],
        [(VERIFY, "SUCCESS"), (NAME, SUBJECT.lower())],
        [(VERIFY, "SUCCESS"), (NAME, f"{SUBJECT},OU=more")],
        [(VERIFY, "SUCCESS"), (NAME, "CN=ops")],
        [(VERIFY, "SUCCESS"), (NAME, f"{SUBJECT}\x00")],
        [(VERIFY, "SUCCESS"), (NAME, "CN=\xf6ps")],
        [(VERIFY, "SUCCESS"), (NAME, "C" * 9000)],
        [(VERIFY, "SUCCESS"), (VERIFY, "SUCCESS"), (NAME, SUBJECT)],
        [(VERIFY, "SUCCESS"), (NAME, SUBJECT), (NAME, SUBJECT)],
        [(VERIFY, "SUCCESS"), (NAME, "CN=other"), (NAME, SUBJECT)],
        [(VERIFY, "FAILED"), (VERIFY, "SUCCESS"), (NAME, SUBJECT)],
    ],
)
def test_anything_else_is_refused(headers):
    """Not valid, not known letter by letter, incomplete or sent twice."""
    with pytest.raises(AuthenticationError):
        ask(headers)


@pytest.mark.parametrize(
    "values", [("SUCCESS,SUCCESS", "/CN=guest"), ("SUCCESS", SUBJECT), ("FAILED,SUCCESS", "/CN=guest")]
)
def test_where_headers_are_folded_a_comma_is_a_second_one(values):
    """Behind WSGI `CN=ops` and a smuggled `O=Shop` would arrive as the subject of somebody else."""
    with pytest.raises(AuthenticationError):
        ask(zip((VERIFY, NAME), values, strict=True), folded=True)
    assert ask([(VERIFY, "SUCCESS"), (NAME, "/CN=guest")], folded=True).name == "guest"


@given(
    st.lists(st.tuples(st.sampled_from([VERIFY, NAME, "cookie"]), st.text(st.characters(max_codepoint=255)))),
    st.sampled_from([PROXY, "", "192.0.2.1", "x"]),
    st.booleans(),
)
def test_nothing_but_a_caller_nobody_or_a_refusal_comes_out(pairs, client, folded):
    """Whatever is sent, by whomever; and a caller only with the one word and the very subject."""
    try:
        caller = ask(pairs, client, folded=folded)
    except AuthenticationError:
        return
    assert caller is None or (isinstance(caller, Principal) and client == PROXY and (VERIFY, "SUCCESS") in pairs)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"trusted_proxies": ""}, "auth.authenticator_class"),
        ({"trusted_proxies": "10.0.0.0/8, 0.0.0.0/0"}, "auth.trusted_proxies"),
        ({"trusted_proxies": "::/0"}, "auth.trusted_proxies"),
        ({"mtls": {}}, "auth.authenticator_class"),
        ({"mtls": {"callers": {"a": {"subject": "CN=a", "roles": "none"}}}}, "auth.mtls.callers.a.roles"),
        ({"mtls": {"callers": {"a": {"subject": "CN=ä"}}}}, "auth.mtls.callers.a.subject"),
        ({"mtls": {"callers": {"a": {"subject": " CN=a"}}}}, "auth.mtls.callers.a.subject"),
        ({"mtls": {"callers": {"a": {"subject": "C" * 9000}}}}, "auth.mtls.callers.a.subject"),
        ({"mtls": {"callers": {"a": {"subject": "C"}, "b": {"subject": "C"}}}}, "auth.mtls.callers.b.subject"),
        (
            {"mtls": {"verify_header": "x-a-b", "subject_header": "x_a-b", "callers": {"a": {"subject": "C"}}}},
            "auth.mtls.subject_header",
        ),
    ],
)
def test_settings_that_would_let_somebody_in_or_nobody_do_not_start(changes, key):
    """The error names the key."""
    with pytest.raises(SettingsError) as raised:
        authenticator(**changes)
    assert raised.value.key == key
