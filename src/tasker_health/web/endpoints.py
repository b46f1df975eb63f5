"""Every decision about a request: method, path, who asks, code, headers. No framework in it."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Awaitable, Callable
from typing import Any

from tasker_health.access.gate import Gate
from tasker_health.history import History
from tasker_health.kept import Kept
from tasker_health.model import StatusReport, SystemStatus
from tasker_health.monitor import Monitor
from tasker_health.request import Headers, Request
from tasker_health.web.formats import Format
from tasker_health.web.metrics import Metrics
from tasker_health.web.negotiation import format_of
from tasker_health.web.openapi import document
from tasker_health.web.past import Past
from tasker_health.web.people import People
from tasker_health.web.refusal import FAULT, NOT_ALLOWED, NOT_FOUND, admission, problem
from tasker_health.web.render import VARY, Answer, encoded, render, rendered
from tasker_health.web.stuck import StuckEndpoint

Endpoint = Callable[[Request], Awaitable[Answer]]

OK, UNAVAILABLE = 200, 503

_READS = ("GET", "HEAD")  # two comparisons are faster than a hash

log = logging.getLogger(__name__)


class Endpoints:
    """Answers requests for the paths under *prefix*.

    Args:
        monitor: Who knows.
        gate: Who may read the status.
        prefix: Path above every endpoint, without a slash at its end; may be empty.
        metrics: Answers those who scrape; `None`: there are none.
        history: Answers how the last hour was; `None`: nobody remembers.
    """

    def __init__(
        self,
        monitor: Monitor,
        gate: Gate,
        prefix: str,
        metrics: Metrics | None = None,
        history: Callable[[], History] | None = None,
    ) -> None:
        self._monitor = monitor
        self._gate = gate
        self._root = f"{prefix}/health"
        self._ready_below = f"{prefix}/health/ready/"
        self._openapi = render(OK, document(prefix, metrics=metrics is not None, history=history is not None))
        self._by_path: dict[str, Endpoint] = {
            f"{self._root}/live": self._live,
            f"{self._root}/ready": self._ready,
            f"{self._root}/startup": self._startup,
            f"{self._root}/status": self._status,
            f"{self._root}/stuck": StuckEndpoint(monitor, gate).answer,
            self._root: People(monitor, gate, history, self._status).answer,
            f"{prefix}/openapi.json": self._document,
        }
        self._never_waiting = frozenset({f"{self._root}/live", f"{self._root}/startup", f"{prefix}/openapi.json"})
        if metrics is not None:
            self._by_path[f"{prefix}/metrics"] = metrics.answer
        if history is not None:
            self._by_path[f"{self._root}/history"] = Past(history, gate).answer
        self._monotonic = monitor.clock.monotonic
        self._kept: dict[str, Kept[Any]] = {
            f"{self._root}/live": monitor.kept_liveness,
            f"{self._root}/ready": monitor.kept_readiness,
        }
        if gate.open:
            self._kept |= {f"{self._root}/status": monitor.kept_status, self._root: monitor.kept_status}

    @property
    def paths(self) -> list[str]:
        """Every path at which there is an endpoint, for frameworks that want to know them; checks are all added."""
        return [*self._by_path, *(f"{self._ready_below}{name}" for name in self._monitor.check_names)]

    def claims(self, path: str) -> bool:
        """Return whether *path* is ours to answer, if only with 404.

        Everything below `<prefix>/health` is, in whatever spelling: a probe for a path that is nearly right must
        not reach an application that redirects it.
        """
        if path in self._by_path:
            return True
        plain = posixpath.normpath(f"/{path.lstrip('/')}").lower()
        root = self._root.lower()
        return plain == root or plain.startswith(f"{root}/") or plain in self._by_path

    def at_once(self, method: str, path: str, headers: Headers, query: bytes | str) -> Answer | None:
        """Return the answer that was given before and still serves; `None`: `answer` has it.

        Most probes are answered here: it costs no coroutine and no `Request`. It is plain JSON, for those who send no
        query and accept anything (`*/*`, or no header at all); what others want takes a longer look.
        """
        kept = self._kept.get(path)
        if kept is None or query or self._monotonic() >= kept.until or method not in _READS:
            return None
        for name, value in headers:
            if name == b"accept" and value != b"*/*":
                return None
        made: Answer | None = kept.made
        return made

    def waits(self, method: str, path: str) -> bool:
        """Return whether `answer` may wait for something, and so needs an event loop; else any thread may run it."""
        if method not in _READS or path in self._never_waiting:
            return False
        return path in self._by_path or self._one_check(path) is not None

    def is_draining(self) -> bool:
        """Return whether this process is about to stop, and clients shall go elsewhere."""
        return self._monitor.draining

    def is_readiness(self, path: str) -> bool:
        """Return whether *path* asks for readiness, whose deadline is short."""
        return path == f"{self._root}/ready" or path.startswith(self._ready_below)

    def late(self, path: str) -> Answer:
        """Return what is answered in place of what has not come in time, to whom waits for it in another thread."""
        if self.is_readiness(path):
            name = path.removeprefix(self._ready_below)
            return render(UNAVAILABLE, self._monitor.stalled(name if name != path else None))
        return problem(FAULT, "Internal Server Error", "The answer did not come in time; the log says why")

    async def answer(self, request: Request) -> Answer:
        """Return the answer to *request*; whatever goes wrong in that is a 500 that tells nothing."""
        method, path = request.method, request.path
        try:
            endpoint = self._by_path.get(path) or self._one_check(path)
            if endpoint is None:
                return problem(NOT_FOUND, "Not Found", "There is no such endpoint or check")
            if method not in _READS:
                return problem(NOT_ALLOWED, "Method Not Allowed", f"{method} is not allowed; use GET or HEAD")
            return await endpoint(request)
        except Exception:
            log.exception("%s %s failed", method, path)
            return problem(FAULT, "Internal Server Error", "The answer could not be made; the log says why")

    async def reports(self) -> dict[str, tuple[int, bytes]]:
        """Return what the guard answers with: startup, readiness as a whole and by check; status code and body."""
        answers = {"startup": self._startup_answer(), "ready": await self._ready_answer()}
        for name in self._monitor.check_names:
            answers[f"ready/{name}"] = await self._check_answer(name)
        return {name: (answer.status, answer.body) for name, answer in answers.items()}

    async def _live(self, request: Request) -> Answer:
        report = self._monitor.live()
        return rendered(self._monitor.kept_liveness, OK if report.alive else UNAVAILABLE, report, format_of(request))

    async def _ready(self, request: Request) -> Answer:
        return await self._ready_answer(format_of(request))

    async def _ready_answer(self, form: Format | None = None) -> Answer:
        report = await self._monitor.ready()
        return rendered(self._monitor.kept_readiness, OK if report.ready else UNAVAILABLE, report, form)

    def _one_check(self, path: str) -> Endpoint | None:
        """Return the endpoint of one check, when *path* names one."""
        name = path.removeprefix(self._ready_below)
        if name == path or name not in self._monitor.check_names:
            return None
        return lambda request: self._check_answer(name, format_of(request))

    async def _check_answer(self, name: str, form: Format | None = None) -> Answer:
        report = await self._monitor.ready(name)
        return encoded(OK if report.ready else UNAVAILABLE, report, form)

    async def _startup(self, request: Request) -> Answer:
        return self._startup_answer(format_of(request))

    def _startup_answer(self, form: Format | None = None) -> Answer:
        report = self._monitor.startup()
        return encoded(OK if report.started else UNAVAILABLE, report, form)

    async def _document(self, _request: Request) -> Answer:
        return self._openapi

    async def _status(self, request: Request) -> Answer:
        admitted = await admission(self._gate, request)
        if admitted.refusal is not None:
            admitted.refusal.headers.append(VARY)
            return admitted.refusal
        report = await self._monitor.status()
        detailed = self._monitor.detailed(report) if admitted.detail else None
        return rendered(self._monitor.kept_status, _code_of(report), report, format_of(request), detailed)


def _code_of(report: StatusReport) -> int:
    return UNAVAILABLE if report.status is SystemStatus.UNHEALTHY else OK
