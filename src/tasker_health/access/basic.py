"""HTTP Basic (RFC 7617): names and passwords that the settings know by their hashes."""

from __future__ import annotations

import asyncio
import base64
import secrets
import unicodedata
from asyncio import Future
from collections.abc import Mapping
from contextlib import ExitStack
from typing import NamedTuple

from tasker_health.access import UNDECIDED, Undecided
from tasker_health.access.credentials import credentials
from tasker_health.access.hashing import PasswordHash
from tasker_health.access.limiter import address_of
from tasker_health.access.principal import Principal, Roles
from tasker_health.access.remembered import Remembered
from tasker_health.access.turns import BusyError, Turns
from tasker_health.deadline import in_thread
from tasker_health.errors import AuthenticationError, SettingsError
from tasker_health.request import Request
from tasker_health.settings import AuthSettings
from tasker_health.settings.kinds import Network

_SHARE_OF_DEADLINE = 0.8
"""The gate takes an authenticator that is late for a broken one; many callers at once are not that."""


class KnownUser(NamedTuple):
    """A password by its hash, and whose it is."""

    password: PasswordHash
    caller: Principal


class BasicAuthenticator:
    """Knows callers by name and password.

    Args:
        users: Those that are known, by name; at least one.
        trusted_proxies: Whose `X-Forwarded-For` is believed.
        patience_seconds: Longest wait for a verdict.
    """

    challenge = 'Basic realm="tasker_health", charset="UTF-8"'

    def __init__(
        self, users: Mapping[str, KnownUser], trusted_proxies: tuple[Network, ...], patience_seconds: float
    ) -> None:
        self._users = dict(users)
        # An unknown name costs what that of some user costs, and always of the same one, so that time tells no names.
        self._decoys = [user.password.decoy() for user in users.values()]
        self._decoy_key = secrets.randbits(64)
        self._trusted_proxies = trusted_proxies
        self._patience_seconds = patience_seconds
        self._turns = Turns()
        self._remembered = Remembered()

    @classmethod
    def from_settings(cls, settings: AuthSettings) -> BasicAuthenticator:
        """Return one that knows the users of *settings*.

        Raises:
            SettingsError: There is no user, a hash is none, or a role is not there.
        """
        if not settings.users:
            allowed = "needs a user in auth.users; `tasker-health token password` makes the hash of a password"
            raise SettingsError("auth.authenticator_class", "'basic'", allowed)
        roles = Roles(settings.roles)
        users = {}
        for name, user in settings.users.items():
            key = f"auth.users.{name}"
            roles.require(user.roles, f"{key}.roles")
            password = PasswordHash.read(user.password_hash, f"{key}.password_hash")
            users[name] = KnownUser(password, roles.principal(name, user.roles))
        return cls(users, settings.trusted_proxies, _SHARE_OF_DEADLINE * settings.timeout_seconds)

    async def authenticate(self, request: Request) -> Principal | None:
        """Return whose name and password *request* carries, `None` without them.

        Raises:
            AuthenticationError: They are not right; or they were not looked at, because the address fails too often.
            BusyError: There was no time to look at them.
        """
        known = self.at_once(request)
        if known is not UNDECIDED:
            return known
        decoded = _decoded(credentials(request, "Basic") or "")
        address = address_of(request, self._trusted_proxies)
        try:
            async with asyncio.timeout(self._patience_seconds):
                caller = await self._verified(decoded, address)
        except (TimeoutError, BusyError):
            if self._turns.suspects(address):
                raise AuthenticationError("its address has failed before, and waits for its turn") from None
            raise BusyError from None
        if caller is None:
            raise AuthenticationError("the user is unknown, or the password is not theirs")
        return caller

    def at_once(self, request: Request) -> Principal | Undecided | None:
        """Return who sent *request* when that was found a moment ago, `None` without credentials.

        Raises:
            AuthenticationError: They are malformed.
        """
        sent = credentials(request, "Basic")
        if sent is None:
            return None
        return self._remembered.caller(_decoded(sent)) or UNDECIDED

    async def _verified(self, decoded: bytes, address: str) -> Principal | None:
        turn = await self._turns.turn(address)
        try:
            caller = self._remembered.caller(decoded)  # the one before in the queue may have sent the same
            if caller is not None:
                turn.close()
                return caller
            name, _, password = decoded.decode().partition(":")
            user = self._users.get(name)
            stored = user.password if user else self._decoy(name)
            verdict = in_thread(lambda: stored.matches(password), "password")
        except BaseException:
            turn.close()
            raise
        caller = user.caller if user else None

        def settle(verdict: Future[bool]) -> None:
            self._settle(verdict, decoded, caller, address, turn)

        # The thread cannot be ended: whoever leaves, the turn lasts as long as the thread does.
        verdict.add_done_callback(settle)
        return caller if await asyncio.shield(verdict) else None

    def _settle(
        self, verdict: Future[bool], decoded: bytes, caller: Principal | None, address: str, turn: ExitStack
    ) -> None:
        with turn:
            if verdict.exception() is not None:
                return
            if caller is not None and verdict.result():
                self._remembered.remember(decoded, caller)
            else:
                self._turns.failed(address)

    def _decoy(self, name: str) -> PasswordHash:
        return self._decoys[hash((self._decoy_key, name)) % len(self._decoys)]


def _decoded(sent: str) -> bytes:
    """Return `name:password` in UTF-8.

    Raises:
        AuthenticationError: It is not base64, not UTF-8, has no colon or a control character (RFC 7617 section 2).
    """
    try:
        decoded = base64.b64decode(sent, validate=True)
        text = decoded.decode()
    except ValueError:
        raise AuthenticationError("what follows Basic is not base64 of UTF-8") from None
    if ":" not in text or any(unicodedata.category(character) == "Cc" for character in text):
        raise AuthenticationError("what follows Basic is not a user, a colon and a password")
    return decoded
