"""Bearer tokens and API keys that the settings know by their hashes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from hmac import compare_digest
from typing import NamedTuple

from tasker_health.access.credentials import credentials, looks_like_jwt, only
from tasker_health.access.hashing import digest_of, read_token_hash
from tasker_health.access.principal import Principal, Roles
from tasker_health.clock import Clock, SystemClock
from tasker_health.errors import AuthenticationError, SettingsError
from tasker_health.request import Request
from tasker_health.settings import AuthSettings

log = logging.getLogger(__name__)

_CHALLENGE = 'Bearer realm="tasker_health"'


class KnownToken(NamedTuple):
    """A token by its digest, whose it is, and the second since the epoch at which it ends, if it does."""

    digest: bytes
    caller: Principal
    ends_at: float | None


class TokenAuthenticator:
    """Knows callers by `Authorization: Bearer <token>` (RFC 6750) or by the same token in a header of its own.

    Args:
        tokens: Those that are known.
        api_key_header: The other header.
        leave_jwts: Whether a bearer token that looks like a JWT is somebody else's to judge.
        clock: Tells when a token has ended.
    """

    challenge = _CHALLENGE

    def __init__(
        self, tokens: Sequence[KnownToken], api_key_header: str, *, leave_jwts: bool, clock: Clock | None = None
    ) -> None:
        self._tokens = tuple(tokens)
        self._api_key_header = api_key_header
        self._leave_jwts = leave_jwts
        self._clock = clock or SystemClock()

    @classmethod
    def from_settings(cls, settings: AuthSettings) -> TokenAuthenticator:
        """Return one that knows the tokens of *settings*.

        Raises:
            SettingsError: There is no token, a hash is none, two are the same, or a role is not there.
        """
        if not settings.tokens:
            allowed = "needs a token in auth.tokens; `tasker-health token create NAME` makes one"
            raise SettingsError("auth.authenticator_class", "'tokens'", allowed)
        if settings.api_key_header == "authorization":
            allowed = "a header other than Authorization, which is read as `Bearer <token>` anyway"
            raise SettingsError("auth.api_key_header", "'authorization'", f"allowed: {allowed}")
        tokens = _known_tokens(settings)
        known = cls(tokens, settings.api_key_header, leave_jwts="jwt" in settings.authenticator_class)
        for token in tokens:
            if known.ended(token):
                log.warning(
                    "the token of %s has expired; `tasker-health token create` makes another", token.caller.name
                )
        return known

    async def authenticate(self, request: Request) -> Principal | None:
        """Return whose token *request* carries, `None` without one. Raises as `at_once`."""
        return self.at_once(request)

    def at_once(self, request: Request) -> Principal | None:
        """Return whose token *request* carries, `None` without one.

        Raises:
            AuthenticationError: The token is not known or has ended; or two were sent that are not of one caller.
        """
        sent = [credentials(request, "Bearer"), only(request, self._api_key_header)]
        if sent[0] is not None and self._leave_jwts and looks_like_jwt(sent[0]):
            sent[0] = None
        callers = [self._caller(token) for token in sent if token is not None]
        if not callers:
            return None
        if any(caller is not callers[0] for caller in callers):
            raise AuthenticationError("two tokens were sent, of two callers")
        return callers[0]

    def ended(self, token: KnownToken) -> bool:
        """Return whether *token* is valid no more."""
        return token.ends_at is not None and token.ends_at <= self._clock.now()

    def _caller(self, token: str) -> Principal:
        digest, found = digest_of(token), None
        # With each of them, and to the end: how long it takes shall not tell which one was near.
        for known in self._tokens:
            if compare_digest(known.digest, digest):
                found = known
        if found is None:
            raise AuthenticationError("the token is unknown: it is no token of auth.tokens")
        if self.ended(found):
            raise AuthenticationError(f"the token of {found.caller.name} has expired")
        return found.caller


def _known_tokens(settings: AuthSettings) -> list[KnownToken]:
    roles = Roles(settings.roles)
    names: dict[bytes, str] = {}
    known = []
    for name, token in settings.tokens.items():
        key = f"auth.tokens.{name}"
        roles.require(token.roles, f"{key}.roles")
        digest = read_token_hash(token.hash, f"{key}.hash")
        if digest in names:
            remedy = f"auth.tokens.{names[digest]} has the same; give each caller a token of its own"
            raise SettingsError(f"{key}.hash", "'***'", remedy)
        names[digest] = name
        ends_at = token.expires.timestamp() if token.expires else None
        known.append(KnownToken(digest, roles.principal(name, token.roles), ends_at))
    return known
