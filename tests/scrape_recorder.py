"""Who stands between Prometheus and us, and keeps in mind what they said to each other."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler
from typing import NamedTuple

import httpx

from webhook_receiver import PATIENCE_SECONDS, Listening


class Scrape(NamedTuple):
    """One scrape: what was asked for, and what was answered."""

    accept: str
    code: int
    content_type: str


class ScrapeRecorder(Listening):
    """Hands every GET on to *address* and keeps in mind what was said.

    Args:
        address: `host:port` of whom the scraper means.
        accept: Asked for in place of what the scraper asks for.

    Attributes:
        scrapes: Every scrape so far.
    """

    def __init__(self, address: str, accept: str | None = None) -> None:
        self.scrapes: list[Scrape] = []
        scrapes, client = self.scrapes, httpx.Client(timeout=PATIENCE_SECONDS)
        self._client = client

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = accept or self.headers["Accept"]
                try:
                    answer = client.get(f"http://{address}{self.path}", headers={"Accept": asked})
                except httpx.TransportError:  # it is not there yet, or not any more
                    self.send_error(502)
                    return
                content_type = answer.headers["Content-Type"]
                scrapes.append(Scrape(self.headers["Accept"], answer.status_code, content_type))
                self.send_response(answer.status_code)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        super().__init__(Handler)

    def __exit__(self, *arguments: object) -> None:
        """Listen no more, and give up the connections."""
        super().__exit__(*arguments)
        self._client.close()
