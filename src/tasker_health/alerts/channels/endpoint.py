"""An address that is POSTed to: a new connection each time, closed afterwards, and no more read than is needed.

httpx' transport, not its client: that would log the whole address, which is a secret with Slack and its likes, follow
the environment, and keep connections.
"""

from __future__ import annotations

import contextlib
import importlib
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpcore  # noqa: F401 -- httpx would import it at the first event, and hold up the event loop
import httpx

from tasker_health.alerts.channels.verdict import delivery_error
from tasker_health.deadline import within
from tasker_health.errors import DeliveryError
from tasker_health.reasons import reason_of
from tasker_health.resolver import Resolver

with contextlib.suppress(ImportError):
    importlib.import_module("anyio._backends._asyncio")  # 25 ms, which httpcore would take at the first event

_HEADERS = {"accept-encoding": "identity", "user-agent": "tasker-health", "connection": "close"}


class Endpoint:
    """One address. Redirects are not followed; proxies and credentials of the environment are not used.

    Args:
        url: Where it is, `https` or `http`; a secret.
        key: The setting that names it, for who is to correct it.
        tls: How its certificate is verified.
        timeout_seconds: Longest time of one POST, from looking the name up to the head of the answer.
    """

    def __init__(self, url: str, key: str, tls: ssl.SSLContext, timeout_seconds: float) -> None:
        self._url = url
        self._key = key
        self._tls = tls
        self._timeout_seconds = timeout_seconds
        self._resolver = Resolver()
        self._host = urlsplit(url).hostname or ""

    async def post(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Pass when *body* was taken.

        Raises:
            DeliveryError: It was not.
        """
        try:
            response = await within(self._exchange(body, headers), self._timeout_seconds)
        except TimeoutError:
            raise DeliveryError(f"no answer within {self._timeout_seconds:g} s") from None
        except Exception as error:  # noqa: BLE001 -- of httpx, its parts or the operating system; words may hold the URL
            raise DeliveryError(f"{reason_of(error)} ({type(error).__name__})") from None
        if not response.is_success:
            raise delivery_error(response.status_code, response.headers, self._key)

    async def _exchange(self, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        opened: list[Any] = []

        async def trace(event: str, info: dict[str, Any]) -> None:
            # Cancelled in the middle of a handshake, httpx would leave the socket open.
            if event == "connection.connect_tcp.complete":
                opened.append(info["return_value"])

        await self._resolver.resolve(self._host)
        transport = httpx.AsyncHTTPTransport(verify=self._tls, trust_env=False)
        request = httpx.Request(
            "POST", self._url, content=body, headers={**_HEADERS, **headers}, extensions={"trace": trace}
        )
        try:
            # Its status has told already: a body that trickles would have the event sent again and again.
            return await transport.handle_async_request(request)
        finally:
            for stream in opened:
                await stream.aclose()
            await transport.aclose()
