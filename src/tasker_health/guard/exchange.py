"""Requests and their answers on one connection, while either is unfinished; no socket in it."""

from __future__ import annotations

from tasker_health.guard.answers import Answers
from tasker_health.guard.http import Refused, Request, parse

_MOST_OUT = 64 * 1024


class Exchange:
    """What has come and is not yet answered, and what is answered and not yet sent.

    Args:
        since: When it began, in nanoseconds.

    Attributes:
        out: To be sent.
        ends: Whether the connection ends when that is sent.
        has_unread: Whether the sender may still be sending then: a connection that is closed on it is reset, and the
            answer may be lost (RFC 9112, section 9.6).
        lingers: How many bytes have been thrown away since the goodbye; `None` before it.
        awaits: What the poller waits for.
    """

    __slots__ = ("_buffer", "_request", "_skip", "awaits", "ends", "has_unread", "lingers", "out", "since")

    def __init__(self, since: int, out: bytes = b"") -> None:
        self.since: int = since
        self.out: bytes = out
        self.ends: bool = False
        self.has_unread: bool = False
        self.lingers: int | None = None
        self.awaits: int = 0
        self._buffer = b""
        self._skip = 0
        self._request: Request | None = None

    @property
    def is_over(self) -> bool:
        """Whether nothing is unfinished."""
        return not (self.out or self._buffer or self._request)

    def receive(self, data: bytes) -> None:
        """Take what the connection brings."""
        self._buffer += data

    def proceed(self, answers: Answers) -> None:
        """Answer what has come, until that has to be sent first or more must come."""
        while not self.ends and len(self.out) < _MOST_OUT:
            if self._request is not None:
                if not self._pass_over_body():
                    return
                self.out += answers.answer(self._request)
                self._request = None
            if not self._buffer or not self._answer_next(answers):
                return

    def refuse(self, answers: Answers, refused: Refused) -> None:
        """Say why there will be no answer."""
        self.out += answers.refusal(refused)
        self.ends = True
        self._buffer, self._request = b"", None

    def _answer_next(self, answers: Answers) -> bool:
        """Answer the next request, or wait for its body first; return `False` when it has not come as a whole."""
        try:
            request = parse(self._buffer)
        except Refused as refused:
            self.refuse(answers, refused)
            self.has_unread = True
            return False
        if request is None:
            return False
        data, self._buffer = self._buffer, self._buffer[request.size :]
        if request.body and not request.closes:
            self._request, self._skip = request, request.body
            return True
        answer = answers.answer(request)
        self.out += answer
        if request.closes:
            self.ends = True
            self.has_unread = bool(request.body or self._buffer)
            self._buffer = b""
        elif not self._buffer:
            answers.remember(data, answer)
        return True

    def _pass_over_body(self) -> bool:
        """Return whether the body of the request has come to its end."""
        passed = min(self._skip, len(self._buffer))
        self._buffer = self._buffer[passed:]
        self._skip -= passed
        return not self._skip
