"""The authenticator `jwt`: what is let through, what is refused, and that nothing else ever comes out."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

import canary
from certificates import Authority
from fakes import settings_of
from issuer import (
    ASYMMETRIC,
    SECRET,
    SYMMETRIC,
    asking,
    claims,
    document,
    encoded,
    jwk,
    pem,
    private_key,
    token,
)
from tasker_health.access import PERMISSION
from tasker_health.access.jwks_url import keys_of_url
from tasker_health.access.jwt import JwtAuthenticator
from tasker_health.access.principal import Principal
from tasker_health.access.ready_made import authenticators_of
from tasker_health.errors import AuthenticationError, ConfigurationError, SettingsError
from tasker_health.request import Request

ROLES = {"reader": {"permissions": [PERMISSION]}, "chief": {"admin": True}}
QUICK_SECONDS = 5


def authenticator_of(*, authenticator_class="jwt", **changes):
    """Return an authenticator of RS256 with the issuer's first key, or as *changes* say; `None`: without."""
    given_ = {"algorithms": "RS256", "key": pem("RS256"), **changes}
    group = {name: value for name, value in given_.items() if value is not None}
    settings = settings_of(auth={"authenticator_class": authenticator_class, "jwt": group, "roles": ROLES})
    return JwtAuthenticator.from_settings(settings.auth)


def who(authenticator, value, *more):
    """Return whom the token *value* stands for."""
    return asyncio.run(authenticator.authenticate(asking(value, *more)))


def refused(authenticator, value, *more):
    """Return whether *value* is refused, at once and for the reason that it is bad."""
    began = time.monotonic()
    with pytest.raises(AuthenticationError) as caught:
        who(authenticator, value, *more)
    assert time.monotonic() - began < QUICK_SECONDS
    assert not value or value not in str(caught.value)
    return True


@pytest.fixture(scope="module")
def authenticator():
    """An authenticator of RS256 with the issuer's first key."""
    return authenticator_of()


@pytest.fixture
def with_set(tmp_path):
    """Make an authenticator of a file with some keys."""

    def make(*keys, **changes):
        file = tmp_path / "jwks.json"
        file.write_bytes(document(*keys))
        return authenticator_of(key=None, jwks_file=str(file), **changes)

    return make


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_each_algorithm_of_a_public_key_verifies(algorithm):
    """What the issuer's key has signed passes; the same by another key of that kind does not."""
    authenticator = authenticator_of(algorithms=algorithm, key=pem(algorithm))
    assert who(authenticator, token(algorithm)).has_tasker_permission(PERMISSION)
    assert refused(authenticator, token(algorithm, number=1))


@pytest.mark.parametrize("algorithm", SYMMETRIC)
def test_each_algorithm_of_a_shared_secret_verifies(algorithm):
    """What the secret has signed passes; the same by another secret does not."""
    authenticator = authenticator_of(algorithms=algorithm, key=SECRET)
    assert who(authenticator, token(algorithm)).name == "ops"
    assert refused(authenticator, token(algorithm, key=b"?" * 64))


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_each_algorithm_verifies_with_a_set_of_keys(algorithm, with_set):
    """`kid` selects the key of the set; the key of another `kid` does not verify."""
    authenticator = with_set(jwk(algorithm, "old", 1), jwk(algorithm, "new"), algorithms=algorithm)
    assert who(authenticator, token(algorithm, kid="new")).name == "ops"
    assert who(authenticator, token(algorithm, kid="old", number=1)).name == "ops"
    assert refused(authenticator, token(algorithm, kid="old"))
    assert refused(authenticator, token(algorithm, kid="unknown"))


def test_without_a_token_nobody_is_known(authenticator):
    """No header, or another scheme: another authenticator's business."""
    for headers in ([], [(b"authorization", b"Basic b3BzOnB3")], [(b"x-api-key", b"k")]):
        assert asyncio.run(authenticator.authenticate(Request("GET", "/", headers))) is None


def test_alone_it_claims_every_bearer_token_and_beside_tokens_only_those_of_three_parts():
    """What cannot be a JWT is refused when nobody else could know it, and left to `tokens` otherwise."""
    assert refused(authenticator_of(), "opaque")
    beside = authenticator_of(authenticator_class="tokens,jwt")
    assert who(beside, "opaque") is None
    assert refused(beside, "a.b.c")
    assert who(beside, token()).name == "ops"


# Claims


@pytest.mark.parametrize(
    ("changes", "passes"),
    [
        ({}, True),
        ({"exp": None}, False),
        ({"exp": -60}, False),
        ({"exp": -5}, True),  # within the leeway of 10 s
        ({"nbf": None, "iat": None}, True),
        ({"nbf": 60}, False),
        ({"nbf": 5}, True),
        ({"iat": 60}, False),
        ({"iat": 5}, True),
    ],
)
def test_a_token_holds_in_its_time_only(changes, passes, authenticator):
    """`exp` is required; `nbf` and `iat` count when they are there; clocks may differ by the leeway."""
    now = int(time.time())
    value = token(payload=claims(**{name: None if each is None else now + each for name, each in changes.items()}))
    assert who(authenticator, value).name == "ops" if passes else refused(authenticator, value)


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize(
    "moment", [b'"4102444800"', b"true", b"null", b"NaN", b"Infinity", b"-Infinity", b"1e999", b"9" * 400, b"[1]"]
)
def test_a_moment_that_is_none_is_refused(name, moment, authenticator):
    """Texts, truths, infinities and numbers without end: 401, not 500."""
    assert refused(authenticator, token(payload=_with(name, moment)))


def _with(name, value):
    made = {key: each for key, each in claims().items() if key != name}
    return json.dumps(made)[:-1].encode() + b', "%s": %s}' % (name.encode(), value)


@pytest.mark.parametrize(
    ("issuer", "sent", "passes"),
    [
        ("https://issuer", "https://issuer", True),
        ("https://issuer", "https://issuer/", False),
        ("https://issuer", None, False),
        ("https://issuer", ["https://issuer"], False),
        (None, "https://anybody", True),
    ],
)
def test_the_issuer_must_be_the_one_that_is_set(issuer, sent, passes):
    """Letter by letter; a token without one is refused where one is set."""
    authenticator = authenticator_of(issuer=issuer)
    value = token(payload=claims(iss=sent))
    assert who(authenticator, value).name == "ops" if passes else refused(authenticator, value)


@pytest.mark.parametrize(
    ("audience", "sent", "passes"),
    [
        ("health", "health", True),
        ("health", ["shop", "health"], True),
        ("health,shop", "shop", True),
        ("health", "shop", False),
        ("health", ["shop"], False),
        ("health", None, False),
        ("health", [], False),
        ("health", ["health", 1], False),
        ("health", {"health": 1}, False),
        ("", "health", False),  # RFC 7519 section 4.1.3: not meant for us, as far as we know
        ("", "", False),
        ("", [], False),
        ("", None, True),
    ],
)
def test_a_token_must_be_meant_for_us(audience, sent, passes):
    """One of the audiences that are set; where none is, a token that names one is for somebody else."""
    authenticator = authenticator_of(audience=audience)
    value = token(payload=claims(aud=sent))
    assert who(authenticator, value).name == "ops" if passes else refused(authenticator, value)


@pytest.mark.parametrize(
    ("claim", "sent", "permitted", "admin"),
    [
        ("roles", {"roles": ["reader"]}, True, False),
        ("roles", {"roles": ["chief", "unheard-of"]}, False, True),
        ("scope", {"scope": "openid reader"}, True, False),
        ("realm_access.roles", {"realm_access": {"roles": ["reader"]}}, True, False),
        ("https://shop.example/roles", {"https://shop.example/roles": ["reader"]}, True, False),
        ("roles", {"roles": ["unheard-of"]}, False, False),
        ("roles", {"roles": None}, False, False),
        ("roles", {"roles": {"reader": True}}, False, False),
        ("roles", {"roles": ["reader", 1]}, False, False),
        ("roles", {"roles": "reader,chief"}, False, False),
        ("realm_access.roles", {"realm_access": ["reader"]}, False, False),
    ],
)
def test_only_roles_of_the_settings_count(claim, sent, permitted, admin):
    """From a list, from words, from a nested claim; what is neither gives no role, and its caller is known still."""
    found = who(authenticator_of(roles_claim=claim), token(payload=claims(**{"roles": None, **sent})))
    assert (found.has_tasker_permission(PERMISSION), found.tasker_admin()) == (permitted, admin)


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        ({"sub": "line\nbreak\x1b[31m"}, "line\\nbreak\\x1b[31m"),
        ({"sub": "x" * 5000}, "x" * 100),
        ({"sub": "\ud800"}, "\\ud800"),
        ({"sub": None}, "somebody unnamed"),
    ],
)
def test_a_name_can_stand_in_a_line_of_the_log(sent, name, authenticator):
    """It is the issuer's word, but not one that makes lines or colours of its own."""
    assert who(authenticator, token(payload=claims(**sent))).name == name


def test_another_claim_may_be_the_name():
    """As set, and nested if need be."""
    authenticator = authenticator_of(subject_claim="user.mail")
    assert who(authenticator, token(payload=claims(user={"mail": "a@b.example"}))).name == "a@b.example"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"exp": 1}, "has expired"),
        ({"nbf": 4102444800, "exp": 4102444900}, "not valid yet"),
        ({"iss": "https://other"}, r"auth\.jwt\.issuer"),
        ({"aud": "other"}, r"auth\.jwt\.audience"),
        ({"exp": None}, "lacks exp"),
        ({"sub": 1}, "claims are not as they must be"),
    ],
)
def test_the_refusal_says_why_for_the_operator(changes, words):
    """`doctor access` shows it; nothing of the token stands in it."""
    authenticator = authenticator_of(issuer="https://issuer", audience="health")
    with pytest.raises(AuthenticationError, match=words):
        who(authenticator, token(payload=claims(**{"iss": "https://issuer", "aud": "health", **changes})))


# Attacks


def test_attack_none_in_every_spelling(authenticator):
    """A token that says it needs no signature has none, with or without one."""
    for spelling in ("none", "None", "NONE", "nOnE", "none ", "", None, 0, [], ["RS256"], {"RS256": 1}):
        for signature in ("", encoded(b"x"), token().rpartition(".")[2]):
            head = encoded(json.dumps({"alg": spelling, "typ": "JWT"}).encode())
            assert refused(authenticator, f"{head}.{encoded(json.dumps(claims()).encode())}.{signature}")


def test_attack_without_an_algorithm(authenticator):
    """A header without `alg` is none."""
    assert refused(authenticator, token(header={"typ": "JWT"}))


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
@pytest.mark.parametrize("form", ["pem", "pem without its end", "der", "jwk"])
def test_attack_a_public_key_as_secret(algorithm, form, with_set):
    """Algorithm confusion: what everybody knows is no secret of HS256, whatever the header says."""
    key = {
        "pem": pem(algorithm).encode(),
        "pem without its end": pem(algorithm).strip().encode(),
        "der": private_key(algorithm).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "jwk": json.dumps(jwk(algorithm, "a")).encode(),
    }[form]
    # Signed by hand: PyJWT refuses to sign with such a key.
    forged = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    for name in ("HS256", algorithm):
        signed = f"{encoded(json.dumps({'alg': name, 'kid': 'a'}).encode())}.{encoded(json.dumps(claims()).encode())}"
        value = f"{signed}.{encoded(forged.sign(signed.encode(), key))}"
        assert refused(authenticator_of(algorithms=algorithm, key=pem(algorithm)), value)
        assert refused(with_set(jwk(algorithm, "a"), algorithms=algorithm), value)


def test_attack_another_algorithm_of_the_same_key():
    """RS512 and PS256 by the right key are refused where only RS256 is allowed."""
    for algorithm in ("RS512", "PS256"):
        assert who(authenticator_of(algorithms=algorithm), token(algorithm)).name == "ops"
        assert refused(authenticator_of(), token(algorithm))


def test_attack_a_key_of_another_kind(with_set):
    """A key verifies with the algorithms of its own kind and curve only, even where several are allowed."""
    authenticator = with_set(
        jwk("RS256", "rsa"), jwk("ES256", "p256"), jwk("ES384", "p384"), algorithms="RS256,ES256,ES384,EdDSA"
    )
    assert who(authenticator, token("ES256", kid="p256")).name == "ops"
    for algorithm, kid in (("RS256", "p256"), ("ES256", "rsa"), ("EdDSA", "rsa"), ("ES384", "p256"), ("ES256", "p384")):
        assert refused(authenticator, token(algorithm, kid=kid))


@pytest.mark.parametrize(
    "members", [{"alg": "RS512"}, {"alg": ["RS256"]}, {"use": "enc"}, {"key_ops": ["sign"]}, {"key_ops": "verify"}]
)
def test_attack_a_key_that_is_for_something_else(members, with_set):
    """What a key of the set says of its algorithm, use and operations holds, though it could verify."""
    authenticator = with_set(jwk("RS256", "a", **members), jwk("RS256", "b", 1))
    assert refused(authenticator, token(kid="a"))


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc", "cty"])
def test_attack_a_header_with_a_key_of_the_senders(name, number, authenticator, with_set):
    """Neither followed nor overlooked, be the token signed by that key or by the issuer's own."""
    member = {
        "jwk": jwk("RS256", "a", 1),
        "jku": "https://127.0.0.1:1/jwks.json",
        "x5u": "https://127.0.0.1:1/certificate.pem",
        "x5c": [base64.b64encode(b"certificate").decode()],
        "crit": ["b64"],
        "b64": True,
        "zip": "DEF",
        "enc": "A256GCM",
        "cty": "JWT",
    }[name]
    value = token(number=number, kid="a", **{name: member})
    assert refused(authenticator, value)
    assert refused(with_set(jwk("RS256", "a")), value)


@pytest.mark.parametrize("crit", [[], ["exp"], ["https://extension"], "exp", None, [1]])
def test_attack_a_critical_extension(crit, authenticator):
    """We have no extension, so whatever is critical is not understood (RFC 7515 section 4.1.11)."""
    header = {"alg": "RS256", "crit": crit, "exp": 1}
    assert refused(authenticator, token(header=header))


@pytest.mark.parametrize("kid", ["../../etc/passwd", "' OR 1=1 --", "x" * 300, 1, [], {}, True, "\x00"])
def test_attack_a_strange_key_id(kid, with_set):
    """It is compared with the keys that are known, and nothing else is done with it."""
    assert refused(with_set(jwk("RS256", "a")), token(kid=kid))


@pytest.mark.parametrize("kind", ["logout+jwt", "secevent+jwt", "dpop+jwt", "", 1, None])
def test_attack_a_token_for_something_else(kind, authenticator):
    """Explicit types (RFC 8725 section 3.11): a logout token of the same issuer is not one for access."""
    assert refused(authenticator, token(typ=kind))


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_a_token_for_access_may_say_so(kind, authenticator):
    """As RFC 9068 has it; media types know no case."""
    assert who(authenticator, token(typ=kind)).name == "ops"
    assert who(authenticator, token(header={"alg": "RS256"})).name == "ops"


def test_attack_an_encrypted_or_nested_token(authenticator):
    """A JWE has five parts; a nested one says so in its header; both are refused, as is every other number of parts."""
    good = token()
    head, body, signature = good.split(".")
    for value in (
        f"{head}.a.b.c.{signature}",
        f"{good}.{good}",
        f"{head}.{body}",
        f"{head}..{signature}",
        f".{body}.{signature}",
        f"{head}.{body}.",
        "..",
        ".",
        f"{head}.{body}.{signature}.",
    ):
        assert refused(authenticator, value)
    assert refused(authenticator, token(payload=good.encode()))


@pytest.mark.parametrize("change", ["=", "==", "+", "/", "!", "%2e", "é", "\u00a0", "\t"])
def test_attack_characters_that_a_token_does_not_have(change, authenticator):
    """Two readers could skip them differently."""
    head, body, signature = token().split(".")
    for value in (f"{head}{change}.{body}.{signature}", f"{head}.{body}{change}.{signature}"):
        with pytest.raises(AuthenticationError):
            asyncio.run(
                authenticator.authenticate(
                    Request("GET", "/", [(b"authorization", b"Bearer " + value.encode("latin-1"))])
                )
            )


def test_attack_a_claim_that_stands_twice(authenticator):
    """One reader takes the first, another the last; duplicates deep inside count too."""
    good = json.dumps(claims())[:-1].encode()
    assert who(authenticator, token(payload=good + b"}")).name == "ops"
    for more in (b', "sub": "chief"', b', "exp": 4102444800', b', "x": {"a": 1, "a": 2}'):
        assert refused(authenticator, token(payload=good + more + b"}"))
    assert refused(authenticator, token(header=b'{"alg": "none", "alg": "RS256"}'))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"\xff\xfe",
        json.dumps(claims()).encode("utf-16"),
        b'{"exp": 1e400}',
        b'{"x": NaN, "exp": 4102444800}',
        b'{"x": 1e400, "exp": 4102444800}',
        b'{"x": ' + b"[" * 2000 + b"]" * 2000 + b', "exp": 4102444800}',
        b'{"x": ' + b"1" * 4000 + b', "exp": 4102444800}',
        b'{"x": ' + b'{"a":' * 1000 + b"1" + b"}" * 1000 + b', "exp": "' + b"9" * 400 + b'"}',
    ],
)
def test_attack_a_payload_that_is_hard_to_read(payload, authenticator):
    """Signed by the issuer, and still 401: never 500, never slow."""
    assert refused(authenticator, token(payload=payload))
    assert refused(authenticator, token(header=payload))


def test_attack_a_megabyte(authenticator):
    """Refused by its length, before anything is read."""
    assert refused(authenticator, token(payload=claims(x="x" * 1_000_000)))
    assert refused(authenticator, "x" * 1_000_000)
    assert refused(authenticator, "." * 1_000_000)


def test_attack_the_header_twice(authenticator):
    """A proxy in front might see the other one."""
    assert refused(authenticator, token(), f"Bearer {token()}")
    assert refused(authenticator, token(), "Basic b3BzOnB3")


def test_attack_a_signature_of_zeros():
    """The empty signature of ECDSA that careless verifiers took (CVE-2022-21449)."""
    authenticator = authenticator_of(algorithms="ES256", key=pem("ES256"))
    signed = token("ES256").rpartition(".")[0]
    for signature in (bytes(64), bytes(63), bytes(0), b"\x30\x06\x02\x01\x00\x02\x01\x00"):
        assert refused(authenticator, f"{signed}.{encoded(signature)}")


def test_attack_a_changed_payload(authenticator):
    """The signature is of these very claims."""
    head, _, signature = token().split(".")
    assert refused(authenticator, f"{head}.{encoded(json.dumps(claims(roles=['chief'])).encode())}.{signature}")


# What may come out


GOOD = token()


@given(st.data())
def test_whatever_is_changed_in_a_token_it_is_refused(data):
    """Hypothesis: one or more characters of a good token changed, cut or doubled: nothing but AuthenticationError."""
    authenticator = AUTHENTICATOR
    position = data.draw(st.integers(0, len(GOOD) - 1))
    length = data.draw(st.integers(0, 8))
    inserted = data.draw(st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=8))
    changed = GOOD[:position] + inserted + GOOD[position + length :]
    request = Request("GET", "/", [(b"authorization", b"Bearer " + changed.encode("latin-1"))])
    try:
        found = asyncio.run(authenticator.authenticate(request))
    except AuthenticationError:
        return
    # Only spaces around it, which HTTP does not count.
    assert changed.strip() == GOOD
    assert isinstance(found, Principal)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
CLAIMS = st.dictionaries(
    st.sampled_from(["exp", "nbf", "iat", "iss", "aud", "sub", "jti", "roles", "realm_access", "x"]), JSON, max_size=8
)
HEADERS = st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "jku", "x"]), JSON, max_size=4)


@given(CLAIMS, HEADERS, st.booleans())
def test_whatever_is_signed_a_principal_or_a_refusal_comes_out(made, header, good_header):
    """Hypothesis: the issuer itself signs nonsense of every type."""
    given_header = {"alg": "RS256"} if good_header else {"alg": "RS256", **header}
    value = token(payload={"exp": 4102444800, **made}, header=given_header)
    try:
        found = who(AUTHENTICATOR, value)
    except AuthenticationError:
        return
    assert isinstance(found, Principal)
    assert found.name.isascii()
    assert found.name.isprintable()


@given(st.binary(max_size=200))
def test_whatever_the_header_says_nothing_breaks(value):
    """Hypothesis: any bytes as credentials."""
    request = Request("GET", "/", [(b"authorization", value)])
    try:
        assert asyncio.run(AUTHENTICATOR.authenticate(request)) is None
    except AuthenticationError:
        return


AUTHENTICATOR = authenticator_of()


# Settings


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"key": None}, "exactly one of"),
        ({"jwks_file": "f"}, "exactly one of"),
        ({"jwks_file": "f", "key": None, "jwks_url": "https://issuer.example/"}, "exactly one of"),
        ({"key": None, "jwks_url": "http://issuer.example/jwks"}, "https://"),
        ({"key": None, "jwks_url": "http://127.0.0.1/jwks"}, "https://"),
        ({"key": None, "jwks_url": "https://"}, "https://"),
        ({"key": None, "jwks_url": "https://issuer.example:port/"}, "https://"),
        ({"key": None, "jwks_url": "file:///etc/jwks"}, "https://"),
        ({"key": None, "jwks_url": "https://issuer.example/a b"}, "https://"),
        ({"key": None, "jwks_url": "https://issuer.example/", "jwks_ca_file": "/nowhere"}, "jwks_ca_file"),
        ({"jwks_ca_file": "/nowhere"}, "jwks_url only"),
        ({"key": None, "jwks_file": "/nowhere"}, "/nowhere"),
        ({"algorithms": "HS256", "key": None, "jwks_file": "f"}, "shared secret"),
        ({"algorithms": "HS256", "key": "x" * 31}, "at least 32"),
        ({"algorithms": "HS256,HS512", "key": "x" * 63}, "at least 64"),
        ({"algorithms": "HS256", "key": ""}, "auth.jwt.key"),
        ({"algorithms": "HS256", "key": pem("RS256")}, "no secret"),
        ({"algorithms": "HS256", "key": json.dumps(jwk("RS256", "a"))}, "no secret"),
        ({"key": "no key"}, "PEM"),
        ({"key": SECRET}, "PEM"),
        ({"key": pem("ES256")}, "verifies ES256, not RS256"),
        ({"algorithms": "RS256,ES256"}, "not ES256"),
        ({"algorithms": "ES256", "key": pem("ES384")}, "verifies ES384, not ES256"),
    ],
)
def test_settings_that_cannot_work_do_not_start(changes, words):
    """One line that names the key and the remedy, and never the secret."""
    with pytest.raises(SettingsError) as caught:
        authenticator_of(**changes)
    assert "auth.jwt" in str(caught.value)
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_user_in_the_address_is_refused_and_not_printed():
    """It would stand in logs."""
    password = canary.secret("jwks-url")
    with pytest.raises(SettingsError) as caught:
        authenticator_of(key=None, jwks_url=f"https://user:{password}@issuer.example/")
    assert password not in str(caught.value)


def test_the_query_of_the_address_is_never_told():
    """Whatever stands there may be a secret, by any name: who looks at the keys is told the rest."""
    signature = canary.secret("jwks-query")
    group = {"algorithms": "RS256", "jwks_url": f"https://issuer.example/keys?sig={signature}"}
    keys = keys_of_url(settings_of(auth={"jwt": group}).auth.jwt, 1)
    assert keys._place == "https://issuer.example/keys?***"


@pytest.mark.parametrize("what", ["private key", "certificate"])
def test_only_a_public_key_is_one(what):
    """A private key has no business here, and a certificate would not be looked at for its end."""
    forms = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    given_ = Authority().pem if what == "certificate" else private_key("RS256").private_bytes(*forms)
    with pytest.raises(SettingsError, match="allowed: a public key as PEM"):
        authenticator_of(key=given_.decode())


def test_a_weak_key_is_none():
    """RSA under 2048 bits, and a curve that is none of RFC 7518's."""
    for key in (rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP256K1())):
        weak = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        with pytest.raises(SettingsError, match="none that is allowed"):
            authenticator_of(algorithms="RS256,ES256", key=weak)


def test_jwt_without_its_settings_does_not_start():
    """The remedy names the three sources."""
    settings = settings_of(auth={"authenticator_class": "jwt"})
    with pytest.raises(ConfigurationError, match=r"auth\.jwt = not set: .*auth\.jwt\.jwks_url"):
        authenticators_of(settings.auth)


@pytest.mark.parametrize("package", ["jwt", "cryptography", "httpx"])
def test_a_package_that_is_not_installed_is_named_with_its_extra(package):
    """In a process without it: ConfigurationError, as every other fault of the settings."""
    code = (
        "import sys; sys.modules[sys.argv[1]] = None\n"
        "from tasker_health import Settings\n"
        "from tasker_health.access.ready_made import authenticators_of\n"
        "jwt = {'jwks_url': 'https://issuer.example/'}\n"
        "settings = Settings.model_validate({'auth': {'authenticator_class': 'jwt', 'jwt': jwt}})\n"
        "try:\n    authenticators_of(settings.auth)\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, package], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("SettingsError"), done.stdout
    assert f"{package} is not installed; pip install 'tasker-health[jwt]'" in done.stdout


def test_it_is_found_by_its_name_and_says_its_scheme():
    """`auth.authenticator_class = "jwt"`; a 401 says Bearer."""
    settings = settings_of(auth={"authenticator_class": "jwt", "jwt": {"key": pem("RS256")}})
    (found,) = authenticators_of(settings.auth)
    assert isinstance(found, JwtAuthenticator)
    assert found.challenge.startswith("Bearer ")


# Remembering


def test_a_verified_token_is_not_verified_again_and_a_refused_one_is(authenticator, monkeypatch):
    """The signature of a token that was good a moment ago is not counted twice."""
    good, bad = token(), token(number=1)
    assert who(authenticator, good).name == "ops"
    verified = []
    verify = jwt.algorithms.RSAAlgorithm.verify
    monkeypatch.setattr(
        jwt.algorithms.RSAAlgorithm, "verify", lambda self, *each: verified.append(each) or verify(self, *each)
    )
    assert who(authenticator, good).name == "ops"
    assert verified == []
    assert refused(authenticator, bad)
    assert refused(authenticator, bad)
    assert len(verified) == 2
