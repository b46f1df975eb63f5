"""A program that is no cache, where one is expected."""

from __future__ import annotations

import contextlib
import secrets
import socketserver
import threading

PATIENCE_SECONDS = 30
HTTP = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<h1>Bad Request</h1>\r\n"
NOISE = secrets.token_bytes(4096)


class Stranger(socketserver.ThreadingTCPServer):
    """A program that is no cache: it says its words, first or when spoken to, and hangs up or goes on listening."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, words: bytes, *, speaks_first: bool) -> None:
        self.words, self.speaks_first = words, speaks_first
        super().__init__(("127.0.0.1", 0), _Talk)
        self.port = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self.shutdown()
        self.server_close()
        self._thread.join(PATIENCE_SECONDS)


class _Talk(socketserver.BaseRequestHandler):
    server: Stranger

    def handle(self) -> None:
        """Say the words."""
        with contextlib.suppress(OSError):
            self.request.settimeout(PATIENCE_SECONDS)
            if self.server.speaks_first or self.request.recv(65536):
                self.request.sendall(self.server.words)
            if self.server.speaks_first:
                while self.request.recv(65536):
                    pass
