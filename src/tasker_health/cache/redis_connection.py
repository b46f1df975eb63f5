"""One connection to one Redis, Valkey or sentinel, by redis-py; only this module and its faults know redis-py.

Of redis-py we take what one connection is: connecting, TLS, signing in, the protocol. Its pools, retries, health checks
and time limits are not used: who asks sets a limit to the whole of it, and drops the connection when that has passed.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any

from tasker_health.cache import MOST_BYTES
from tasker_health.cache.redis_url import Credentials
from tasker_health.errors import ConfigurationError

try:
    from redis._parsers import _AsyncRESP2Parser
    from redis.asyncio import Connection
    from redis.exceptions import InvalidResponse, ResponseError
except ModuleNotFoundError:
    raise ConfigurationError("redis-py is not installed; pip install 'tasker-health[redis]'") from None

_LONGEST_REPLY = MOST_BYTES + 1024
_OLD_PROTOCOL = 2
"""Every server speaks it, and it takes no greeting, which would be a round trip more."""


class _Parser(_AsyncRESP2Parser):
    """Reads replies; one that announces more bytes than we ever ask for is not read into memory."""

    async def _read(self, length: int) -> bytes:
        if not 0 <= length <= _LONGEST_REPLY:
            raise InvalidResponse("more bytes are announced than were asked for")
        return await super()._read(length)


class RedisConnection(Connection):
    """One connection, with one question at a time.

    Args:
        host: Name or address.
        port: Of TCP.
        credentials: Who we are there.
        database: Its number.
        tls: How the certificate is verified; `None`: there is none.
    """

    def __init__(
        self, host: str, port: int, credentials: Credentials, database: int, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(
            host=host,
            port=port,
            username=credentials.user,
            password=credentials.password,
            db=database,
            protocol=_OLD_PROTOCOL,
            parser_class=_Parser,
            socket_timeout=None,
            socket_connect_timeout=None,
        )
        # Else it says its own name and version, at the cost of a round trip; old versions have the other two.
        self.driver_info = self.lib_name = self.lib_version = None
        self._tls = tls
        self._transport: asyncio.WriteTransport | None = None

    def _connection_arguments(self) -> dict[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._tls}

    async def _connect(self) -> None:
        await super()._connect()  # type: ignore[no-untyped-call]
        if self._writer is not None:
            self._transport = self._writer.transport

    async def open(self) -> None:
        """Connect and sign in.

        Raises:
            Exception: Of redis-py or the operating system; what was opened is closed.
        """
        try:
            await self.connect()  # type: ignore[no-untyped-call]
        except BaseException:
            self.drop()
            raise

    async def ask(self, *words: str | bytes | int) -> Any:
        """Return the reply to one command.

        Raises:
            Exception: Of redis-py or the operating system; the connection may be of no use any more.
        """
        await self.send_packed_command(self.pack_command(*words), check_health=False)
        return await self.read_response(disable_decoding=True)

    async def ask_in_a_row(self, *commands: tuple[str | int, ...]) -> list[Any]:
        """Return the replies to *commands*, which are sent together.

        Raises:
            Exception: As `ask`; the first refusal, when all have been read.
        """
        await self.send_packed_command(self.pack_commands(commands), check_health=False)
        replies: list[Any] = []
        for _ in commands:
            try:
                replies.append(await self.read_response(disable_decoding=True))
            except ResponseError as refusal:
                replies.append(refusal)
        refused = next((reply for reply in replies if isinstance(reply, ResponseError)), None)
        if refused is not None:
            raise refused
        return replies

    @property
    def is_usable(self) -> bool:
        """Whether it is open and silent: what waits there to be read was said to nobody's question."""
        reader, transport = self._reader, self._transport
        if reader is None or transport is None or transport.is_closing():
            return False
        return not reader.at_eof() and reader.exception() is None and not getattr(reader, "_buffer", b"")

    def drop(self) -> None:
        """Close it at once, whatever is still to be sent: a goodbye would wait for a server that hangs."""
        if self._transport is not None:
            self._transport.abort()
        self._reader = self._writer = None

    def abandon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close it from outside of *loop*, its own, which has ended or is not running."""
        transport = self._transport
        if transport is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self.drop)
        elif transport is not None:
            # Transports close their sockets in a turn of their loop, and there is none: we do what that turn would do.
            with contextlib.suppress(Exception):
                transport.abort()
            inner: Any = getattr(getattr(transport, "_ssl_protocol", None), "_transport", transport)
            with contextlib.suppress(Exception):
                inner._call_connection_lost(None)  # noqa: SLF001 -- as above
            self._reader = self._writer = None
