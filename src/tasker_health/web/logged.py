"""Endpoints that write a line about every request (`log.probes`): who asked, what was answered, and out of what.

It is for finding out why answers are slow, old or refused. Where it is off, the plain endpoints stand in its place and
nothing of this is read.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from tasker_health.model import Connections
from tasker_health.request import Headers, Request
from tasker_health.settings import Settings
from tasker_health.web.endpoints import Endpoints
from tasker_health.web.render import Answer

_MOST_CHARACTERS = 200

log = logging.getLogger("tasker_health.probes")


class LoggedEndpoints(Endpoints):
    """Answers as its base does, and tells the logger `tasker_health.probes` so, at level `info`."""

    def at_once(
        self,
        method: str,  # noqa: ARG002 -- the base's own, here and below
        path: str,  # noqa: ARG002
        headers: Headers,  # noqa: ARG002
        query: bytes | str,  # noqa: ARG002
    ) -> None:
        """Return `None`: who asks is known only where a whole request is handed over."""
        return

    async def answer(self, request: Request) -> Answer:
        """Return the answer to *request*, when it is logged."""
        began = time.perf_counter()
        answer = super().at_once(request.method, request.path, request.raw_headers, request.query)
        is_kept = answer is not None
        if answer is None:
            answer = await super().answer(request)
        self._tell(request, answer.status, (time.perf_counter() - began) * 1000, is_kept=is_kept)
        return answer

    def late(self, path: str) -> Answer:
        """Return what is answered in place of what has not come in time, when it is logged."""
        answer = super().late(path)
        log.info("%s %s: not in time", _in_one_word(path), answer.status)
        return answer

    def _tell(self, request: Request, code: int, milliseconds: float, *, is_kept: bool) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        told = {
            "method": _plain(request.method),
            "path": _in_one_word(request.path),
            "code": code,
            "response_time_ms": round(milliseconds, 1),
            "kept": is_kept,
            "client": _plain(request.client) or None,
            "caller": _plain(request.caller) or None,
            **self._beside(),
        }
        # The line reads like a sentence; what reads JSON gets the figures one by one.
        log.info("%s", _line(told), extra={"probe": told})

    def _beside(self) -> dict[str, Any]:
        """Return what there is to know without asking: connections as last read, our own pools, the cache."""
        report, cache = self._monitor.kept_status.value, self._monitor.counters.cache
        connections = Connections() if report is None else report.database
        outcomes = dict.fromkeys(("ok", "failed", "skipped"), 0)
        for (_, result), count in cache.requests.items():
            outcomes[result] += count
        return {
            "connections": connections.active_connections,
            "maximum_connections": connections.maximum_connections,
            "pools": [figures._asdict() for figures in self._monitor.pools],
            "cache": {"back_end": cache.back_end, **outcomes},
        }


def endpoints_of(settings: Settings) -> type[Endpoints]:
    """Return the endpoints that *settings* ask for: those that log, or the plain ones."""
    return LoggedEndpoints if settings.log.probes else Endpoints


def _line(told: dict[str, Any]) -> str:
    """Return *told* as one line of words and figures; what is not known is not there."""
    words = [f"{told['method']} {told['path']} {told['code']} in {told['response_time_ms']} ms"]
    if told["kept"]:
        words.append("kept")
    words += [f"{name} {told[name]}" for name in ("client", "caller") if told[name]]
    if told["connections"] is not None:
        words.append(f"connections {told['connections']} of {told['maximum_connections'] or 'unknown'}")
    words += [
        f"pool {pool['busy']} busy, {pool['open']} open of {pool['size']}, {pool['waiting']} waiting"
        for pool in told["pools"]
    ]
    cache = told["cache"]
    words.append(f"cache {cache['back_end']}: {cache['ok']} ok, {cache['failed']} failed, {cache['skipped']} skipped")
    return "; ".join(words)


def _plain(text: str) -> str:
    """Return *text* of a caller's as one short line of printable ASCII."""
    return text[:_MOST_CHARACTERS].encode("unicode_escape").decode("ascii")


def _in_one_word(path: str) -> str:
    """Return *path* the same way and without a space, or it could go on as the line does: with a code and a caller."""
    return _plain(path).replace(" ", "\\x20")
