"""Every decision about a request: method, path, who asks, code, headers. No framework in it."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Awaitable, Callable
from typing import Any

from tasker_health.access import PERMISSION
from tasker_health.access.gate import AccessFault, Gate
from tasker_health.errors import AuthenticationError, UnauthorizedError
from tasker_health.model import Liveness, Problem, Readiness, Startup, StatusReport, SystemStatus
from tasker_health.monitor import Monitor
from tasker_health.request import Request
from tasker_health.web.openapi import document
from tasker_health.web.render import Answer, Rendered, render

Known = tuple[Callable[[], Any], Callable[[Any], Answer]]
Endpoint = Callable[[Request], Awaitable[Answer]]

OK, UNAUTHORIZED, FORBIDDEN, NOT_FOUND, NOT_ALLOWED, FAULT, UNAVAILABLE = 200, 401, 403, 404, 405, 500, 503

_READS = frozenset({"GET", "HEAD"})
_UNTOLD = ("Internal Server Error", "The answer could not be made; the log says why")

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
        self._rendered_ready = Rendered(_ready_code).answer
        self._rendered_status = Rendered(_status_code).answer
        openapi = document(prefix)
        # What may be known without waiting: where the report comes from (`None`: it takes waiting), and its bytes.
        self._known: dict[str, Known] = {
            f"{self._root}/live": (monitor.live, Rendered(_live_code).answer),
            f"{self._root}/ready": (monitor.known_readiness, self._rendered_ready),
            f"{self._root}/startup": (monitor.startup, Rendered(_startup_code).answer),
            f"{prefix}/openapi.json": (lambda: openapi, Rendered(lambda _document: OK).answer),
        }
        self._asked: dict[str, Endpoint] = {
            f"{self._root}/ready": self._ready,
            f"{self._root}/status": self._status,
            self._root: self._status,
        }
        if gate.open:
            known_status = (monitor.known_status, self._rendered_status)
            self._known |= {f"{self._root}/status": known_status, self._root: known_status}
        self._paths = self._known.keys() | self._asked.keys()

    def claims(self, path: str) -> bool:
        """Return whether *path* is ours to answer, if only with 404.

        Everything below `<prefix>/health` is, in whatever spelling: a probe for a path that is nearly right must
        not reach an application that redirects it.
        """
        if path in self._paths:
            return True
        plain = posixpath.normpath(f"/{path.lstrip('/')}").lower()
        root = self._root.lower()
        return plain == root or plain.startswith(f"{root}/") or plain in self._paths

    def at_once(self, method: str, path: str) -> Answer | None:
        """Return the answer that is known without waiting or looking further; `None`: `answer` has it.

        Most probes are answered here: it costs no coroutine and no `Request`.
        """
        known = self._known.get(path)
        if known is None or method not in _READS:
            return None
        report_of, rendered = known
        try:
            report = report_of()
            return None if report is None else rendered(report)
        except Exception:
            log.exception("%s %s failed", method, path)
            return _problem(FAULT, *_UNTOLD)

    async def answer(self, request: Request) -> Answer:
        """Return the answer to *request*; whatever goes wrong in that is a 500 that tells nothing."""
        method, path = request.method, request.path
        known = self.at_once(method, path)
        if known is not None:
            return known
        try:
            if path not in self._paths and not self._names_a_check(path):
                return _problem(NOT_FOUND, "Not Found", "There is no such endpoint or check")
            if method not in _READS:
                return _problem(NOT_ALLOWED, "Method Not Allowed", f"{method} is not allowed; use GET or HEAD")
            return await self._asked.get(path, self._ready_one)(request)
        except Exception:
            log.exception("%s %s failed", method, path)
            return _problem(FAULT, *_UNTOLD)

    async def reports(self) -> dict[str, tuple[int, bytes]]:
        """Return what the guard answers with: startup, readiness as a whole and by check; status code and body."""
        startup = self._monitor.startup()
        answers = {
            "startup": render(_startup_code(startup), startup),
            "ready": self._rendered_ready(await self._monitor.ready()),
        }
        for name in self._monitor.check_names:
            report = await self._monitor.ready(name)
            answers[f"ready/{name}"] = render(_ready_code(report), report)
        return {name: (answer.status, answer.body) for name, answer in answers.items()}

    async def _ready(self, _request: Request) -> Answer:
        return self._rendered_ready(await self._monitor.ready())

    async def _ready_one(self, request: Request) -> Answer:
        report = await self._monitor.ready(request.path.removeprefix(self._ready_below))
        return render(_ready_code(report), report)

    def _names_a_check(self, path: str) -> bool:
        return path.startswith(self._ready_below) and path.removeprefix(self._ready_below) in self._monitor.check_names

    async def _status(self, request: Request) -> Answer:
        if not self._gate.open:
            denied = await self._denied(request)
            if denied is not None:
                return denied
        return self._rendered_status(await self._monitor.status())

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


def _live_code(report: Liveness) -> int:
    return OK if report.alive else UNAVAILABLE


def _ready_code(report: Readiness) -> int:
    return OK if report.ready else UNAVAILABLE


def _startup_code(report: Startup) -> int:
    return OK if report.started else UNAVAILABLE


def _status_code(report: StatusReport) -> int:
    return UNAVAILABLE if report.status is SystemStatus.UNHEALTHY else OK


def _problem(status: int, error: str, message: str) -> Answer:
    return render(status, Problem(error=error, message=message), _EXTRA_HEADERS.get(status, ()))
