"""The way to PagerDuty that its client is given: it can be cut from outside, and brings no more than an answer."""

from __future__ import annotations

import contextlib
import errno
import socket
import ssl
import threading
from collections.abc import Iterator
from typing import Any

import httpcore2  # noqa: F401 -- httpx2 would import it at the first event, and hold up the event loop
import httpx2

_MOST_BYTES = 65_536


class CutTransport(httpx2.BaseTransport):
    """One connection at a time, by TLS, without proxies of the environment.

    A time-out of the client's is one of each read: an answer of one byte a second lasts for ever. Whoever has waited
    long enough calls `cut`, and the thread that waits here goes on with an error.

    Args:
        tls: How the certificate is verified.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        tls.sslsocket_class = _Leaving
        self._inner = httpx2.HTTPTransport(verify=tls, trust_env=False)
        self._lock = threading.Lock()
        self._line: socket.socket | None = None
        self._is_cut = False

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Return the answer to *request*.

        Raises:
            httpx2.TransportError: There is none.
        """
        request.extensions = {**request.extensions, "trace": self._trace}
        response = self._inner.handle_request(request)
        # What is not as it was asked for is not unpacked: it is not JSON then, and is refused as such.
        headers = [(name, value) for name, value in response.headers.raw if name.lower() != b"content-encoding"]
        return httpx2.Response(response.status_code, headers=headers, stream=_Beginning(response.stream))

    def cut(self) -> None:
        """End what goes on here, from any thread; nothing begins afterwards."""
        with self._lock:
            self._is_cut = True
            line, self._line = self._line, None
        if line is not None:
            with contextlib.suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
            line.close()

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()

    def _trace(self, event: str, info: dict[str, Any]) -> None:
        if event == "connection.connect_tcp.started":
            with self._lock:
                if self._is_cut:
                    raise httpx2.ConnectError("cut")
        elif event == "connection.connect_tcp.complete":
            # A copy: TLS takes the socket over.
            line = info["return_value"].get_extra_info("socket").dup()
            with self._lock:
                is_cut, self._line = self._is_cut, None if self._is_cut else line
            if is_cut:
                line.close()
                raise httpx2.ConnectError("cut")


class _Leaving(ssl.SSLSocket):
    """Is closed when its peer is gone before the handshake: CPython 3.11 leaves it open until it is collected."""

    def getpeername(self) -> Any:
        """Return who is asked."""
        try:
            return super().getpeername()
        except OSError as error:
            if self.version() is not None:
                raise
            self.close()
            raise ConnectionResetError(errno.ECONNRESET, "the peer is gone") from error


class _Beginning(httpx2.SyncByteStream):
    """So much of a body as is read, and its end."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        read = 0
        for chunk in self._stream:
            yield chunk[: _MOST_BYTES - read]
            read += len(chunk)
            if read >= _MOST_BYTES:
                return

    def close(self) -> None:
        self._stream.close()
