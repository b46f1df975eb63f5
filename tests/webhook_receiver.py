"""Who is told by webhooks: a small HTTP server of the test's own."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

PATIENCE_SECONDS = 60


class Listening:
    """A server on a free port; each request is handled in a thread of its own."""

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """Where it listens, as `host:port`."""
        return f"127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Any:
        """Listen, from the making on."""
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(PATIENCE_SECONDS)


class Told(NamedTuple):
    """One alert as it came: when, to which path, firing or resolved, and the alert itself."""

    at: float
    path: str
    status: str
    alert: dict[str, Any]


class WebhookReceiver(Listening):
    """Takes what Alertmanager's `webhook_configs` send.

    Attributes:
        told: Every alert, in the order of arrival, as often as it came.
    """

    def __init__(self) -> None:
        self.told: list[Told] = []
        told = self.told

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                told.extend(Told(time.time(), self.path, each["status"], each) for each in document["alerts"])
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        super().__init__(Handler)

    def url(self, path: str) -> str:
        """Return the URL of *path* here."""
        return f"http://{self.address}{path}"

    def first(self, status: str, name: str) -> Told | None:
        """Return the first that was told of the alert *name* with *status*: `firing` or `resolved`."""
        return next(
            (each for each in self.told if (each.status, each.alert["labels"]["alertname"]) == (status, name)), None
        )
