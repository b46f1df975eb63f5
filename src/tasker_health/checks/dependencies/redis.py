"""The check of a Redis or Valkey: does it answer PING to whom we are there, and may it be written to?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Unpack

from tasker_health.cache.redis_url import Address, address_of
from tasker_health.checks.dependencies import LinkedDependency, Terms, client_of, tls_of
from tasker_health.errors import CheckFailed, ConfigurationError, SettingsError
from tasker_health.model import Reason

if TYPE_CHECKING:
    from tasker_health.cache.redis_connection import RedisConnection

_EXAMPLE = "redis://user:password@host:6379/0, or rediss:// for TLS; each part but the host optional"


class RedisCheck(LinkedDependency["RedisConnection"]):
    """Sends PING over a connection of its own, which is kept.

    Args:
        name: The name of the check.
        url: `redis://`, `rediss://` (TLS), `valkey://` or `valkeys://`.
        require_writable: Whether a replica, which is read-only, is an error.
        ca_file: PEM file of who signs its certificate; `None`: who the machine trusts.
        terms: See `Terms`.

    Raises:
        ConfigurationError: The URL is not one, the file cannot be read, or redis-py is not installed.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        require_writable: bool = False,
        ca_file: str | None = None,
        **terms: Unpack[Terms],
    ) -> None:
        self._address = _address(name, url)
        super().__init__(name, [self._address.credentials.password], **terms)
        client_of(name, "redis", "redis-py", "redis")
        self._require_writable = require_writable
        self._tls = tls_of(name, ca_file) if self._address.is_tls else None

    async def _open(self) -> RedisConnection:
        from tasker_health.cache.redis_connection import RedisConnection

        host, port = self._address.hosts[0]
        await self._resolver.resolve(host)
        connection = RedisConnection(host, port, self._address.credentials, self._address.database, self._tls)
        try:
            await connection.open()
        except asyncio.CancelledError:
            connection.drop()
            raise
        return connection

    async def _ask(self, link: RedisConnection) -> None:
        if await link.ask("PING") != b"PONG":
            raise CheckFailed(Reason.INVALID, "what it answers is not Redis' protocol")
        if self._require_writable and _is_replica(await link.ask("ROLE")):
            raise CheckFailed(Reason.READ_ONLY, "it is a replica")

    def _reason(self, error: Exception) -> Reason:
        from tasker_health.cache.redis_faults import fault_of

        return error.reason if isinstance(error, CheckFailed) else fault_of(error, self._secrets).reason

    def _failure(self, error: Exception) -> CheckFailed:
        from tasker_health.cache.redis_faults import fault_of

        fault = fault_of(error, self._secrets)
        return CheckFailed(fault.reason, str(fault))


def _is_replica(role: object) -> bool:
    match role:
        case [bytes(name), *_]:
            return name in {b"slave", b"replica"}
    raise CheckFailed(Reason.INVALID, "what it answers is not Redis' protocol")


def _address(name: str, url: str) -> Address:
    try:
        address = address_of(url)
    except SettingsError:
        raise ConfigurationError(f"check {name}: url ***: write it as {_EXAMPLE}") from None
    if address.service is not None:
        raise ConfigurationError(f"check {name}: url ***: one server, not sentinels; write it as {_EXAMPLE}")
    return address
