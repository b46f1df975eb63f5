"""Why a caller is let in or not, step by step, as the gate itself decides."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from msgspec import Struct

from tasker_health.access import ACTION_INDEX, PERMISSION, RESOURCE, User
from tasker_health.access.faults import AccessFault
from tasker_health.access.gate import Gate
from tasker_health.errors import AuthenticationError, UnauthorizedError
from tasker_health.redaction import redacted
from tasker_health.request import Request

OK, UNAUTHORIZED, FORBIDDEN, FAULT = 200, 401, 403, 500


class Outcome(StrEnum):
    """What a step says."""

    PASSED = "passed"
    SKIPPED = "skipped"
    REFUSED = "refused"
    FAULT = "fault"


class Step(Struct, frozen=True):
    """One step: what was looked at, what came of it, and why or what to do."""

    name: str
    outcome: Outcome
    words: str


class Explanation(Struct, frozen=True):
    """All steps, and the code that the caller gets."""

    code: int
    steps: list[Step]


async def explain(gate: Gate, request: Request) -> Explanation:
    """Return what *gate* makes of *request* and why; nothing is counted and nobody waits for it."""
    steps = [_switch(gate)]
    user, code = await _identify(gate, request, steps)
    if code == OK:
        code = await _authorize(gate, user, steps)
    if code == OK:
        steps.append(await _detail(gate, user))
    return Explanation(code, steps)


def _switch(gate: Gate) -> Step:
    if gate.must_be_known:
        words = "health.status_requires_authentication and auth.authentication_enabled are on: callers must be known"
        return Step("authentication", Outcome.PASSED, words)
    words = "off: callers need not be known (health.status_requires_authentication, auth.authentication_enabled)"
    return Step("authentication", Outcome.SKIPPED, words)


async def _identify(gate: Gate, request: Request, steps: list[Step]) -> tuple[Any, int]:
    """Ask each authenticator as the gate does; return who it is, and the code so far."""
    user = None
    for authenticator in gate.authenticators:
        name = type(authenticator).__name__
        try:
            known = await gate.ask_authenticator(authenticator, request)
        except AuthenticationError as error:
            why = redacted(str(error)) or "the credentials are not valid"
            steps.append(Step(name, Outcome.REFUSED, why))
            return None, UNAUTHORIZED
        except AccessFault as fault:
            steps.append(Step(name, Outcome.FAULT, f"it broke: {fault.words}; it fails closed"))
            return None, FAULT
        if known is None:
            steps.append(Step(name, Outcome.SKIPPED, "the request carries no credentials of its kind"))
        else:
            steps.append(Step(name, Outcome.PASSED, f"knows the caller as {_called(known)}"))
            user = known if user is None else user
    if not gate.authenticators:
        steps.append(Step("authenticator", Outcome.SKIPPED, "none is configured (auth.authenticator_class)"))
    return user, OK


async def _authorize(gate: Gate, user: Any, steps: list[Step]) -> int:
    """Let the gate decide about *user*; add why, and return the code."""
    name = getattr(gate.coordinator_class, "__name__", "coordinator") if gate.must_be_permitted else "authorization"
    try:
        await gate.authorize(user)
    except AuthenticationError:
        steps.append(Step("caller", Outcome.REFUSED, "nobody is known: send credentials"))
        return UNAUTHORIZED
    except UnauthorizedError:
        steps.append(Step(name, Outcome.REFUSED, _why_not(user)))
        return FORBIDDEN
    except AccessFault as fault:
        steps.append(Step(name, Outcome.FAULT, f"it broke: {fault.words}; it fails closed"))
        return FAULT
    if gate.must_be_permitted:
        steps.append(Step(name, Outcome.PASSED, f"permits {ACTION_INDEX} on {RESOURCE}"))
    else:
        steps.append(Step(name, Outcome.SKIPPED, "off: no permission is needed (auth.authorization_enabled)"))
    return OK


async def _detail(gate: Gate, user: Any) -> Step:
    try:
        shown = await gate.may_see_detail(user)
    except AccessFault as fault:
        return Step("detail", Outcome.FAULT, f"the user object broke: {fault.words}")
    if shown:
        return Step("detail", Outcome.PASSED, f"shown: an admin, or somebody with {PERMISSION}")
    return Step("detail", Outcome.SKIPPED, f"not shown: needs somebody known with {PERMISSION}")


def _why_not(user: Any) -> str:
    if user is None:
        return f"nobody is known, and nobody has {PERMISSION}: send credentials"
    if not isinstance(user, User):
        return f"a user of type {type(user).__name__} has no tasker_admin and has_tasker_permission; give it both"
    return (
        f"{_called(user)} is no admin and has not {PERMISSION}, or the coordinator wants more; give a role that has it"
    )


def _called(user: Any) -> str:
    name = getattr(user, "name", None)
    return name if isinstance(name, str) and name.isprintable() else f"a {type(user).__name__}"
