"""Sets of keys: which keys of a document are taken, and which a token may mean."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from issuer import ASYMMETRIC, document, jwk, private_key
from tasker_health.access.jwks import MOST_KEYS, Key, KeySet, keys_of_document


def names_in(raw, algorithms=ASYMMETRIC):
    """Return the `kid` of every key that is taken from *raw*."""
    return [key.key_id for key in keys_of_document(raw, algorithms)._keys]


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_key_is_for_the_algorithms_of_its_kind(algorithm):
    """With `alg` for that one only; without, for all of its kind that the settings allow."""
    (named,) = keys_of_document(document(jwk(algorithm, "a")), ASYMMETRIC)._keys
    assert named.algorithms == {algorithm}
    (unnamed,) = keys_of_document(document(jwk(algorithm, "a", alg=None)), ASYMMETRIC)._keys
    kind = [name for name in ASYMMETRIC if private_key(name) is private_key(algorithm)]
    assert sorted(unnamed.algorithms) == sorted(kind)
    (limited,) = keys_of_document(document(jwk(algorithm, "a", alg=None)), [algorithm])._keys
    assert limited.algorithms == {algorithm}


@pytest.mark.parametrize(
    "member",
    [
        None,
        "key",
        [],
        {},
        {"kty": "RSA"},
        {"kty": ["RSA"]},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "x", "alg": "HS256"},
        jwk("RS256", "x", kid=1),
        jwk("RS256", "x", use="enc"),
        jwk("RS256", "x", key_ops=["encrypt"]),
        jwk("RS256", "x", key_ops=None, use="enc"),
        jwk("RS256", "x", alg="RSA-OAEP"),
        jwk("RS256", "x", alg="HS256"),
        jwk("RS256", "x", alg=7),
        jwk("RS256", "x", n=1),
        jwk("RS256", "x", n="!"),
        jwk("RS256", "x", n=""),
        jwk("RS256", "x", e="AA"),
        jwk("ES256", "x", crv="P-384"),
        jwk("ES256", "x", crv="P-1"),
        jwk("ES256", "x", y=jwk("ES256", "x")["x"]),
        jwk("EdDSA", "x", crv="X25519"),
        jwk("EdDSA", "x", x="AA"),
    ],
)
def test_a_key_that_cannot_be_used_is_left_out(member):
    """And the others are not lost by it (RFC 7517 section 5)."""
    assert names_in(document(member, jwk("RS256", "good", 1))) == ["good"]


def test_a_private_key_is_not_used_and_told(caplog):
    """Whoever reads the set could make tokens; the log has no part of it."""
    key = jwk("EdDSA", "private", d="c2VjcmV0LW9mLXRoZS1rZXk")
    with caplog.at_level(logging.WARNING):
        assert names_in(document(key, jwk("RS256", "good"))) == ["good"]
    assert "private key" in caplog.text
    assert "c2VjcmV0" not in caplog.text


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<!doctype html><html></html>",
        b"null",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": null}',
        b'{"keys": [], "keys": []}',
        b'{"keys": [NaN]}',
        b"\xff\xfe{}",
        b'{"keys": ' + b"[" * 500_000,
        document(*[{}] * (MOST_KEYS + 1)),
    ],
)
def test_what_is_no_set_of_keys_is_an_error(raw):
    """Garbage, HTML, other JSON, too deep, too many."""
    with pytest.raises(ValueError):
        keys_of_document(raw, ASYMMETRIC)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_set_or_an_error(raw):
    """Hypothesis: nothing but ValueError."""
    try:
        keys_of_document(raw, ASYMMETRIC)
    except ValueError:
        return


VALUES = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=50) | st.lists(st.text(max_size=5))


@given(
    st.sampled_from(["RS256", "ES256", "ES512", "EdDSA"]),
    st.dictionaries(st.sampled_from(["kty", "crv", "n", "e", "x", "y", "alg", "use", "key_ops", "kid"]), VALUES),
)
def test_a_key_with_any_values_is_taken_or_left_out(algorithm, members):
    """Hypothesis: no member of a key breaks the set."""
    made = {**jwk(algorithm, "a"), **members}
    assert "good" in names_in(document(made, jwk("PS256", "good", 1)))


def key(name, algorithm="RS256"):
    """Return a key of this name."""
    return Key(name, frozenset({algorithm}), object())


def test_a_token_without_a_key_id_is_tried_with_few_keys():
    """Each costs time: with more than four that fit, none is tried; those of other kinds do not count."""
    four = [key(f"k{number}") for number in range(4)]
    others = [key(f"e{number}", "ES256") for number in range(9)]
    assert KeySet([*four, *others]).fitting(None, "RS256") == four
    assert KeySet([*four, key(None)]).fitting(None, "RS256") == []
    assert KeySet([*four, *others]).fitting("k2", "RS256") == [four[2]]
    assert KeySet([*four, *others]).fitting("e2", "RS256") == []
    assert KeySet([key("a")] * 5).fitting("a", "RS256") == []


def test_a_key_without_a_name_is_not_the_one_that_a_token_names():
    """An unknown `kid` is unknown, though some key has none."""
    keys = KeySet([key(None)])
    assert not keys.knows("a")
    assert keys.fitting("a", "RS256") == []


def test_no_repr_has_a_secret():
    """Not that of a key, nor that of a set."""
    secret = Key("a", frozenset({"HS256"}), b"material")
    assert "material" not in repr(secret) + repr(KeySet([secret])) + repr([secret])
