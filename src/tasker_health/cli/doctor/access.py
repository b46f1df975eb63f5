"""What a doctor finds of access: who can be let in at all, and which step keeps the others out."""

from __future__ import annotations

import base64
from collections.abc import Iterable

import msgspec

from tasker_health.access import PERMISSION
from tasker_health.access.explanation import OK, Explanation, Outcome, explain
from tasker_health.access.gate import Gate
from tasker_health.access.jwt import JwtAuthenticator
from tasker_health.access.ready_made import AUTHENTICATORS
from tasker_health.cli.doctor.findings import AUTHORIZATION_ERRORS, Finding, Verdict, causing, error, note, warning
from tasker_health.cli.doctor.walk import Visit
from tasker_health.clock import SystemClock
from tasker_health.deploy.inspection.service import is_loopback
from tasker_health.errors import ConfigurationError, SettingsError
from tasker_health.request import Request
from tasker_health.settings import Settings
from tasker_health.settings.access import AuthSettings, CallerSettings

_SOON_SECONDS = 7 * 86400.0


async def look(visit: Visit) -> list[Finding]:
    """Return whether anybody is let in, and by which step somebody is not."""
    settings = visit.settings
    try:
        gate = Gate(settings)
    except SettingsError as refused:
        return causing(AUTHORIZATION_ERRORS, [error(refused.key, refused.value, refused.allowed)])
    except ConfigurationError as refused:
        what, _, words = str(refused).partition(": ")
        return causing(AUTHORIZATION_ERRORS, [error(what.partition(" = ")[0], words, "correct it as it says")])
    found = [_who(settings, gate), *_without_effect(gate)]
    found += await _asked(settings, gate)
    if gate.must_be_permitted and gate.authenticators:
        found += _permitted(settings, gate)
    return causing(AUTHORIZATION_ERRORS, [*found, *_expiries(settings.auth)])


def _who(settings: Settings, gate: Gate) -> Finding:
    """Return who may read the status, by the switches."""
    if gate.must_be_permitted:
        return Finding(what="status", measured=f"for those with {PERMISSION}, and admins")
    if gate.must_be_known:
        return Finding(what="status", measured="for everybody who is known")
    host = settings.server.host
    if is_loopback(host):
        return Finding(what="status", measured=f"for everybody who reaches {host}: this machine")
    measured = f"for everybody who reaches {host}, port {settings.server.port}"
    remedy = (
        "set health.status_requires_authentication, auth.authentication_enabled and an auth.authenticator_class,"
        " or server.host = 127.0.0.1"
    )
    return warning("status", measured, remedy)


def _without_effect(gate: Gate) -> list[Finding]:
    """Return which switch is on and keeps nobody out, or everybody."""
    if gate.authenticators and not (gate.must_be_known or gate.must_be_permitted):
        measured = "credentials are read, but nobody is asked for any"
        return [note("authentication", measured, "health.status_requires_authentication = true asks for them")]
    if gate.must_be_permitted and not gate.authenticators:
        measured = "on, but nobody can be known: everybody is refused (403)"
        return [error("auth.authorization_enabled", measured, "name an auth.authenticator_class, or turn it off")]
    return []


async def _asked(settings: Settings, gate: Gate) -> list[Finding]:
    """Return what the gate makes of a caller who sends nothing, and of a token that nobody issued.

    The second has the keys of JSON web tokens fetched; nobody has such a token, so it is refused where all is well.
    """
    path, found = f"{settings.server.prefix}/health/status", []
    strangers: dict[str, list[tuple[bytes, bytes]]] = {"anonymous": []}
    if "jwt" in settings.auth.authenticator_class and settings.auth.jwt is not None:
        token = _unsigned(settings.auth.jwt.algorithms[0])
        strangers["auth.jwt"] = [(b"authorization", b"Bearer " + token)]
    for what, headers in strangers.items():
        told = await explain(gate, Request("GET", path, headers, "127.0.0.1"))
        broken = next((step for step in told.steps if step.outcome is Outcome.FAULT), None)
        if what == "auth.jwt":
            found += _of_keys(settings.auth, told)
        elif broken is not None:
            found.append(error(f"access, {broken.name}", broken.words, "see its log"))
        else:
            let_in = "200: let in" if told.code == OK else f"{told.code}: not let in"
            found.append(Finding(what="who sends no credentials", measured=let_in))
    return found


def _of_keys(auth: AuthSettings, told: Explanation) -> list[Finding]:
    """Return whether there are keys to verify a token with, as *told* of one that nobody issued."""
    step = next((each for each in told.steps if each.name == JwtAuthenticator.__name__), None)
    if step is None:
        measured = "not come to: another authenticator judged the token first"
        return [Finding(what="auth.jwt", measured=measured, verdict=Verdict.UNKNOWN)]
    if step.outcome is Outcome.FAULT:
        key = _source_of_keys(auth)
        return [error(key, step.words, f"see to it that {key} can be read, or put it right")]
    return [Finding(what="auth.jwt", measured="there are keys; a token that nobody signed is refused")]


def _source_of_keys(auth: AuthSettings) -> str:
    jwt = auth.jwt
    if jwt is not None and jwt.jwks_url is not None:
        return "auth.jwt.jwks_url"
    return "auth.jwt.jwks_file" if jwt is not None and jwt.jwks_file is not None else "auth.jwt"


def _unsigned(algorithm: str) -> bytes:
    """Return a token in form, with a signature that is none."""
    header = msgspec.json.encode({"alg": algorithm, "typ": "JWT", "kid": "tasker-health-doctor"})
    parts = (header, b'{"sub":"doctor","exp":4102444800}', b"not signed")
    return b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)


def _permitted(settings: Settings, gate: Gate) -> list[Finding]:
    """Return who is known, and yet refused, because no role of theirs permits it."""
    auth = settings.auth
    granting = [name for name, role in auth.roles.items() if role.admin or PERMISSION in role.permissions]
    empty = [name for name, role in auth.roles.items() if not (role.admin or role.permissions)]
    found: list[Finding] = []
    is_ours = set(auth.authenticator_class) <= {*AUTHENTICATORS} - {"django", "starlette"}
    if auth.authorization_coordinator_class != "roles" or not is_ours:
        name = getattr(gate.coordinator_class, "__name__", "coordinator")
        words = "who is permitted is known to code of the application's own"
        return [note(name, words, "tasker-health doctor access --token - explains one caller")]
    callers = list(_callers(auth))
    lacking = [(key, caller) for key, caller in callers if not set(caller.roles) & set(granting)]
    if auth.jwt is None and callers and len(lacking) == len(callers):
        key, caller = lacking[0]
        role = next(iter(caller.roles), "")
        more = f" and {len(lacking) - 1} more are" if lacking[1:] else " is"
        measured = f"nobody can read the status: {key}{more} refused (403)"
        return [error(f"auth.roles.{role}" if role else f"{key}.roles", _lacks(role, measured), _grant(auth, role))]
    if not granting:
        names = next(iter(auth.roles), "")
        return [error("auth.roles", f"no role has {PERMISSION}: everybody is refused (403)", _grant(auth, names))]
    for key, caller in lacking:
        role = next(iter(caller.roles), "")
        what = f"{key}.roles" if not role else f"auth.roles.{role}"
        found.append(warning(what, _lacks(role, f"{key} is refused (403)"), _grant(auth, role)))
    told = {each.what for each in found}
    idle = [f"auth.roles.{name}" for name in empty if f"auth.roles.{name}" not in told]
    found += [warning(each, "permits nothing", _grant(auth, each.removeprefix("auth.roles."))) for each in idle]
    return found or [Finding(what="roles", measured=f"{', '.join(granting)}: may read the status")]


def _lacks(role: str, consequence: str) -> str:
    return f"{f'lacks {PERMISSION}' if role else 'no role'}: {consequence}"


def _grant(auth: AuthSettings, role: str) -> str:
    if not role:
        return f"give a role in auth.roles that has {PERMISSION}"
    had = auth.roles[role].permissions if role in auth.roles else ()
    # The variable is laid over the file: what the role has is kept.
    return f"TASKER_AUTH__ROLES__{role.upper()}__PERMISSIONS={','.join([*had, PERMISSION])}"


def _callers(auth: AuthSettings) -> Iterable[tuple[str, CallerSettings]]:
    yield from ((f"auth.tokens.{name}", each) for name, each in auth.tokens.items())
    yield from ((f"auth.users.{name}", each) for name, each in auth.users.items())
    yield from ((f"auth.mtls.callers.{name}", each) for name, each in auth.mtls.callers.items())


def _expiries(auth: AuthSettings) -> list[Finding]:
    """Return which tokens have ended, or soon will."""
    now, found = SystemClock().now(), []
    for name, token in auth.tokens.items():
        if token.expires is None:
            continue
        left = token.expires.timestamp() - now
        remedy = f"tasker-health token create {name}, and give its hash to auth.tokens.{name}"
        if left <= 0:
            found.append(warning(f"auth.tokens.{name}", "has expired: it is refused (401)", remedy))
        elif left < _SOON_SECONDS:
            found.append(note(f"auth.tokens.{name}", f"expires in {left / 86400:.1f} days", remedy))
    return found
