"""Keys that tokens are verified with, and what each may verify: from a set (RFC 7517), a PEM, or a secret.

A key verifies only with the algorithms of its own kind, so that no public key ever is a secret (RFC 8725 section 2.1).
"""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tasker_health.access.strict_json import strict_json
from tasker_health.errors import SettingsError

log = logging.getLogger(__name__)

MOST_KEYS = 100
"""Keys of the longest set: an issuer has two or three."""

_RSA_BITS = range(2048, 8193)
"""RFC 7518 section 3.3 has the least; a longer one takes too long for one event loop."""

_MOST_TRIED = 4
"""Keys that one token without a `kid` is tried with."""

_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES: dict[type[ec.EllipticCurve], str] = {ec.SECP256R1: "ES256", ec.SECP384R1: "ES384", ec.SECP521R1: "ES512"}
_FIRST = {"RSA": "RS256", "EC": "ES256", "OKP": "EdDSA"}
"""By kind of key, an algorithm that PyJWT reads it for; the curve says later which it is for."""

_SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
_KEY = "auth.jwt.key"


class Key(NamedTuple):
    """A key that is trusted.

    Attributes:
        key_id: Its `kid`; `None`: it has none.
        algorithms: Those that it may verify, of the settings'.
        material: What PyJWT takes.
    """

    key_id: str | None
    algorithms: frozenset[str]
    material: Any

    def __repr__(self) -> str:
        # It may be a secret.
        return f"<Key {self.key_id!r}>"


class KeySet:
    """The keys that are trusted now.

    Args:
        keys: All of them.
        digest: Of what they were made from: the same keys are not a change. Random if nothing else has them.
        named: Whether a token says by its `kid` which key it means; otherwise that says nothing.
    """

    def __init__(self, keys: Iterable[Key], digest: bytes = b"", *, named: bool = True) -> None:
        self.digest = digest
        self._named = named
        self._keys = tuple(keys)
        self._by_id: defaultdict[str | None, list[Key]] = defaultdict(list)
        for key in self._keys:
            self._by_id[key.key_id].append(key)

    def __len__(self) -> int:
        return len(self._keys)

    def knows(self, key_id: str | None) -> bool:
        """Return whether a newer set would say nothing new about *key_id*."""
        return not self._named or key_id is None or key_id in self._by_id

    def fitting(self, key_id: str | None, algorithm: str) -> list[Key]:
        """Return the keys that may have signed with *algorithm* under the name *key_id*; few, each costs time."""
        keys = self._by_id.get(key_id, []) if self._named and key_id is not None else self._keys
        fitting = [key for key in keys if algorithm in key.algorithms]
        return fitting if len(fitting) <= _MOST_TRIED else []


def keys_of_document(raw: bytes, algorithms: Iterable[str]) -> KeySet:
    """Return the keys of the set *raw* (RFC 7517 section 5) that may verify one of *algorithms*.

    Keys of other kinds, for other uses, or broken ones are left out, as that section wants it.

    Raises:
        ValueError: It is no set of keys, or an unlikely long one.
    """
    members = strict_json(raw).get("keys")
    if not isinstance(members, list):
        raise ValueError("it has no list of keys")  # noqa: TRY004 -- the one error of whatever is wrong with it
    if len(members) > MOST_KEYS:
        raise ValueError(f"it has more than {MOST_KEYS} keys")
    allowed = frozenset(algorithms)
    keys = [key for member in members if (key := _key_of(member, allowed)) is not None]
    return KeySet(keys, hashlib.sha256(raw).digest())


def key_of_settings(text: str, algorithms: tuple[str, ...]) -> KeySet:
    """Return the one key *text*, a secret or a public key as PEM, as *algorithms* say.

    Raises:
        SettingsError: It is not what each of *algorithms* needs.
    """
    if algorithms[0].startswith("HS"):
        material: Any = _secret(text, algorithms)
        fits = frozenset(algorithms)
    else:
        try:
            material = load_pem_public_key(text.strip().encode())
        except (ValueError, UnsupportedAlgorithm):
            raise SettingsError(_KEY, "'***'", "allowed: a public key as PEM (-----BEGIN PUBLIC KEY-----)") from None
        fits = _algorithms_of(material)
    unfit = [name for name in algorithms if name not in fits]
    if unfit:
        kinds = ", ".join(sorted(fits)) or "none that is allowed"
        raise SettingsError(_KEY, "'***'", f"verifies {kinds}, not {unfit[0]}; correct auth.jwt.algorithms, or the key")
    return KeySet([Key(None, fits, material)], named=False)


def _secret(text: str, algorithms: Iterable[str]) -> bytes:
    secret = text.encode()
    least = max(_SECRET_BYTES[name] for name in algorithms)
    if len(secret) < least:
        remedy = f"has {len(secret)} bytes; at least {least} are needed (RFC 7518 section 3.2), drawn at random"
        raise SettingsError(_KEY, "'***'", remedy)
    try:
        jwt.get_algorithm_by_name("HS256").prepare_key(text)
        is_secret = "-----BEGIN" not in text
    except jwt.InvalidKeyError:
        is_secret = False
    if not is_secret:
        remedy = "is a key of another kind, which the other side publishes: no secret; correct auth.jwt.algorithms"
        raise SettingsError(_KEY, "'***'", remedy)
    return secret


def _key_of(member: Any, allowed: frozenset[str]) -> Key | None:
    """Return the key *member* of a set, or `None` when it is for something else, or broken."""
    if not isinstance(member, dict) or not _is_for_verifying(member):
        return None
    kind, key_id = member.get("kty"), member.get("kid")
    if not isinstance(kind, str) or kind not in _FIRST or not isinstance(key_id, str | None):
        return None
    if "d" in member:
        log.warning("a set of keys for tokens has a private key: whoever reads it can make tokens; it is not used")
        return None
    try:
        material = jwt.PyJWK(member, _FIRST[kind]).key
    except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, LookupError, ArithmeticError, AttributeError):
        return None
    fits = _algorithms_of(material) & allowed
    if "alg" in member:
        fits = fits & {member["alg"]} if isinstance(member["alg"], str) else frozenset()
    return Key(key_id, fits, material) if fits else None


def _is_for_verifying(member: dict[str, Any]) -> bool:
    operations = member.get("key_ops", ["verify"])
    return member.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations


def _algorithms_of(material: Any) -> frozenset[str]:
    """Return what the public key *material* can verify."""
    if isinstance(material, rsa.RSAPublicKey):
        return frozenset(_RSA if material.key_size in _RSA_BITS else ())
    if isinstance(material, ec.EllipticCurvePublicKey):
        return frozenset(name for curve, name in _CURVES.items() if isinstance(material.curve, curve))
    if isinstance(material, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return frozenset({"EdDSA"})
    return frozenset()
