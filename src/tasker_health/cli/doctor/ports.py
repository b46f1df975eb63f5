"""What a doctor finds of the ports: free, taken by this very service, or by somebody else."""

from __future__ import annotations

from typing import NamedTuple

from tasker_health.cli.doctor.asking import fetch
from tasker_health.cli.doctor.findings import Finding, error, not_looked_at
from tasker_health.cli.doctor.listeners import Process, listeners
from tasker_health.cli.doctor.walk import Visit
from tasker_health.errors import ConfigurationError
from tasker_health.listening import bound
from tasker_health.settings import Settings

_PATIENCE_SECONDS = 2.0
_ASKED = frozenset({"server.port", "guard.port"})
_EVERYWHERE = frozenset({"", "0.0.0.0", "::", "[::]"})  # noqa: S104 -- compared with, not listened on


class Claim(NamedTuple):
    """A port that the settings want.

    Attributes:
        key: The setting, such as `server.port`.
        host, port: Where.
        secure: Whether TLS is spoken there.
        host_key: The setting that the host comes from.
    """

    key: str
    host: str
    port: int
    secure: bool = False
    host_key: str = "server.host"

    @property
    def remedy(self) -> str:
        """How to choose another one."""
        return f"choose another with TASKER_{self.key.upper().replace('.', '__')}"

    def meets(self, other: Claim) -> bool:
        """Whether it wants what *other* wants."""
        everywhere = not _EVERYWHERE.isdisjoint({self.host, other.host})
        return 0 != self.port == other.port and (everywhere or self.host == other.host)


def claims_of(settings: Settings) -> list[Claim]:
    """Return the ports that *settings* want."""
    server, guard, grpc = settings.server, settings.guard, settings.grpc
    found = [Claim("server.port", server.host, server.port, server.tls_certificate_file is not None)]
    if guard.enabled is not False:
        host, host_key = (guard.host, "guard.host") if guard.host else (server.host, "server.host")
        found.append(Claim("guard.port", host, guard.port, host_key=host_key))
        if guard.agent_port is not None:
            found.append(Claim("guard.agent_port", host, guard.agent_port, host_key=host_key))
    if grpc.enabled:
        host, host_key = (grpc.host, "grpc.host") if grpc.host else (server.host, "server.host")
        found.append(Claim("grpc.port", host, grpc.port, host_key=host_key))
    return found


async def look(visit: Visit) -> list[Finding]:
    """Return for each port whether the service can have it, or has it."""
    claims = claims_of(visit.settings)
    found: list[Finding] = []
    answered = await _answered(visit.settings)
    for number, claim in enumerate(claims):
        twin = next((each for each in claims[:number] if claim.meets(each)), None)
        if twin is not None:
            measured = f"{claim.port}, as {twin.key}: only one of them can have it"
            found.append(error(claim.key, measured, claim.remedy))
            continue
        looked = _looked_at(claim, answered)
        # A host that is wrong is one fault, however many ports are wanted there.
        is_told = looked.what in {each.what for each in found}
        found.append(not_looked_at(claim.key, looked.what) if is_told else looked)
    return found


async def owners(settings: Settings) -> set[int]:
    """Return the processes that answer as the service of *settings*, with the guard's and the one that it guards."""
    return _owners(await _answered(settings))


async def _answered(settings: Settings) -> dict[str, list[Process]]:
    """Return the settings of those ports where the service answers, each with who listens, if that may be known."""
    found: dict[str, list[Process]] = {}
    for claim in claims_of(settings):
        if claim.key not in _ASKED or not claim.port:
            continue
        holders = listeners(claim.port)
        if await _is_own(claim, settings, holders):
            found[claim.key] = holders
    return found


def _owners(answered: dict[str, list[Process]]) -> set[int]:
    holders = [each for found in answered.values() for each in found]
    return {each.pid for each in holders} | {each.guards or each.pid for each in holders}


async def _is_own(claim: Claim, settings: Settings, holders: list[Process]) -> bool:
    """Return whether who listens answers as this service does; one that does not answer is known by its command."""
    path = f"{settings.server.prefix}/health/live"
    reply = await fetch(claim.host, claim.port, path, _PATIENCE_SECONDS, secure=claim.secure)
    if "alive" in reply.body:
        return reply.body.get("service") == settings.health.service_name
    return reply.status is None and any(each.is_command or each.guards for each in holders)


def _looked_at(claim: Claim, answered: dict[str, list[Process]]) -> Finding:
    where = f"{claim.port} at {claim.host}"
    if not claim.port:
        return Finding(what=claim.key, measured="0: whichever is free")
    try:
        bound(claim.host, claim.port, claim.key.partition(".")[0]).close()
    except ConfigurationError as refused:
        if "in use" in str(refused):
            return _taken(claim, where, listeners(claim.port), answered)
        what, _, words = str(refused).partition(": ")
        measured, _, remedy = words.partition("; ")
        return error(claim.host_key if ".host = " in what else claim.key, f"{where}: {measured}", remedy)
    return Finding(what=claim.key, measured=f"{where}: free")


def _taken(claim: Claim, where: str, holders: list[Process], answered: dict[str, list[Process]]) -> Finding:
    own = _owners(answered)
    ours = [each for each in holders if not own.isdisjoint({each.pid, each.parent})]
    if ours:
        return Finding(what=claim.key, measured=f"{where}: this service has it, {ours[0]}")
    # Another user's processes may not be looked at, but they can be asked; not at the ports of gRPC and the agent.
    if not holders and (claim.key in answered or (answered and claim.key not in _ASKED)):
        return Finding(what=claim.key, measured=f"{where}: taken, by this service as it seems")
    by = str(holders[0]) if holders else "a process that may not be looked at"
    ending = f"end process {holders[0].pid}" if holders else "end what listens there"
    measured = f"{where}: taken by {by}, which does not answer as this service"
    return error(claim.key, measured, f"{ending}, or {claim.remedy}")
