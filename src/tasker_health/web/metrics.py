"""The endpoint of the metrics: who may read them, and in which format."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from tasker_health.access.gate import CHALLENGE, Gate
from tasker_health.exporters import PullExporter, Snapshot
from tasker_health.request import Request
from tasker_health.web.refusal import UNAUTHORIZED, admission, problem
from tasker_health.web.render import Answer

_OK = 200
_VARY = (b"vary", b"Accept")


class Metrics:
    """Answers those who scrape.

    Args:
        take: Answers what there is to tell now.
        gate: Who may read the status, and with `access = inherit` the metrics.
        exporter: Puts what is known into the scraper's format.
    """

    def __init__(self, take: Callable[[], Awaitable[Snapshot]], gate: Gate, exporter: PullExporter) -> None:
        self._take = take
        self._gate = gate
        self._exporter = exporter
        token = exporter.settings.token
        self._expected = b"" if token is None else b"Bearer " + token.get_secret_value().encode()

    async def answer(self, request: Request) -> Answer:
        """Return the metrics, 200 even when the system is unhealthy: a scraper takes anything else for no answer."""
        refused = await self._refused(request)
        if refused is not None:
            return refused
        snapshot = await self._take()
        body, content_type = await self._exporter.render(snapshot, ",".join(request.headers("accept")))
        return Answer(_OK, body, [_VARY], content_type)

    async def _refused(self, request: Request) -> Answer | None:
        access = self._exporter.settings.access
        if access == "inherit":
            return (await admission(self._gate, request)).refusal
        if access == "open" or self._knows_token(request):
            return None
        await self._gate.failed(request)
        answer = problem(UNAUTHORIZED, "Unauthorized", "The token of the metrics is required to read them")
        answer.headers.append((b"www-authenticate", CHALLENGE.encode()))
        return answer

    def _knows_token(self, request: Request) -> bool:
        """Whether *request* carries the token, once; the scheme's case is free, as RFC 9110 has it."""
        given = request.headers("authorization")
        if len(given) != 1:
            return False
        scheme, _, token = given[0].partition(" ")
        presented = f"{scheme.capitalize()} {token.strip()}".encode("latin-1", "replace")
        return hmac.compare_digest(presented, self._expected)
