"""One request over HTTP and the status of its answer, over a connection that is closed afterwards, by httpx.

httpx' transport, not its client: that would log the whole address, follow the environment, and keep connections.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

import httpx

from tasker_health.model import Reason
from tasker_health.reasons import reason_of

_MOST_BYTES = 65_536
"""So much of a body is read at most; whoever sends more is well all the same."""


async def status_of(
    method: str, url: str, headers: Mapping[str, str], *, tls: ssl.SSLContext, proxy: str | None = None
) -> int:
    """Return the status of the answer to one request, when its body, or the beginning of a long one, has come.

    Raises:
        Exception: Of httpx, its parts, or the operating system. Nothing is left open, whenever it is cancelled.
    """
    opened: list[Any] = []

    async def trace(event: str, info: dict[str, Any]) -> None:
        # Cancelled in the middle of a handshake, httpx would leave the socket open.
        if event == "connection.connect_tcp.complete":
            opened.append(info["return_value"])

    transport = httpx.AsyncHTTPTransport(verify=tls, trust_env=False, proxy=proxy)
    request = httpx.Request(method, url, headers=dict(headers), extensions={"trace": trace})
    try:
        response = await transport.handle_async_request(request)
        read = 0
        async for chunk in response.aiter_raw():
            read += len(chunk)
            if read >= _MOST_BYTES:
                break
        return response.status_code
    finally:
        for stream in opened:
            await stream.aclose()
        await transport.aclose()


def reason_of_exchange(error: Exception) -> Reason:
    """Return the reason that an *error* of an exchange stands for."""
    reason = reason_of(error)
    if reason is not Reason.ERROR:
        return reason
    if isinstance(error, httpx.RemoteProtocolError) and "disconnected" not in str(error):
        return Reason.INVALID
    return Reason.UNREACHABLE if isinstance(error, httpx.TransportError) else Reason.ERROR
