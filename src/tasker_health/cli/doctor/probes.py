"""`tasker-health doctor probes`: will those who probe this service get their answer, and in time?"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tasker_health.cli.doctor.findings import Finding, Verdict, error, note, tell, warning
from tasker_health.cli.doctor.walk import Visit
from tasker_health.cli.probe import say
from tasker_health.cli.probe_asking import Answer, ask
from tasker_health.deploy.inspection.service import SettingsWith, is_loopback
from tasker_health.deploy.plan import LIVENESS, READINESS
from tasker_health.settings import Settings

if TYPE_CHECKING:
    from tasker_health.deploy.inspection.reading import Inspection

NOT_READ = 2
KUBELET_TIMEOUT_SECONDS = 1.0
_PATIENCE_SECONDS = {
    "live": LIVENESS.timeout_seconds,
    "ready": READINESS.timeout_seconds,
    "startup": KUBELET_TIMEOUT_SECONDS,
}
_OK, _UNAVAILABLE = 200, 503
_PROBES_FAIL = frozenset({"timeout-deadline", "unknown-port", "unknown-path", "loopback", "scheme", "setting-invalid"})
"""Rules of manifests that no probe gets its answer against."""


def examine_probes(settings_with: SettingsWith, files: Sequence[str], *, as_json: bool) -> int:
    """Print what was found; return 1 when something is to be changed, 2 when a manifest cannot be read.

    Raises:
        ConfigurationError: The settings cannot work.
    """
    settings = settings_with({})
    inspection = _inspected(files, settings_with)
    findings = [
        _deadline(settings),
        _drain(settings),
        *_addresses(settings, in_container=is_in_container(), with_manifests=bool(files)),
        *asyncio.run(look(settings)),
        *(of_manifests(inspection) if inspection is not None else []),
    ]
    code = tell(findings, as_json=as_json)
    unread = inspection.unread if inspection is not None else []
    for line in unread:
        say(sys.stderr, f"tasker-health: {line}\n")
    return NOT_READ if unread else code


def _inspected(files: Sequence[str], settings_with: SettingsWith) -> Inspection | None:
    if not files:
        return None
    from tasker_health.deploy.inspection.reading import inspect  # needs PyYAML, which is not wanted without manifests

    return inspect(files, settings_with)


def is_in_container() -> bool:
    """Whether this process has an address of its own that others ask: in a pod, or in Docker."""
    return "KUBERNETES_SERVICE_HOST" in os.environ or Path("/.dockerenv").exists()


def _deadline(settings: Settings) -> Finding:
    seconds = settings.health.readiness_timeout_seconds
    measured = f"health.readiness_timeout_seconds = {seconds:g}"
    figures = {"readiness_timeout_seconds": seconds}
    if seconds >= READINESS.timeout_seconds:
        remedy = f"less than the {READINESS.timeout_seconds:g} s for which the guide's readiness probe waits"
        return warning("deadline", measured, remedy, figures)
    if seconds >= KUBELET_TIMEOUT_SECONDS:
        remedy = (
            f"the kubelet waits 1 s where a probe does not say: write timeoutSeconds: {READINESS.timeout_seconds:g}"
        )
        return note("deadline", measured, remedy)
    return Finding(what="deadline", measured=f"{measured}, less than the kubelet's default of 1 s", figures=figures)


def _drain(settings: Settings) -> Finding:
    server, needed = settings.server, READINESS.seconds_until_out
    measured = f"server.drain_seconds = {server.drain_seconds:g}"
    figures = {"drain_seconds": server.drain_seconds}
    if not server.drain_seconds:
        return warning("drain", measured, f"a stop refuses what is on its way: more than {needed:g}", figures)
    if server.drain_seconds > needed:
        return Finding(what="drain", measured=f"{measured}, more than 5 s x 3 of a readiness probe", figures=figures)
    remedy = f"more than {needed:g}, the guide's readiness probe of 5 s x 3, or it is over before it is noticed"
    is_named = "drain_seconds" in server.model_fields_set
    return warning("drain", measured, remedy, figures) if is_named else note("drain", measured, remedy)


def _addresses(settings: Settings, *, in_container: bool, with_manifests: bool) -> list[Finding]:
    server, guard = settings.server, settings.guard
    hosts = {"server": ("server.host", server.host, server.port)}
    if guard.enabled is not False:
        hosts["guard"] = ("guard.host", guard.host or server.host, guard.port)
    findings = [
        _address(f"address of {name}", *each, in_container and not with_manifests) for name, each in hosts.items()
    ]
    if guard.enabled is False:
        remedy = "a wedged application cannot answer: guard.enabled = true, and let probers ask guard.port"
        findings.append(note("guard", "none: the application answers for itself", remedy))
    elif guard.port == server.port and guard.port:
        findings.append(warning("guard", f"guard.port = server.port = {guard.port}", "another port than server.port"))
    return findings


def _address(what: str, key: str, host: str, port: int, is_asked_from_outside: bool) -> Finding:
    measured = f"{key} = {host}, port {port}"
    if not is_loopback(host):
        return Finding(what=what, measured=measured)
    variable = "TASKER_" + key.upper().replace(".", "__")
    remedy = f"an httpGet probe asks the pod's address: set {variable} to status.podIP, or to 0.0.0.0"
    return warning(what, measured, remedy) if is_asked_from_outside else note(what, measured, remedy)


async def look(settings: Settings) -> list[Finding]:
    """Return how the endpoints answer here and now, each within the time that its prober has."""
    server, guard = settings.server, settings.guard
    at = {"server": (server.host, server.port, server.tls_certificate_file is not None)}
    if guard.enabled is not False:
        at["guard"] = (guard.host or server.host, guard.port, False)
    listening = {name: each for name, each in at.items() if each[1]}
    rows = await asyncio.gather(*(_look_at(name, server.prefix, *each) for name, each in listening.items()))
    return [finding for found in rows for finding in found]


async def _look_at(name: str, prefix: str, host: str, port: int, secure: bool) -> list[Finding]:
    """Return how each endpoint at *port* answers; one row says that nobody does."""
    asked = (
        ask(host, port, f"{prefix}/health/{endpoint}", seconds, secure=secure)
        for endpoint, seconds in _PATIENCE_SECONDS.items()
    )
    answers = dict(zip(_PATIENCE_SECONDS, await asyncio.gather(*asked), strict=True))
    silent = {answer.words for answer in answers.values() if answer.status is None}
    if len(silent) == 1 and "" not in silent and all(answer.status is None for answer in answers.values()):
        measured = f"port {port}: {silent.pop()}"
        return [Finding(what=name, measured=measured, verdict=Verdict.UNKNOWN, remedy="start it, and ask again")]
    return [_answered(f"{name}: {endpoint}", endpoint, answer) for endpoint, answer in answers.items()]


def _answered(what: str, endpoint: str, answer: Answer) -> Finding:
    patience = _PATIENCE_SECONDS[endpoint]
    if answer.status is None:
        measured = answer.words or f"no answer within {patience:g} s"
        return warning(what, measured, "is it wedged, or is it another program?")
    milliseconds = round(answer.seconds * 1000, 1)
    measured, figures = f"{answer.status} after {milliseconds:g} ms", {"milliseconds": milliseconds}
    if answer.status == _OK:
        return Finding(what=what, measured=measured, figures=figures)
    if answer.status != _UNAVAILABLE:
        return warning(what, measured, "is it another program, or another server.prefix?", figures)
    if endpoint == "live":
        return warning(what, measured, "it is stalled, and a kubelet restarts it: see its log", figures)
    return note(what, measured, "it gets no requests now: its answer says why")


def of_manifests(inspection: Inspection) -> list[Finding]:
    """Return what is wrong in manifests, and what could not be known of them."""
    faults = [
        warning(str(each.place), f"{each.rule}: {each.thing} = {each.value}", each.remedy) for each in inspection.faults
    ]
    return [*faults, *(note("manifests", each, "") for each in inspection.notes)]


async def visited(visit: Visit) -> list[Finding]:
    """Return whether probers get their answer in time, by the settings and the manifests that are given."""
    from tasker_health.cli.deploy.check import settings_with  # imports the commands, which import this room

    inspection = _inspected(visit.manifests, settings_with(visit.config))
    found = [_deadline(visit.settings), _drain(visit.settings)]
    if inspection is None:
        # Whether a prober waits longer is known to its manifest alone.
        return [_as_note(found[0]), found[1]]
    unread = [error("manifests", line, "name files that can be read") for line in inspection.unread]
    return [*unread, *_grave(inspection), *found[1:]]


def _as_note(finding: Finding) -> Finding:
    return note(finding.what, finding.measured, finding.remedy) if finding.verdict is Verdict.WARNING else finding


def _grave(inspection: Inspection) -> list[Finding]:
    """Return what is wrong in manifests; what makes every probe fail is an error."""
    graver = {str(each.place) + each.rule for each in inspection.faults if each.rule in _PROBES_FAIL}
    found = of_manifests(inspection)
    return [
        error(each.what, each.measured, each.remedy) if each.what + each.measured.partition(":")[0] in graver else each
        for each in found
    ] or [Finding(what="manifests", measured="read: nothing is wrong in them")]
