"""The cache in Memcached, asked with its meta commands, which alone tell how long an entry has still to live.

A server that was stopped and goes on answers before its clock has noticed. Whoever had to wait for an answer therefore
asks again, a moment later; and before something is put, a word is exchanged, or what has long waited in the buffers of
a stopped server would begin its life when that wakes up.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple, TypeVar

from tasker_health.cache import Cache, Held
from tasker_health.cache.memcached_connection import Connection, connected
from tasker_health.cache.memcached_ticks import ENTRY, LEASE, MOST_ABOVE_SECONDS, age_of, life
from tasker_health.cache.memcached_wire import NEEDED, Reply
from tasker_health.deadline import Wait, retrieve
from tasker_health.errors import CacheFault, SettingsError
from tasker_health.model import Reason
from tasker_health.reasons import reason_of, words_of
from tasker_health.resolver import Resolver

T = TypeVar("T")

_PORT = 11211
_URL = re.compile(r"memcached://(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9._-]{1,253}))(?::([0-9]{1,5}))?", re.ASCII)
_KEY = re.compile(r"[!-~]{1,200}", re.ASCII)

_WAKING_SECONDS = 0.05
"""How long after it was woken a server's clock is right: its thread for that may have to wait for a processor."""

_STARVED_FACTOR = 5
"""How many times its limit opening a connection may last in a starved loop: it takes some turns."""


def memcached_cache(url: str, *, timeout_seconds: float) -> Cache:
    """Return the cache in the Memcached of *url*, `memcached://host[:port]`; nothing is asked yet.

    Raises:
        SettingsError: The URL is not one of a single Memcached.
    """
    found = _URL.fullmatch(url)
    host, port = (found[1] or found[2], int(found[3] or _PORT)) if found else ("", 0)
    if found is None or not 0 < port <= 65535 or (found[1] and not _is_ipv6(host)):  # noqa: PLR2004 -- TCP's last port
        raise SettingsError("cache.url", _shown(url), "memcached://host[:port], one server, without a user or a path")
    return MemcachedCache(host, port, timeout_seconds)


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _shown(url: str) -> str:
    """Return *url* as far as it can hold no secret: hosts and ports, and nothing before an @."""
    before, _, rest = url.rpartition("@")
    hosts = rest if before else rest.removeprefix("memcached://")
    shown = hosts if re.fullmatch(r"[A-Za-z0-9.:,_\[\]-]{1,120}", hosts, re.ASCII) else "***"
    return f"memcached://{'***@' if before else ''}{shown}"


class _Asked(NamedTuple):
    """A connection, for the time of one question: until `ends_at`, by the loop's clock."""

    connection: Connection
    ends_at: float

    async def ask(self, command: str, *expected: str, block: bytes | None = None) -> Reply:
        lines = (command.encode("ascii"), b"") if block is None else (command.encode("ascii"), block, b"")
        return await self.connection.ask(b"\r\n".join(lines), self.ends_at, *expected)


class MemcachedCache:
    """Keeps entries and leases in one Memcached, asked over one connection, one question after the other.

    Args:
        host: Name or address of the server.
        port: Its port.
        timeout_seconds: Longest time of a question, waiting for its turn and connecting included.
    """

    name = "memcached"
    coarse_seconds = MOST_ABOVE_SECONDS

    def __init__(self, host: str, port: int, timeout_seconds: float) -> None:
        self._host, self._port = host, port
        self._timeout_seconds = timeout_seconds
        self._resolver = Resolver()
        self._connection: Connection | None = None
        self._opening: asyncio.Task[Connection] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = asyncio.Lock()
        self._pid = os.getpid()

    async def get(self, key: str) -> Held | None:
        """Return what lies under *key*, or `None`."""
        command = f"mg {_checked(key)} v t f"

        async def question(asked: _Asked) -> Held | None:
            reply = await asked.ask(command, "VA", "EN")
            return Held(reply.value, age_of(reply, ENTRY)) if reply.code == "VA" else None

        return await self._answer(question, is_timed=True)

    async def put(self, key: str, value: bytes, keep_seconds: float) -> None:
        """Keep *value* under *key* for *keep_seconds*."""
        command = f"ms {_checked(key)} {len(value)} {life(keep_seconds, ENTRY)}"

        async def question(asked: _Asked) -> None:
            await asked.ask("mn", "MN")
            await asked.ask(command, "HD", block=value)

        await self._answer(question)

    async def acquire(self, key: str, holder: str, seconds: float) -> bool:
        """Return whether *holder* has the lease *key* for *seconds* from now on, and at most three more."""
        own = holder.encode()
        command = f"ms {_checked(key)} {len(own)} {life(seconds, LEASE)}"

        async def question(asked: _Asked) -> bool:
            for _ in range(2):  # what was there can end in between, once
                if (await asked.ask(f"{command} ME", "HD", "NS", block=own)).code == "HD":
                    return True
                held = await asked.ask(f"mg {key} v t f c", "VA", "EN")
                if held.code == "EN":
                    continue
                version = _version_if_held_by(own, held)
                if version is None:
                    return False
                renewed = await asked.ask(f"{command} C{version}", "HD", "EX", "NF", block=own)
                if renewed.code != "NF":
                    return renewed.code == "HD"
            return False

        return await self._answer(question, is_timed=True)

    async def release(self, key: str, holder: str) -> None:
        """Give up the lease *key*, if *holder* has it."""
        own = holder.encode()
        command = f"mg {_checked(key)} v t f c"

        async def question(asked: _Asked) -> None:
            held = await asked.ask(command, "VA", "EN")
            version = _version_if_held_by(own, held) if held.code == "VA" else None
            if version is not None:
                await asked.ask(f"md {key} C{version}", "HD", "EX", "NF")

        await self._answer(question)

    async def close(self) -> None:
        """Close the connection; the next question opens a new one."""
        self._belong_to(asyncio.get_running_loop())
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()

    async def _answer(self, question: Callable[[_Asked], Awaitable[T]], *, is_timed: bool = False) -> T:
        """Return what *question* finds in its turn; one that is timed is asked again when the answer was slow."""
        loop = asyncio.get_running_loop()
        self._belong_to(loop)
        turn, ends_at = self._turn, loop.time() + self._timeout_seconds
        try:
            async with asyncio.timeout_at(ends_at):
                await turn.acquire()
        except TimeoutError:
            raise CacheFault(Reason.TIMEOUT, "earlier questions are still being asked") from None
        try:
            asked = await self._connected(ends_at)
            asked.connection.was_prompt = True
            answer = await question(asked)
            if is_timed and not asked.connection.was_prompt:
                await asyncio.sleep(min(_WAKING_SECONDS, (ends_at - loop.time()) / 2))
                answer = await question(await self._connected(ends_at))
        except TimeoutError:
            raise CacheFault(Reason.TIMEOUT, f"no answer within {self._timeout_seconds:g} s") from None
        except OSError as error:
            raise CacheFault(reason_of(error), words_of(error)) from None
        else:
            return answer
        finally:
            turn.release()

    async def _connected(self, ends_at: float) -> _Asked:
        """Return a connection; one that a starved loop had no turns to open goes on, for the next question."""
        if self._connection is not None and self._connection.is_open:
            return _Asked(self._connection, ends_at)
        loop = asyncio.get_running_loop()
        if self._opening is None or self._opening.done():
            longest = self._timeout_seconds * _STARVED_FACTOR
            self._opening = loop.create_task(self._open(loop.time() + longest))
            self._opening.add_done_callback(retrieve)
        opening, wait = self._opening, Wait()
        try:
            if not await wait.until(ends_at, opening):
                raise TimeoutError
        finally:
            if opening.done() or not wait.was_starved:
                self._opening = None
                opening.cancel()
        return _Asked(opening.result(), ends_at)

    async def _open(self, ends_at: float) -> Connection:
        connection = Connection(await connected(self._host, self._port, self._resolver, ends_at))
        # Before anything else: a value that is sent to a server without `ms` would be read as commands.
        greeted = await connection.ask(b"mn\r\n", ends_at, "MN", "EN")
        if greeted.code != "MN" or asyncio.get_running_loop() is not self._loop:
            connection.close()
            raise CacheFault(Reason.UNKNOWN_VERSION, NEEDED)
        self._connection = connection
        return connection

    def _belong_to(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin anew when *loop* is not the one of the question before."""
        if loop is self._loop:
            return
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close() if self._pid == os.getpid() else connection.leave()
        self._loop, self._pid, self._opening = loop, os.getpid(), None
        self._resolver, self._turn = Resolver(), asyncio.Lock()


def _checked(key: str) -> str:
    """Return *key* when it can be no more than a word of a command."""
    if not _KEY.fullmatch(key):
        raise ValueError("a key is 1 to 200 characters of printable ASCII without a space")
    return key


def _version_if_held_by(own: bytes, held: Reply) -> int | None:
    """Return the version of the lease that *held* tells of, or `None` if it is somebody else's."""
    age_of(held, LEASE)  # refuses what is none
    version = held.number("c")
    if version == 0:
        raise CacheFault(Reason.INVALID, "leases need versions: start Memcached without -C")
    return version if held.value == own else None
