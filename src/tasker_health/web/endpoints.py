"""Every decision about a request: method, path, who asks, code, headers. No framework in it."""

from __future__ import annotations

import logging
import posixpath
from collections.abc import Awaitable, Callable
from typing import Any

from tasker_health.access.gate import Gate
from tasker_health.exporters import PullExporter
from tasker_health.kept import Kept
from tasker_health.model import SystemStatus
from tasker_health.monitor import Monitor
from tasker_health.request import Request
from tasker_health.web.openapi import document
from tasker_health.web.refusal import FAULT, NOT_ALLOWED, NOT_FOUND, admission, problem
from tasker_health.web.render import Answer, render, rendered

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
        exporter: Renders the metrics; `None`: there are none.
    """

    def __init__(self, monitor: Monitor, gate: Gate, prefix: str, exporter: PullExporter | None = None) -> None:
        self._monitor = monitor
        self._gate = gate
        self._root = f"{prefix}/health"
        self._ready_below = f"{prefix}/health/ready/"
        self._openapi = render(OK, document(prefix, metrics=exporter is not None))
        self._by_path: dict[str, Endpoint] = {
            f"{self._root}/live": self._live,
            f"{self._root}/ready": self._ready,
            f"{self._root}/startup": self._startup,
            f"{self._root}/status": self._status,
            self._root: self._status,
            f"{prefix}/openapi.json": self._document,
        }
        if exporter is not None:
            from tasker_health.web.metrics import Metrics

            self._by_path[f"{prefix}/metrics"] = Metrics(monitor, gate, exporter).answer
        self._monotonic = monitor.clock.monotonic
        self._kept: dict[str, Kept[Any]] = {
            f"{self._root}/live": monitor.kept_liveness,
            f"{self._root}/ready": monitor.kept_readiness,
        }
        if gate.open:
            self._kept |= {f"{self._root}/status": monitor.kept_status, self._root: monitor.kept_status}

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

    def at_once(self, method: str, path: str) -> Answer | None:
        """Return the answer that was given before and still serves; `None`: `answer` has it.

        Most probes are answered here: it costs no coroutine and no `Request`.
        """
        kept = self._kept.get(path)
        if kept is None or self._monotonic() >= kept.until or method not in _READS:
            return None
        made: Answer | None = kept.made
        return made

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

    async def _live(self, _request: Request) -> Answer:
        report = self._monitor.live()
        return rendered(self._monitor.kept_liveness, OK if report.alive else UNAVAILABLE, report)

    async def _ready(self, _request: Request) -> Answer:
        return await self._ready_answer()

    async def _ready_answer(self) -> Answer:
        report = await self._monitor.ready()
        return rendered(self._monitor.kept_readiness, OK if report.ready else UNAVAILABLE, report)

    def _one_check(self, path: str) -> Endpoint | None:
        """Return the endpoint of one check, when *path* names one."""
        name = path.removeprefix(self._ready_below)
        if name == path or name not in self._monitor.check_names:
            return None
        return lambda _request: self._check_answer(name)

    async def _check_answer(self, name: str) -> Answer:
        report = await self._monitor.ready(name)
        return render(OK if report.ready else UNAVAILABLE, report)

    async def _startup(self, _request: Request) -> Answer:
        return self._startup_answer()

    def _startup_answer(self) -> Answer:
        report = self._monitor.startup()
        return render(OK if report.started else UNAVAILABLE, report)

    async def _document(self, _request: Request) -> Answer:
        return self._openapi

    async def _status(self, request: Request) -> Answer:
        admitted = await admission(self._gate, request)
        if admitted.refusal is not None:
            return admitted.refusal
        report = await self._monitor.status()
        code = UNAVAILABLE if report.status is SystemStatus.UNHEALTHY else OK
        if admitted.detail:
            return render(code, self._monitor.detailed(report))
        return rendered(self._monitor.kept_status, code, report)
