"""Answers to those who get no report, and why."""

from __future__ import annotations

from typing import NamedTuple

from tasker_health.access import PERMISSION
from tasker_health.access.faults import AccessFault
from tasker_health.access.gate import Gate
from tasker_health.access.principal import Principal
from tasker_health.errors import AuthenticationError, UnauthorizedError
from tasker_health.model import Problem
from tasker_health.request import Request
from tasker_health.web.render import Answer, render

UNAUTHORIZED, FORBIDDEN, NOT_FOUND, NOT_ALLOWED, FAULT = 401, 403, 404, 405, 500

_EXTRA_HEADERS = {NOT_ALLOWED: ((b"allow", b"GET, HEAD"),)}


def problem(status: int, error: str, message: str) -> Answer:
    """Return an answer with *status* that says *error* and *message*."""
    return render(status, Problem(error=error, message=message), _EXTRA_HEADERS.get(status, ()))


class Admission(NamedTuple):
    """Whether somebody may read the status.

    Attributes:
        refusal: Why not; `None`: they may.
        detail: Whether they are shown what stands in no anonymous answer.
    """

    refusal: Answer | None = None
    detail: bool = False


ANYBODY = Admission()

ANONYMOUS = "anonymous"


def _name_of(user: object) -> str:
    """Return who *user* is, for the log: of one that is not ours only its type, as its name may cost a question."""
    if user is None:
        return ANONYMOUS
    return user.name if isinstance(user, Principal) else type(user).__name__


async def admission(gate: Gate, request: Request) -> Admission:
    """Return whether the sender of *request* may read the status."""
    if gate.open:
        request.caller = ANONYMOUS
        return ANYBODY
    try:
        user = await gate.admit(request)
        request.caller = _name_of(user)
        return Admission(detail=await gate.may_see_detail(user))
    except AuthenticationError:
        answer = problem(UNAUTHORIZED, "Unauthorized", "Valid credentials are required to read the status")
        answer.headers += [(b"www-authenticate", challenge.encode("latin-1")) for challenge in gate.challenges]
    except UnauthorizedError:
        resource, _, action = PERMISSION.partition(":")
        answer = problem(FORBIDDEN, "Forbidden", f"Not authorized to {action} on {resource}")
    except AccessFault as fault:
        answer = problem(FAULT, fault.error, "Who may read the status cannot be decided; the log says why")
    return Admission(answer)
