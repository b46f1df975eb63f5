"""A set of keys at an HTTPS address: fetched whole, in a bounded time, or not at all."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable
from urllib.parse import urlsplit

import httpx

from tasker_health.access.jwks import KeySet, keys_of_document
from tasker_health.access.key_refresh import RefreshedKeys
from tasker_health.deadline import in_thread
from tasker_health.errors import SettingsError
from tasker_health.reasons import words_of
from tasker_health.redaction import redacted
from tasker_health.resolver import Resolver
from tasker_health.settings.access import JwtSettings

MOST_BYTES = 1_048_576
"""Length of the longest set that is read."""

KEPT_SECONDS = 86_400.0
"""How long fetched keys serve while the address does not confirm them."""

_SHARE = 0.75
"""Of the time that authentication may take: less than `RefreshedKeys` waits, so that it can say what went wrong."""

_CONNECT_SHARE = 0.4
"""Of one fetch, for TCP and for TLS each. When httpx gives up by itself it closes the socket; when it is cancelled in
the middle of a handshake it does not."""

_HEADERS = {"accept": "application/jwk-set+json, application/json", "accept-encoding": "identity"}
"""Nothing compressed: a short answer would be a long one."""


class JwksUrl:
    """Fetches from one address.

    Args:
        url: The address, `https` only.
        ca_file: Certificates that it is trusted by; `None`: the system's.
        algorithms: Those that keys are wanted for.
        timeout_seconds: Longest time of one fetch, from looking the name up to the last byte.

    Raises:
        SettingsError: It is no such address, or the certificates cannot be loaded.
    """

    def __init__(self, url: str, ca_file: str | None, algorithms: Iterable[str], timeout_seconds: float) -> None:
        self._host = _host(url)
        self._url = url
        self._algorithms = tuple(algorithms)
        self._timeout_seconds = timeout_seconds
        self._resolver = Resolver()
        try:
            self._tls = ssl.create_default_context(cafile=ca_file)
        except (OSError, ValueError) as error:
            raise SettingsError(
                "auth.jwt.jwks_ca_file", repr(ca_file), f"{words_of(error)}; name a file of certificates (PEM)"
            ) from None

    async def load(self) -> KeySet:
        """Return the keys that are there now.

        Raises:
            TimeoutError: They did not come in time.
            ValueError: What came is no set of keys.
            OSError: The host has no address.
            httpx.HTTPError: The server cannot be reached, or is not the one that its certificate must name.
        """
        async with asyncio.timeout(self._timeout_seconds):
            # httpx would look the name up in the application's pool, which a resolver that hangs would fill.
            await self._resolver.resolve(self._host)
            raw = await self._fetch()
            return await in_thread(lambda: keys_of_document(raw, self._algorithms), "jwks-url")

    async def _fetch(self) -> bytes:
        # No proxy and no .netrc of the environment; no redirect: the address is the operator's, and nobody else's.
        timeout = httpx.Timeout(self._timeout_seconds, connect=_CONNECT_SHARE * self._timeout_seconds)
        client = httpx.AsyncClient(
            verify=self._tls, timeout=timeout, follow_redirects=False, trust_env=False, headers=_HEADERS
        )
        async with client, client.stream("GET", self._url) as response:
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"it answers {response.status_code}, not 200")
            if response.headers.get("content-encoding", "identity") != "identity":
                raise ValueError("its answer is compressed")
            raw = b""
            async for chunk in response.aiter_raw():
                raw += chunk
                if len(raw) > MOST_BYTES:
                    raise ValueError(f"its answer is longer than {MOST_BYTES} bytes")
            return raw


def keys_of_url(settings: JwtSettings, timeout_seconds: float) -> RefreshedKeys:
    """Return the keys of the address that *settings* name, which are fetched once the first caller needs them.

    Raises:
        SettingsError: It is no such address, or the certificates cannot be loaded.
    """
    url = settings.jwks_url or ""
    source = JwksUrl(url, settings.jwks_ca_file, settings.algorithms, _SHARE * timeout_seconds)
    return RefreshedKeys(
        source.load,
        _shown(url),
        max_age_seconds=settings.jwks_max_age_seconds,
        cooldown_seconds=settings.jwks_cooldown_seconds,
        timeout_seconds=timeout_seconds,
        kept_seconds=max(KEPT_SECONDS, settings.jwks_max_age_seconds),
    )


def _shown(url: str) -> str:
    """Return *url* for the log: whatever stands in its query may be a secret."""
    address, has_query, _ = redacted(url).partition("?")
    return f"{address}?***" if has_query else address


def _host(url: str) -> str:
    """Return the host that *url* names."""
    allowed = "allowed: an address such as https://issuer.example/jwks.json, without a user"
    try:
        parts = urlsplit(url)
        fits = parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not url.isascii() or not url.isprintable() or " " in url:
        raise SettingsError("auth.jwt.jwks_url", repr(redacted(url)), allowed)
    return parts.hostname or ""
