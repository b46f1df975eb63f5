"""Tokens and passwords as they are stored."""

from __future__ import annotations

import hashlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from canary import watch
from tasker_health.access import hashing
from tasker_health.access.hashing import PasswordHash, digest_of, new_token, read_token_hash, stored_token
from tasker_health.errors import SettingsError

KEY = "auth.users.ada.password_hash"
CHEAP = (2**14, 8, 1)
SALT = "c2FsdHNhbHRzYWx0c2FsdA=="


def test_a_token_has_256_bits_that_no_other_has():
    """Its form is known to scanners, its characters need no quoting, and no two are the same."""
    tokens = {watch(new_token()) for _ in range(100)}
    assert len(tokens) == 100
    assert all(re.fullmatch(r"tasker_[A-Za-z0-9_-]{43}", token) for token in tokens)


def test_a_token_is_stored_as_the_sha256_of_its_characters():
    """Anybody can make the same with `sha256sum`."""
    token = "tasker_example"
    assert stored_token(token) == f"sha256:{hashlib.sha256(token.encode()).hexdigest()}"
    assert read_token_hash(SecretStr(stored_token(token)), KEY) == digest_of(token)


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "sha256:",
        "sha256:abc",
        f"sha256:{'g' * 64}",
        f"sha256:{'A' * 64}",
        f"md5:{'a' * 64}",
        f"sha256:{'a' * 64}\n",
    ],
)
def test_what_is_no_hash_of_a_token_is_refused_by_its_key(stored):
    """The likeliest mistake is the token itself in the place of its hash: it is not shown."""
    with pytest.raises(SettingsError) as caught:
        read_token_hash(SecretStr(stored), "auth.tokens.grafana.hash")
    assert str(caught.value).startswith("auth.tokens.grafana.hash = '***': allowed: sha256:")
    assert not stored or stored not in str(caught.value).replace("sha256: and 64", "")


def test_a_password_is_known_again_by_its_stored_hash_only():
    """The parameters and the salt are part of what is stored; the same password is never stored the same way twice."""
    one, two = PasswordHash.of("correct horse battery"), PasswordHash.of("correct horse battery")
    assert one.stored != two.stored
    assert one.stored.startswith("scrypt:16384:8:5:")
    again = PasswordHash.read(SecretStr(one.stored), KEY)
    assert again.matches("correct horse battery")
    assert not again.matches("correct horse batterx")
    assert not again.decoy().matches("correct horse battery")
    assert "correct" not in one.stored + repr(one)
    assert one.digest.hex() not in repr(one)


def test_the_hash_is_scrypt_as_rfc_7914_has_it():
    """The test vector of section 12 with N 16384, r 8 and p 1."""
    expected = bytes.fromhex(
        "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"
        "d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887"
    )
    assert PasswordHash(*CHEAP, b"SodiumChloride", expected).matches("pleaseletmein")


def test_an_accent_is_the_same_however_it_is_typed():
    """One character or two: NFC (RFC 8265)."""
    digest = hashlib.scrypt("caf\u00e9".encode(), salt=b"salt", n=2, r=1, p=1, dklen=32)
    assert PasswordHash(2, 1, 1, b"salt", digest).matches("cafe\u0301")


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "hunter2hunter2",
        "scrypt:16384:8:5",
        f"scrypt:16384:8:5:{SALT}:",
        f"scrypt:16384:8:5:{SALT}:{SALT}:",
        f"scrypt:16384:8:5:not base64!:{SALT}",
        f"scrypt:16384:8:5:c2FsdA==:{SALT}",  # a salt of 4 bytes
        f"scrypt:16384:8:5:{SALT}:c2FsdA==",
        f"scrypt:-1:8:5:{SALT}:{SALT}",
        f"scrypt:0:8:5:{SALT}:{SALT}",
        f"scrypt:1:8:5:{SALT}:{SALT}",
        f"scrypt:16384:0:5:{SALT}:{SALT}",
        f"scrypt:16384:8:0:{SALT}:{SALT}",
        f"scrypt:16383:8:5:{SALT}:{SALT}",  # no power of 2
        f"scrypt:2:8:5:{SALT}:{SALT}",  # costs nothing
        f"scrypt:8192:8:1:{SALT}:{SALT}",
        f"scrypt:65536:8:1:{SALT}:{SALT}",  # 64 MiB
        f"scrypt:1048576:8:1:{SALT}:{SALT}",  # 1 GiB
        f"scrypt:9999999:999:999:{SALT}:{SALT}",
        f"scrypt:2:999:999:{SALT}:{SALT}",  # 128 * r * p: 127 MiB
        f"scrypt:16384:8:99:{SALT}:{SALT}",  # five seconds
        f"bcrypt:16384:8:5:{SALT}:{SALT}",
    ],
)
def test_what_is_no_hash_of_a_password_is_refused_by_its_key(stored):
    """Neither a wrong form, nor parameters that are weak or eat memory or time; the value is not shown."""
    with pytest.raises(SettingsError) as caught:
        PasswordHash.read(SecretStr(stored), KEY)
    message = str(caught.value)
    assert message.startswith(f"{KEY} = '***': allowed: ")
    assert "tasker-health token password" in message
    assert SALT not in message
    assert "hunter2" not in message


@pytest.mark.parametrize("parameters", ["16384:8:1", "16384:8:5", "8192:8:10", "32768:8:3"])
def test_the_parameters_that_owasp_lists_within_32_mib_are_taken(parameters):
    """Whoever has other hashes in scrypt may keep them."""
    assert PasswordHash.read(SecretStr(f"scrypt:{parameters}:{SALT}:{SALT}"), KEY).stored.startswith(
        f"scrypt:{parameters}:"
    )


@settings(max_examples=300)
@given(st.one_of(st.text(max_size=300), st.from_regex(hashing._PASSWORD_HASH, fullmatch=True)))
def test_whatever_stands_in_the_settings_is_read_or_refused(stored):
    """Nothing but a SettingsError comes out, and what is read costs a bounded time and memory."""
    try:
        read = PasswordHash.read(SecretStr(stored), KEY)
    except SettingsError:
        return
    assert 128 * read.r * max(read.n, read.p) <= 2**25
    assert 2**17 <= read.n * read.r * read.p <= 2**21
