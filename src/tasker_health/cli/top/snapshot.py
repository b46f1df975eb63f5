"""What was told in one round of questions, believed only where it has the form of the contract."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

import msgspec

from tasker_health.cli.top.exchange import Answer, NoAnswerError
from tasker_health.cli.top.text import clean
from tasker_health.history import History
from tasker_health.model import Readiness, StatusReport
from tasker_health.stuck import StuckReport

_OK, _UNAVAILABLE = 200, 503
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY = 401, 403, 404, 429
_REMEDIES = {
    _UNAUTHORIZED: "start with --token - or --basic - and type what lets you in",
    _FORBIDDEN: "who you are is known; ask for the permission tasker.health_status:index",
    _NOT_FOUND: "is this the address of the endpoints, such as http://host:8080/tasker/health?",
    _TOO_MANY: "somebody asks too often with wrong credentials; wait",
}

T = TypeVar("T")


class Trouble(StrEnum):
    """Why there are no figures of now."""

    DISCONNECTED = "DISCONNECTED"
    REFUSED = "REFUSED"
    STRANGE = "NOT UNDERSTOOD"


@dataclass(frozen=True)
class Snapshot:
    """One round.

    Attributes:
        status, ready, history: What was told; `None`: nothing.
        trouble: Why the status was not.
        words: The same for people, in one line.
    """

    status: StatusReport | None = None
    ready: Readiness | None = None
    history: History | None = None
    trouble: Trouble | None = None
    words: str = ""


class TroubleError(Exception):
    """The status was not told: *trouble*, in *words*."""

    def __init__(self, trouble: Trouble, words: str) -> None:
        super().__init__(words)
        self.trouble = trouble


def status_of(answer: Answer) -> StatusReport:
    """Return the status in *answer*.

    Raises:
        TroubleError: There is none.
    """
    if answer.status in {_OK, _UNAVAILABLE}:
        return _decoded(answer.body, StatusReport)
    if answer.status in {_UNAUTHORIZED, _FORBIDDEN, _TOO_MANY}:
        raise TroubleError(Trouble.REFUSED, _told(answer))
    raise TroubleError(Trouble.STRANGE, _told(answer))


def ready_of(answer: Answer) -> Readiness | None:
    """Return the readiness in *answer*; `None`: it is not answered there.

    Raises:
        TroubleError: It is of another form.
    """
    return _decoded(answer.body, Readiness) if answer.status in {_OK, _UNAVAILABLE} else None


def history_of(answer: Answer) -> History | None:
    """Return the last hour in *answer*; `None`: none is kept there, or it is of another form, and decides nothing."""
    if answer.status != _OK:
        return None
    try:
        return _decoded(answer.body, History)
    except TroubleError:
        return None


def stuck_of(answer: Answer) -> StuckReport:
    """Return what stands still by *answer*.

    Raises:
        TroubleError: It does not say.
    """
    if answer.status == _OK:
        return _decoded(answer.body, StuckReport)
    raise TroubleError(
        Trouble.REFUSED if answer.status in {_UNAUTHORIZED, _FORBIDDEN} else Trouble.STRANGE, _told(answer)
    )


def no_answer(error: NoAnswerError) -> TroubleError:
    """Return *error* as trouble."""
    return TroubleError(Trouble.DISCONNECTED, clean(str(error), 300))


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        words = f"a {kind.__name__} of another form: {clean(str(error), 120)}; is it of another version?"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError, OverflowError):
        words = "what answers there does not speak JSON; is this a health endpoint?"
    raise TroubleError(Trouble.STRANGE, words)


def _told(answer: Answer) -> str:
    """Return what a refusal says, in one line, with what to do."""
    try:
        found = msgspec.json.decode(answer.body, type=dict[str, object])
        said = f" ({clean(str(found['message']), 120)})"
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError):
        said = ""
    redirects = "a health endpoint never redirects; is this the right address?"
    remedy = _REMEDIES.get(answer.status, redirects if 300 <= answer.status < 400 else "see the log of the service")  # noqa: PLR2004
    return f"answered {answer.status}{said}: {remedy}"
