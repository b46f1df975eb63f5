"""Tokens and passwords as they are stored: as hashes, from which nobody learns them.

A token has 256 random bits. Nobody guesses those, however fast the hash is, so SHA-256 serves, which costs a request
nothing: NIST SP 800-63B section 5.1.2.2 asks for no more from 112 bits on. A password is guessed, so its hash has to
be slow and to need memory: scrypt (RFC 7914), by the parameters of the OWASP Password Storage Cheat Sheet that need
16 MiB, because a pod has little and two may be verified at once.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import unicodedata
from dataclasses import dataclass
from hmac import compare_digest

from pydantic import SecretStr

from tasker_health.errors import SettingsError

PREFIX = "tasker_"
"""What our tokens begin with, so that scanners for leaked secrets know one."""

_TOKEN_BYTES = 32
_TOKEN_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_PASSWORD_HASH = re.compile(
    r"scrypt:([0-9]{1,7}):([0-9]{1,3}):([0-9]{1,3}):([A-Za-z0-9+/=]{1,96}):([A-Za-z0-9+/=]{1,96})"
)

_N, _R, _P = 2**14, 8, 5
_SALT_BYTES = _DIGEST_BYTES = 32
_FEWEST_BYTES = 16
_MOST_MEMORY_BYTES = 2**25
"""32 MiB for one password: a settings value shall not eat the memory of a pod."""
_LEAST_WORK, _MOST_WORK = 2**17, 2**21
"""n * r * p: from 2**14 * 8, as scrypt's author advised, to about three times what we take."""


def new_token() -> str:
    """Return a token that was never there before: `tasker_` and 43 characters."""
    return PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)


def digest_of(token: str) -> bytes:
    """Return the digest that *token* is known by."""
    return hashlib.sha256(token.encode()).digest()


def stored_token(token: str) -> str:
    """Return how *token* is stored: `sha256:` and 64 hexadecimal digits."""
    return f"sha256:{digest_of(token).hex()}"


def read_token_hash(stored: SecretStr, key: str) -> bytes:
    """Return the digest that the setting *key* has.

    Raises:
        SettingsError: It is no hash of a token.
    """
    found = _TOKEN_HASH.fullmatch(stored.get_secret_value())
    if found is None:
        remedy = "sha256: and 64 hexadecimal digits; `tasker-health token hash` makes it of a token"
        raise SettingsError(key, "'***'", f"allowed: {remedy}")
    return bytes.fromhex(found[1])


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class PasswordHash:
    """A password that is known by its scrypt hash only."""

    n: int
    r: int
    p: int
    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, password: str) -> PasswordHash:
        """Return the hash of *password*, with a salt of its own. It takes a quarter of a second."""
        salt = secrets.token_bytes(_SALT_BYTES)
        return cls(_N, _R, _P, salt, _scrypt(password, _N, _R, _P, salt, _DIGEST_BYTES))

    @classmethod
    def read(cls, stored: SecretStr, key: str) -> PasswordHash:
        """Return the hash that the setting *key* has.

        Raises:
            SettingsError: It is none, or its parameters cost too little to be safe or too much to be afforded.
        """
        found = _PASSWORD_HASH.fullmatch(stored.get_secret_value())
        salt, digest = (_bytes_of(text) for text in found.groups()[3:]) if found else (b"", b"")
        n, r, p = map(int, found.groups()[:3]) if found else (0, 0, 0)
        if min(len(salt), len(digest)) < _FEWEST_BYTES:
            remedy = "scrypt:<n>:<r>:<p>:<salt>:<hash>; `tasker-health token password` makes it of a password"
            raise SettingsError(key, "'***'", f"allowed: {remedy}")
        if n.bit_count() != 1 or not _LEAST_WORK <= n * r * p <= _MOST_WORK or 128 * r * max(n, p) > _MOST_MEMORY_BYTES:
            allowed = "n a power of 2, n * r * p from 2^17 to 2^21, 32 MiB of memory at most"
            raise SettingsError(key, "'***'", f"allowed: {allowed}; `tasker-health token password` chooses well")
        return cls(n, r, p, salt, digest)

    @property
    def stored(self) -> str:
        """How it is stored: `scrypt:<n>:<r>:<p>:<salt>:<hash>`, both in base64."""
        salt, digest = (base64.b64encode(each).decode() for each in (self.salt, self.digest))
        return f"scrypt:{self.n}:{self.r}:{self.p}:{salt}:{digest}"

    def matches(self, password: str) -> bool:
        """Return whether *password* is the one. It takes a quarter of a second: call it in a thread."""
        digest = _scrypt(password, self.n, self.r, self.p, self.salt, len(self.digest))
        return compare_digest(digest, self.digest)

    def decoy(self) -> PasswordHash:
        """Return one that costs the same and that no password matches."""
        return PasswordHash(self.n, self.r, self.p, self.salt, secrets.token_bytes(len(self.digest)))


def _bytes_of(text: str) -> bytes:
    """Return the bytes of *text* in base64; of anything else, none."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""


def _scrypt(password: str, n: int, r: int, p: int, salt: bytes, length: int) -> bytes:
    # The same accent can be typed as one character or as two (RFC 8265 section 4.2: NFC).
    text = unicodedata.normalize("NFC", password).encode()
    return hashlib.scrypt(text, salt=salt, n=n, r=r, p=p, maxmem=128 * r * (n + p + 2), dklen=length)
