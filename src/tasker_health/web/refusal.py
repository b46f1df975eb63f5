"""Answers to those who get no report, and why."""

from __future__ import annotations

from tasker_health.access import PERMISSION
from tasker_health.access.gate import AccessFault, Gate
from tasker_health.errors import AuthenticationError, UnauthorizedError
from tasker_health.model import Problem
from tasker_health.request import Request
from tasker_health.web.render import Answer, render

UNAUTHORIZED, FORBIDDEN, NOT_FOUND, NOT_ALLOWED, FAULT = 401, 403, 404, 405, 500

_EXTRA_HEADERS = {
    UNAUTHORIZED: ((b"www-authenticate", b'Bearer realm="tasker_health"'),),
    NOT_ALLOWED: ((b"allow", b"GET, HEAD"),),
}


def problem(status: int, error: str, message: str) -> Answer:
    """Return an answer with *status* that says *error* and *message*."""
    return render(status, Problem(error=error, message=message), _EXTRA_HEADERS.get(status, ()))


async def refusal(gate: Gate, request: Request) -> Answer | None:
    """Return why the sender of *request* may not read the status, or `None` when it may."""
    try:
        await gate.admit(request)
    except AuthenticationError:
        return problem(UNAUTHORIZED, "Unauthorized", "Valid credentials are required to read the status")
    except UnauthorizedError:
        resource, _, action = PERMISSION.partition(":")
        return problem(FORBIDDEN, "Forbidden", f"Not authorized to {action} on {resource}")
    except AccessFault as fault:
        return problem(FAULT, fault.error, "Who may read the status cannot be decided; the log says why")
    return None
