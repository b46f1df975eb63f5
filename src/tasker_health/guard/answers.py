"""Answers as bytes: which path asks what, and the status line, headers and body that go back."""

from __future__ import annotations

import time

from tasker_health.guard.http import Refused, Request, path_of
from tasker_health.guard.reports import Report, Reports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PHRASES = {
    200: b"OK",
    400: b"Bad Request",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    414: b"URI Too Long",
    431: b"Request Header Fields Too Large",
    501: b"Not Implemented",
    503: b"Service Unavailable",
    505: b"HTTP Version Not Supported",
}
_HEADERS = (
    b"content-type: application/json\r\ncontent-length: %d\r\n"
    b"cache-control: no-cache, no-store, must-revalidate\r\nx-content-type-options: nosniff\r\n"
)
_ALLOW = b"allow: GET, HEAD\r\n"
_CLOSE = b"connection: close\r\n"
_KEEP = b"connection: keep-alive\r\n"

_LONGEST_KNOWN = 1024
_MOST_KNOWN = 64


class Answers:
    """Answers requests for the paths under *prefix*.

    Args:
        reports: Say what is true.
        prefix: Path above every endpoint, without a slash at its end; may be empty.

    Attributes:
        known: Whole requests that were answered since the last renewal, and their answers: the same bytes ask the
            same. Most probes are answered from here.
    """

    def __init__(self, reports: Reports, prefix: str) -> None:
        self._reports = reports
        self._paths: dict[str, Callable[[], Report | None]] = {
            f"{prefix}/health/live": reports.live,
            f"{prefix}/health/ready": reports.ready,
            f"{prefix}/health/startup": reports.startup,
        }
        self._below_ready = f"{prefix}/health/ready/"
        self._second = -1
        self._date = b""
        self.known: dict[bytes, bytes] = {}

    def renew(self, now: int) -> None:
        """Forget what was true before *now*, when the heartbeats were looked at."""
        self.known.clear()
        self._reports.now = now
        second = int(time.time())
        if second != self._second:
            self._second = second
            moment = time.gmtime(second)
            self._reports.timestamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)
            # In English whatever the locale: Python takes none for times unless it is told to.
            self._date = time.strftime("date: %a, %d %b %Y %H:%M:%S GMT\r\n", moment).encode("ascii")

    def remember(self, data: bytes, answer: bytes) -> None:
        """Keep *answer* for all who send the same *data*, until the next renewal."""
        if len(data) <= _LONGEST_KNOWN and len(self.known) < _MOST_KNOWN:
            self.known[data] = answer

    def answer(self, request: Request) -> bytes:
        """Return the answer to *request*."""
        report = self._report(path_of(request.target))
        extra = b""
        if report is None:
            report = problem(404, "There is no such endpoint or check")
        elif request.method not in {b"GET", b"HEAD"}:
            report = problem(405, f"{request.method.decode('ascii')} is not allowed; use GET or HEAD")
            extra = _ALLOW
        if request.closes:
            extra += _CLOSE
        elif request.is_old:
            extra += _KEEP
        return self._rendered(report, extra, with_body=request.method != b"HEAD")

    def refusal(self, refused: Refused) -> bytes:
        """Return the answer to what is no request; the connection ends after it."""
        return self._rendered(problem(refused.code, refused.message), _CLOSE)

    def _report(self, path: str) -> Report | None:
        report = self._paths.get(path)
        if report is not None:
            return report()
        if path.startswith(self._below_ready) and path != self._below_ready:
            return self._reports.ready(path[len(self._below_ready) :])
        return None

    def _rendered(self, report: Report, extra: bytes, *, with_body: bool = True) -> bytes:
        code, body = report
        parts = [b"HTTP/1.1 %d %s\r\n" % (code, _PHRASES.get(code, b"")), self._date, _HEADERS % len(body), extra]
        return b"".join([*parts, b"\r\n", body if with_body else b""])


def problem(code: int, message: str) -> Report:
    """Return an answer that is no report; *message* holds nothing that JSON would escape."""
    return code, f'{{"error":"{_PHRASES[code].decode()}","message":"{message}"}}'.encode()
