"""What a doctor finds of the service that runs: does it answer as its probers need it, and which trouble has it?"""

from __future__ import annotations

from tasker_health.cli.doctor.asking import Reply, fetch
from tasker_health.cli.doctor.findings import (
    AUTHORIZATION_ERRORS,
    CACHE_NOT_WORKING,
    SLOW_ANSWERS,
    Finding,
    Verdict,
    causing,
    error,
    not_looked_at,
    note,
    warning,
)
from tasker_health.cli.doctor.walk import Visit
from tasker_health.deploy.plan import LIVENESS, READINESS
from tasker_health.settings import Settings

_TIMES = 5
_PATIENCE_SECONDS = {"live": LIVENESS.timeout_seconds, "ready": READINESS.timeout_seconds, "status": 6.0}
_PROMISED_MS = {"live": 10.0, "ready": 100.0, "status": 100.0}
"""Of the guide; the quickest of some answers is held to it, as one may meet a busy moment."""

_LONG_ENOUGH_SECONDS = 1.0
"""What takes so long is asked no more: a part has its time, whatever hangs."""

_OK, _UNAUTHORIZED, _FORBIDDEN, _FAULT, _UNAVAILABLE = 200, 401, 403, 500, 503
_LEAST_CACHE_SECONDS = 1.0
_TO_COMPARE = 2


async def look(visit: Visit) -> list[Finding]:
    """Return how live, ready and status answer at `server.port`."""
    settings = visit.settings
    if not settings.server.port:
        return [Finding(what="service", measured="server.port = 0: where it listens is in its log")]
    cause = visit.cause("ports") or visit.cause("guard")
    if cause:
        return [not_looked_at("service", cause)]
    return await _looked_at(visit)


async def _looked_at(visit: Visit) -> list[Finding]:
    settings = visit.settings
    first = await _ask(settings, "live")
    if first.refused:
        measured = f"port {settings.server.port}: nobody listens"
        return [Finding(what="service", measured=measured, verdict=Verdict.UNKNOWN, remedy="start it, and ask again")]
    if first.status is None:
        measured = first.words or f"takes connections, but does not answer within {_PATIENCE_SECONDS['live']:g} s"
        return causing(SLOW_ANSWERS, [error("live", measured, "it is wedged: restart it, and see its log")])
    found = []
    for endpoint in ("live", "ready", "status"):
        replies = [first] if endpoint == "live" else []
        while len(replies) < _TIMES and sum(each.seconds for each in replies) < _LONG_ENOUGH_SECONDS:
            replies.append(await _ask(settings, endpoint))
        found += _judged(visit, endpoint, replies)
    return found


async def _ask(settings: Settings, endpoint: str) -> Reply:
    server = settings.server
    path, patience = f"{server.prefix}/health/{endpoint}", _PATIENCE_SECONDS[endpoint]
    return await fetch(server.host, server.port, path, patience, secure=server.tls_certificate_file is not None)


def _judged(visit: Visit, endpoint: str, replies: list[Reply]) -> list[Finding]:
    best = min(replies, key=lambda each: (each.status is None, each.seconds))
    if best.status is None:
        measured = best.words or f"no answer within {_PATIENCE_SECONDS[endpoint]:g} s"
        return causing(SLOW_ANSWERS, [error(endpoint, measured, "see its log for what it waits for")])
    figures = {"best_ms": best.milliseconds}
    if endpoint == "status" and best.status in {_UNAUTHORIZED, _FORBIDDEN, _FAULT}:
        return causing(AUTHORIZATION_ERRORS, [_refused(visit.settings, best)])
    if best.status not in {_OK, _UNAVAILABLE}:
        measured = f"{best.status} after {best.milliseconds:g} ms"
        return [error(endpoint, measured, "is it another program, or another server.prefix?", figures)]
    if endpoint == "status" and visit.settings.health.status_requires_authentication:
        return causing(AUTHORIZATION_ERRORS, [_let_in(best)])
    found = [_answered(visit, endpoint, best)]
    if best.milliseconds > _PROMISED_MS[endpoint]:
        measured = f"{best.milliseconds:g} ms at best of {len(replies)}, more than {_PROMISED_MS[endpoint]:g} ms"
        remedy = "see the parts database, pool, sources and cache; if they are well, the process is busy"
        found += causing(SLOW_ANSWERS, [warning(f"{endpoint}: time", measured, remedy, figures)])
    if endpoint == "status":
        found += causing(CACHE_NOT_WORKING, _cached(visit, replies))
    return found


def _answered(visit: Visit, endpoint: str, reply: Reply) -> Finding:
    measured, figures = f"{reply.status} after {reply.milliseconds:g} ms", {"best_ms": reply.milliseconds}
    if reply.status == _OK:
        return Finding(what=endpoint, measured=measured, figures=figures)
    if endpoint == "live":
        return error(endpoint, measured, "it is stalled, and a kubelet restarts it: see its log", figures)
    cause = visit.cause("database", "pool", "migrations", "sources", "access")
    if cause:
        return not_looked_at(endpoint, cause)
    failed = reply.body.get("failed_checks") or reply.body.get("reasons") or []
    why = f": {', '.join(str(each)[:64] for each in failed)}" if isinstance(failed, list) and failed else ""
    why = "".join(each if each.isprintable() else "?" for each in why)
    if endpoint == "status":
        return note(endpoint, measured + why, "unhealthy: see the parts above, or wait for the first facts")
    remedy = f"see its log, and the answer of {visit.settings.server.prefix}/health/{endpoint}"
    return error(endpoint, measured + why, remedy, figures)


def _let_in(reply: Reply) -> Finding:
    """Return what it means that somebody without credentials has read a status for which they are wanted."""
    measured = f"{reply.status} after {reply.milliseconds:g} ms, without credentials, though these settings want them"
    remedy = (
        "the service runs with other settings than these: restart it, or give the doctor the same --config;"
        " or an authenticator of your own knows this machine without any"
    )
    return warning("status", measured, remedy)


def _refused(settings: Settings, reply: Reply) -> Finding:
    """Return what a refusal of the doctor, who sends no credentials, says of the service."""
    measured = f"{reply.status} after {reply.milliseconds:g} ms"
    is_asked = settings.auth.authorization_enabled or settings.health.status_requires_authentication
    if reply.status == _FAULT:
        remedy = "its authenticator or coordinator broke, and fails closed: see its log"
        return error("status", measured, remedy)
    if is_asked:
        return Finding(what="status", measured=f"{measured}: the doctor sends no credentials, and is refused")
    remedy = "the service runs with other settings than these: restart it, or give the doctor the same --config"
    return error("status", f"{measured}, though these settings let everybody in", remedy)


def _cached(visit: Visit, replies: list[Reply]) -> list[Finding]:
    """Return whether the second of some asks within the duration is answered from the cache."""
    seconds = visit.settings.health.cache_duration_seconds
    told = [each.body["cache_info"] for each in replies if isinstance(each.body.get("cache_info"), dict)]
    if not visit.settings.sources or len(told) < _TO_COMPARE or seconds < _LEAST_CACHE_SECONDS:
        return []  # without a source there are no facts to keep; the first who asks may be the one that reads
    if any(each.status != _OK for each in replies):
        return []
    if any(each.get("cached") is True for each in told):
        return [Finding(what="status: cache", measured=f"answers again from the cache, for {seconds:g} s")]
    measured = f"{len(told)} asks, one after another, were all read anew, within {seconds:g} s"
    return [warning("status: cache", measured, "see the part cache: it is not read, or the service runs without it")]
