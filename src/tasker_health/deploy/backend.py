"""The servers that a balancer chooses from, as an operator names them: `--server HOST:PORT`, once for each."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tasker_health.deploy.plan import Plan
from tasker_health.errors import ConfigurationError

_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
_LAST_PORT = 65535
_EXAMPLE = "HOST:PORT, such as 10.0.0.5:8080 or [2001:db8::5]:8080, and where they differ ,guard=PORT ,agent=PORT"


@dataclass(frozen=True)
class Backend:
    """One server of a balancer.

    Attributes:
        name: Of its own, fit for a configuration.
        host: A name or an address, without brackets.
        port: Where requests go.
        probe_port: Where probers ask.
        agent_port: Where the guard answers HAProxy's agent-check; `None`: nowhere.
    """

    name: str
    host: str
    port: int
    probe_port: int
    agent_port: int | None = None

    @property
    def address(self) -> str:
        """Host and port as a URL has them."""
        return f"{self.url_host}:{self.port}"

    @property
    def probe_address(self) -> str:
        """Host and port of its guard, as a URL has them."""
        return f"{self.url_host}:{self.probe_port}"

    @property
    def url_host(self) -> str:
        """Its host as a URL has it."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def is_named(self) -> bool:
        """Whether its host is a name, which has to be looked up."""
        return not _is_address(self.host)


def backends_of(servers: Sequence[str], plan: Plan) -> tuple[Backend, ...]:
    """Return what *servers* name; one on this machine if there is none.

    Raises:
        ConfigurationError: One of them is no server, or is named twice.
    """
    made = tuple(
        _backend(f"{plan.name}-{number}", server, plan)
        for number, server in enumerate(servers or [f"127.0.0.1:{plan.port}"], start=1)
    )
    seen: set[str] = set()
    for server in made:
        if server.address in seen:
            raise ConfigurationError(f"--server {server.address}: named twice; name each server once")
        seen.add(server.address)
    return made


def probe_port_of(servers: Sequence[Backend], balancer: str) -> int:
    """Return the one port at which *balancer* can ask all *servers*.

    Raises:
        ConfigurationError: They have several.
    """
    ports = sorted({server.probe_port for server in servers})
    if len(ports) > 1:
        raise ConfigurationError(
            f"--server: probes at the ports {', '.join(map(str, ports))}; {balancer} asks all servers at one port: give"
            " their guards the same, on addresses of their own"
        )
    return ports[0]


def _backend(name: str, server: str, plan: Plan) -> Backend:
    address, *options = server.split(",")
    host, _, port = address.rpartition(":")
    if host.startswith("[") and host.endswith("]") and ":" in host:
        host = host[1:-1]
        fits = _is_address(host)
    else:
        fits = bool(_NAME.fullmatch(host)) and (_is_address(host) or not host.rpartition(".")[2].isdigit())
    ports = dict(option.partition("=")[::2] for option in options)
    if not fits or len(ports) < len(options) or ports.keys() - {"guard", "agent"}:
        raise ConfigurationError(f"--server {server!r}: {_EXAMPLE}")
    guard, agent = plan.guard_port, plan.agent_port
    for kind, missing in (("guard", guard is None), ("agent", agent is None)):
        if kind in ports and missing:
            key = "guard.enabled" if kind == "guard" else "guard.agent_port"
            raise ConfigurationError(f"--server {server!r}: {kind} has a port, and the settings have none; set {key}")
    number = _port(port, server)
    probe = _port(ports["guard"], server) if "guard" in ports else number if guard is None else guard
    return Backend(name, host, number, probe, _port(ports["agent"], server) if "agent" in ports else agent)


def _port(word: str, server: str) -> int:
    if not (word.isascii() and word.isdigit() and len(word) <= len(str(_LAST_PORT)) and 0 < int(word) <= _LAST_PORT):
        raise ConfigurationError(f"--server {server!r}: a port from 1 to {_LAST_PORT}; {_EXAMPLE}")
    return int(word)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host
