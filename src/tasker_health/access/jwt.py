"""The authenticator `jwt`: JSON web tokens that somebody else issues, as `Authorization: Bearer`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from tasker_health.access import UNDECIDED, Undecided
from tasker_health.access.claims import name_of, roles_of
from tasker_health.access.credentials import credentials, looks_like_jwt
from tasker_health.access.principal import Principal, Roles
from tasker_health.errors import AuthenticationError, SettingsError
from tasker_health.request import Request
from tasker_health.settings import AuthSettings
from tasker_health.settings.access import JwtSettings

if TYPE_CHECKING:
    from tasker_health.access.jwks import KeySet
    from tasker_health.access.verified import VerifiedTokens
    from tasker_health.access.verifier import Verifier

_GROUP = "auth.jwt"
_SOURCES = ("key", "jwks_file", "jwks_url")
_PACKAGES = frozenset({"jwt", "cryptography", "httpx"})


class Keys(Protocol):
    """Where the keys come from."""

    def current(self) -> KeySet | None:
        """Return the keys that serve now, at once; `None`: they have to be waited for."""

    async def wait(self) -> KeySet:
        """Return the keys, which are read first when that is due.

        Raises:
            KeysFault: There are none.
        """


class JwtAuthenticator:
    """Knows callers by the tokens that an issuer has signed for them.

    Args:
        settings: How tokens must be.
        roles: What the roles that they name permit.
        keys: Whose signatures are trusted.
        verifier: Verifies them.
        verified: Remembers those that were.
        shares_scheme: Whether Bearer tokens that are no JWT are for another authenticator.
    """

    challenge = 'Bearer realm="tasker_health"'

    def __init__(
        self,
        settings: JwtSettings,
        roles: Roles,
        keys: Keys,
        verifier: Verifier,
        verified: VerifiedTokens,
        *,
        shares_scheme: bool = False,
    ) -> None:
        self._settings = settings
        self._roles = roles
        self._keys = keys
        self._verifier = verifier
        self._verified = verified
        self._shares_scheme = shares_scheme

    @classmethod
    def from_settings(cls, settings: AuthSettings) -> JwtAuthenticator:
        """Return the authenticator that the group `auth` describes.

        Raises:
            SettingsError: `auth.jwt` is not there, or cannot work; or a package that it needs is not installed.
        """
        if settings.jwt is None:
            raise SettingsError(_GROUP, "not set", f"auth.authenticator_class names jwt; set {_choice()}")
        make_keys = _source_of(settings.jwt)
        try:
            from tasker_health.access.verified import VerifiedTokens
            from tasker_health.access.verifier import Verifier

            keys = make_keys(settings.jwt, settings.timeout_seconds)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing not in _PACKAGES:
                raise
            remedy = f"{missing} is not installed; pip install 'tasker-health[jwt]'"
            raise SettingsError("auth.authenticator_class", "'jwt'", remedy) from None
        return cls(
            settings.jwt,
            Roles(settings.roles),
            keys,
            Verifier(settings.jwt),
            VerifiedTokens(),
            shares_scheme="tokens" in settings.authenticator_class,
        )

    async def authenticate(self, request: Request) -> Principal | None:
        """Return whom the token of *request* stands for; `None`: it has none.

        Raises:
            AuthenticationError: The token is not valid.
            KeysFault: There is no key to verify anybody's token with: not the caller's fault.
        """
        known = self.at_once(request)
        if known is not UNDECIDED:
            return known
        return await self._verify(credentials(request, "Bearer") or "", self._keys.current())

    def at_once(self, request: Request) -> Principal | Undecided | None:
        """Return who sent *request* when their token was verified a moment ago, `None` without one.

        Raises:
            AuthenticationError: It was sent twice, or is no token at all.
        """
        token = credentials(request, "Bearer")
        if token is None or (self._shares_scheme and not looks_like_jwt(token)):
            return None
        keys = self._keys.current()
        return (None if keys is None else self._verified.get(token, keys)) or UNDECIDED

    async def _verify(self, token: str, keys: KeySet | None) -> Principal:
        header = self._verifier.header(token)
        if keys is None or not keys.knows(header.key_id):
            keys = await self._keys.wait()
        fitting = keys.fitting(header.key_id, header.algorithm)
        if not fitting:
            raise AuthenticationError("no key that is trusted fits the token's kid and alg")
        claims = self._verifier.claims(token, header.algorithm, fitting)
        name = name_of(claims, self._settings.subject_claim)
        principal = self._roles.principal(name, roles_of(claims, self._settings.roles_claim))
        self._verified.keep(token, principal, keys, claims["exp"] + self._settings.leeway_seconds)
        return principal


class _OneKey:
    """A key that stands in the settings."""

    def __init__(self, keys: KeySet) -> None:
        self._keys = keys

    def current(self) -> KeySet:
        """Return it."""
        return self._keys

    async def wait(self) -> KeySet:
        """Return it."""
        return self._keys


def _source_of(settings: JwtSettings) -> Callable[[JwtSettings, float], Keys]:
    """Return what makes the keys of the one source that *settings* name; imports of extras happen when it is called.

    Raises:
        SettingsError: They name none, or several, or one that has nothing to do with the others.
    """
    named = [name for name in _SOURCES if getattr(settings, name) is not None]
    if len(named) != 1:
        raise SettingsError(_GROUP, " and ".join(named) or "no key", f"allowed: exactly one of {_choice()}")
    if settings.algorithms[0].startswith("HS") and named != ["key"]:
        remedy = f"holds public keys; {settings.algorithms[0]} needs a shared secret: set {_GROUP}.key"
        raise SettingsError(f"{_GROUP}.{named[0]}", "set", remedy)
    if settings.jwks_ca_file is not None and named != ["jwks_url"]:
        raise SettingsError(f"{_GROUP}.jwks_ca_file", repr(settings.jwks_ca_file), f"is for {_GROUP}.jwks_url only")
    return {"key": _from_key, "jwks_file": _from_file, "jwks_url": _from_url}[named[0]]


def _from_key(settings: JwtSettings, timeout_seconds: float) -> Keys:
    from tasker_health.access.jwks import key_of_settings

    del timeout_seconds
    return _OneKey(key_of_settings(settings.key.get_secret_value() if settings.key else "", settings.algorithms))


def _from_file(settings: JwtSettings, timeout_seconds: float) -> Keys:
    from tasker_health.access.jwks_file import keys_of_file

    return keys_of_file(settings, timeout_seconds)


def _from_url(settings: JwtSettings, timeout_seconds: float) -> Keys:
    from tasker_health.access.jwks_url import keys_of_url

    return keys_of_url(settings, timeout_seconds)


def _choice() -> str:
    return ", ".join(f"{_GROUP}.{name}" for name in _SOURCES)
