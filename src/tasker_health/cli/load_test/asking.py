"""Asks one endpoint once, by aiohttp, and says what came: no redirect is followed, no cookie kept, no proxy used."""

from __future__ import annotations

import asyncio
import errno
import re
import ssl
from collections.abc import Mapping
from typing import Any, Self

import aiohttp
from yarl import URL

from tasker_health.cli.load_test.plan import ENDPOINTS
from tasker_health.cli.load_test.record import CACHED, PLAIN, UNCACHED, Outcome
from tasker_health.cli.load_test.target import Base, bracketed

LARGEST_ANSWER = 4 << 20
"""Bytes of one answer; a status of many sources has some hundred thousand."""

_OWN_KEY = {"live": b'"alive"', "ready": b'"ready"', "status": b'"status"'}
_CACHED = re.compile(rb'"cache_info"\s*:\s*\{[^{}]*?"cached"\s*:\s*(true|false)')
_OUR_OWN = {errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM}
_UNCONNECTED = {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "broken_off", errno.EPIPE: "broken_off"}
_HEALTH_ANSWERS = {"ready", "status"}
_OK, _UNAVAILABLE = 200, 503


class Asker:
    """Asks one address. An asynchronous context manager.

    Args:
        base: Where the endpoints stand; its name is in the `Host` header and, for https, in the certificate.
        address: Where to connect: the very one that was looked at.
        headers: What is sent with questions to `status`, such as credentials; `live` and `ready` ask for none.
        context: What verifies the server, for https.
        server_name: What its certificate must say, in place of the host's name.
        kept_alive: Whether a connection is used again.
    """

    def __init__(
        self,
        base: Base,
        address: str,
        headers: Mapping[str, str],
        context: ssl.SSLContext | None,
        server_name: str | None = None,
        *,
        kept_alive: bool = True,
    ) -> None:
        scheme = "https" if base.secure else "http"
        root = f"{scheme}://{bracketed(address)}:{base.port}{base.path}"
        plain = {"Host": base.authority, "Accept": "application/json", "Accept-Encoding": "identity"}
        self._urls = {name: URL(f"{root}/{name}", encoded=True) for name in ENDPOINTS}
        self._headers = {name: plain | (dict(headers) if name == "status" else {}) for name in ENDPOINTS}
        self._options: dict[str, Any] = {"allow_redirects": False}
        if context is not None:
            self._options |= {"ssl": context, "server_hostname": server_name or base.host}
        self._kept_alive = kept_alive
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            # No limit here: how many are under way is the pace's to bound.
            connector=aiohttp.TCPConnector(limit=0, force_close=not self._kept_alive),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(),
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def ask(self, endpoint: str) -> Outcome:
        """Return what *endpoint* answers; it takes as long as it takes, so the caller bounds it."""
        if self._session is None:
            raise RuntimeError("use it as a context manager")
        try:
            async with self._session.get(
                self._urls[endpoint], headers=self._headers[endpoint], **self._options
            ) as response:
                body = bytearray()
                async for part in response.content.iter_any():
                    body += part
                    if len(body) > LARGEST_ANSWER:
                        response.close()
                        return Outcome(response.status, "too_large")
                return judged(endpoint, response.status, bytes(body))
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return Outcome(0, fault_of(error))


def judged(endpoint: str, code: int, body: bytes) -> Outcome:
    """Return what an answer of *endpoint* is worth.

    503 of `ready` and `status` is a true answer about health, and no fault of serving; 503 of `live` says that the
    process is wedged, and under load that is what was to be found out.
    """
    is_unhealthy = code == _UNAVAILABLE and endpoint in _HEALTH_ANSWERS
    if code != _OK and not is_unhealthy:
        return Outcome(code, "code")
    if _OWN_KEY[endpoint] not in body:  # a balancer's error page, or another program
        return Outcome(code, "not_ours")
    kind = PLAIN
    if endpoint == "status":
        found = _CACHED.search(body)
        kind = PLAIN if found is None else CACHED if found[1] == b"true" else UNCACHED
    return Outcome(code, "", kind, is_unhealthy)


def fault_of(error: Exception) -> str:
    """Return the word for what *error* is."""
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return "tls"
    if isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
        return "exhausted" if number in _OUR_OWN else _UNCONNECTED.get(number or 0, "unreachable")
    if isinstance(
        error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError | aiohttp.ClientOSError | ConnectionError
    ):
        return "broken_off"
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.http.HttpProcessingError | ValueError):
        return "garbage"
    return "unreachable"


async def ask_within(asker: Asker, endpoint: str, seconds: float) -> Outcome:
    """Return what *endpoint* answers within *seconds*, or that it did not."""
    try:
        async with asyncio.timeout(seconds):
            return await asker.ask(endpoint)
    except TimeoutError:
        return Outcome(0, "timeout")
