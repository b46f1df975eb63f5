"""Verifies one JSON web token: its form, its signature by a key that is trusted, its claims. PyJWT does the counting.

What a token says about itself is only ever compared with what the settings allow (RFC 8725 section 3): its `alg`
with the algorithms, its `kid` with the keys that are known. Keys and addresses that it brings are never looked at.
"""

from __future__ import annotations

import base64
import re
from typing import Any, NamedTuple

import jwt

from tasker_health.access.claims import claims_of
from tasker_health.access.jwks import Key
from tasker_health.access.strict_json import strict_json
from tasker_health.errors import AuthenticationError
from tasker_health.settings.access import JwtSettings

_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
"""Three parts (RFC 7515 section 7.1): a JWE has five, one without a signature an empty one."""

_REFUSED = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "enc", "cty"})
"""Members of a header that bring a key of the sender's, need an extension that we do not have, or nest a token."""

_TYPES = frozenset({"jwt", "at+jwt"})
"""Kinds of tokens that stand for a caller; RFC 8725 section 3.11: a logout token, say, is not one for access."""

_LONGEST_KEY_ID = 256

_WORDS: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: "the token has expired",
    jwt.ImmatureSignatureError: "the token is not valid yet (nbf or iat)",
    jwt.InvalidAudienceError: "the token is for somebody else: its aud has none of auth.jwt.audience",
    jwt.InvalidIssuerError: "the token is from somebody else: its iss is not auth.jwt.issuer",
    jwt.MissingRequiredClaimError: "the token lacks exp, or a claim that auth.jwt.issuer or auth.jwt.audience asks for",
}
_OTHER_WORDS = "the token's claims are not as they must be"


class Header(NamedTuple):
    """What a token says about its signature: unproven.

    Attributes:
        algorithm: One that the settings allow.
        key_id: Which key; `None`: it does not say.
    """

    algorithm: str
    key_id: str | None


class Verifier:
    """Verifies tokens as the settings `auth.jwt` say."""

    def __init__(self, settings: JwtSettings) -> None:
        self._algorithms = frozenset(settings.algorithms)
        self._options: dict[str, Any] = {
            "issuer": settings.issuer,
            # PyJWT refuses a token for somebody where nobody is named, as RFC 7519 section 4.1.3 wants it.
            "audience": list(settings.audience) or None,
            "leeway": settings.leeway_seconds,
            "options": {"require": ["exp"]},
        }
        self._jwt = _StrictJwt()

    def header(self, token: str) -> Header:
        """Return the header of *token*, whose signature is still to be verified.

        Raises:
            AuthenticationError: It is none that we take.
        """
        if not _FORM.fullmatch(token):
            raise AuthenticationError("the token is no signed JWT of three parts")
        try:
            header = strict_json(_decoded(token.partition(".")[0]))
        except ValueError:
            raise AuthenticationError("the token's header is not JSON of one meaning") from None
        refused = sorted(_REFUSED & header.keys())
        if refused:
            raise AuthenticationError(f"the token's header has {refused[0]}, which is refused")
        algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ", "jwt")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise AuthenticationError("the token is not signed with an algorithm of auth.jwt.algorithms")
        if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in _TYPES:
            raise AuthenticationError("the token's typ is neither JWT nor at+jwt")
        if key_id is not None and not (isinstance(key_id, str) and len(key_id) <= _LONGEST_KEY_ID):
            raise AuthenticationError("the token's kid is none")
        return Header(algorithm, key_id)

    def claims(self, token: str, algorithm: str, keys: list[Key]) -> dict[str, Any]:
        """Return the claims of *token*, which one of *keys* has signed with *algorithm*.

        Raises:
            AuthenticationError: None of them has, or a claim is not as it must be.
        """
        for key in keys:
            try:
                return self._jwt.decode(token, key.material, algorithms=[algorithm], **self._options)
            except jwt.InvalidSignatureError:
                continue
            except Exception as error:  # noqa: BLE001 -- the keys are known to be good: the token provoked it
                words = next((words for kind, words in _WORDS.items() if isinstance(error, kind)), _OTHER_WORDS)
                raise AuthenticationError(words) from None
        raise AuthenticationError("no key that is trusted has signed the token")


class _StrictJwt(jwt.PyJWT):
    """PyJWT, but a payload that two readers may read as two things is refused, and types are checked."""

    def _decode_payload(self, decoded: dict[str, Any]) -> dict[str, Any]:
        # Called once the signature has been verified: JSON of a stranger's is not even read.
        return claims_of(decoded["payload"])


def _decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
