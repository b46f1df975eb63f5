"""Every decision about a request: method, path, who asks, code, headers. No framework in it."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Awaitable, Callable

from tasker_health.access import PERMISSION
from tasker_health.access.gate import AccessFault, Gate
from tasker_health.errors import AuthenticationError, UnauthorizedError
from tasker_health.model import Problem, SystemStatus
from tasker_health.monitor import Monitor
from tasker_health.request import Request
from tasker_health.web.openapi import document
from tasker_health.web.render import Answer, Rendered, render

Endpoint = Callable[[Request], Awaitable[Answer]]

OK, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, NOT_ALLOWED, FAULT, UNAVAILABLE = 200, 401, 403, 404, 405, 500, 503

log = logging.getLogger(__name__)


class Endpoints:
    """Answers requests for the paths under *prefix*.

    Args:
        monitor: Who knows.
        gate: Who may read the status.
        prefix: Path above every endpoint, without a slash at its end; may be empty.
    """

    def __init__(self, monitor: Monitor, gate: Gate, prefix: str) -> None:
        self._monitor = monitor
        self._gate = gate
        self._root = f"{prefix}/health"
        self._ready_below = f"{prefix}/health/ready/"
        self._live_report: object = None
        self._live_answer: Answer | None = None
        self._rendered_live, self._rendered_ready, self._rendered_status = Rendered(), Rendered(), Rendered()
        self._openapi = render(OK, document(prefix))
        self.by_path: dict[str, Endpoint] = {
            f"{self._root}/live": self._answer_live,
            f"{self._root}/ready": self._answer_ready,
            f"{self._root}/startup": self._answer_startup,
            f"{self._root}/status": self._answer_status,
            self._root: self._answer_status,
            f"{prefix}/openapi.json": self._answer_openapi,
        }

    def claims(self, path: str) -> bool:
        """Return whether *path* is ours to answer, if only with 404.

        Everything below `<prefix>/health` is, in whatever spelling: a probe for a path that is nearly right must
        not reach an application that redirects it.
        """
        if path in self.by_path:
            return True
        plain = posixpath.normpath(f"/{path.lstrip('/')}").lower()
        root = self._root.lower()
        return plain == root or plain.startswith(f"{root}/") or plain in self.by_path

    async def answer(self, request: Request) -> Answer:
        """Return the answer to *request*; whatever goes wrong in that is a 500 that tells nothing."""
        endpoint = self.by_path.get(request.path)
        try:
            if endpoint is None:
                return await self._answer_elsewhere(request)
            if request.method not in {"GET", "HEAD"}:
                return _problem(NOT_ALLOWED, "Method Not Allowed", f"{request.method} is not allowed; use GET or HEAD")
            return await endpoint(request)
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            return _problem(FAULT, "Internal Server Error", "The answer could not be made; the log says why")

    async def _answer_live(self, _request: Request) -> Answer:
        report = self._monitor.live()
        return self._rendered_live(OK if report.alive else UNAVAILABLE, report)

    async def _answer_ready(self, _request: Request) -> Answer:
        report = await self._monitor.ready()
        return self._rendered_ready(OK if report.ready else UNAVAILABLE, report)

    async def _answer_startup(self, _request: Request) -> Answer:
        report = self._monitor.startup()
        return render(OK if report.started else UNAVAILABLE, report)

    async def _answer_status(self, request: Request) -> Answer:
        if not self._gate.open:
            denied = await self._denied(request)
            if denied is not None:
                return denied
        report = await self._monitor.status()
        return self._rendered_status(UNAVAILABLE if report.status is SystemStatus.UNHEALTHY else OK, report)

    async def _answer_openapi(self, _request: Request) -> Answer:
        return self._openapi

    async def _answer_elsewhere(self, request: Request) -> Answer:
        name = request.path.removeprefix(self._ready_below)
        if name == request.path or name not in self._monitor.check_names:
            return _problem(NOT_FOUND, "Not Found", "There is no such endpoint or check")
        if request.method not in {"GET", "HEAD"}:
            return _problem(NOT_ALLOWED, "Method Not Allowed", f"{request.method} is not allowed; use GET or HEAD")
        report = await self._monitor.ready(name)
        return render(OK if report.ready else UNAVAILABLE, report)

    async def _denied(self, request: Request) -> Answer | None:
        """Return why the sender of *request* may not read the status, or `None` when it may."""
        try:
            await self._gate.admit(request)
        except AuthenticationError:
            return _problem(UNAUTHORIZED, "Unauthorized", "Valid credentials are required to read the status")
        except UnauthorizedError:
            resource, _, action = PERMISSION.partition(":")
            return _problem(FORBIDDEN, "Forbidden", f"Not authorized to {action} on {resource}")
        except AccessFault as fault:
            return _problem(FAULT, fault.error, "Who may read the status cannot be decided; the log says why")
        return None


_EXTRA_HEADERS = {
    UNAUTHORIZED: ((b"www-authenticate", b'Bearer realm="tasker_health"'),),
    NOT_ALLOWED: ((b"allow", b"GET, HEAD"),),
}


def _problem(status: int, error: str, message: str) -> Answer:
    return render(status, Problem(error=error, message=message), _EXTRA_HEADERS.get(status, ()))
