"""What manifests say of a service, whatever their format: who runs it, who asks it, who sends it requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tasker_health.deploy.inspection.faults import Fault, Place
from tasker_health.deploy.plan import Prober


class Role(StrEnum):
    """What follows from an answer."""

    LIVENESS = "liveness"
    """A restart."""
    READINESS = "readiness"
    """No requests."""
    STARTUP = "startup"
    """The others wait; in the end a restart."""
    CONTAINER = "container"
    """Docker's word on a container: Swarm restarts it, compose starts others after it."""
    BALANCER = "balancer"
    """No requests, told by a balancer."""
    RELAYED = "relayed"
    """Whatever whoever asks through a proxy makes of it."""


class Means(StrEnum):
    """How somebody asks."""

    HTTP = "http"
    TCP = "tcp"
    GRPC = "grpc"
    COMMAND = "command"


@dataclass(frozen=True)
class Written:
    """Text at a place; `None`: it is given, but not here."""

    value: str | None
    place: Place


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One who asks.

    Attributes:
        thing: What it is called in its format.
        place: Where it begins.
        path: What is asked for, without a query; `None`: it cannot be known.
        port: Number or name; `None`: it cannot be known.
        secure: Over TLS.
        host: Address that is asked in place of the container's own.
        headers: By name in lower case.
        service: Of gRPC.
        program: What a command runs: `tasker-health`, `curl`.
        arguments: What it is given.
        figures: Patience and thresholds, defaults included.
        named: Where each figure is written, by its name in `Prober`.
    """

    thing: str
    place: Place
    role: Role
    means: Means
    path: Written | None = None
    port: Written | None = None
    secure: bool = False
    host: Written | None = None
    headers: Mapping[str, Written] = field(default_factory=dict)
    service: str = ""
    program: str = ""
    arguments: tuple[str, ...] = ()
    figures: Prober = field(default_factory=Prober)
    named: Mapping[str, Place] = field(default_factory=dict)

    def place_of(self, figure: str) -> Place:
        """Return where *figure* is written, else where it would be."""
        return self.named.get(figure, self.place)


@dataclass(frozen=True, kw_only=True)
class Container:
    """One process, or what it runs in.

    Attributes:
        image: Of the container.
        command: What it runs, as far as that is written.
        environment: Its variables.
        ports: Numbers by name, and by themselves.
        published: Where the port is written that others can reach, by its number.
        pre_stop_seconds: How long it is left alone before it is told to stop; `None`: not at all.
        stop_signal: Which one tells it to stop.
        shell_form: Its command, where a shell stands before it.
    """

    name: str
    place: Place
    image: str = ""
    command: tuple[str, ...] = ()
    environment: Mapping[str, Written] = field(default_factory=dict)
    ports: Mapping[str, int] = field(default_factory=dict)
    published: Mapping[int, Place] = field(default_factory=dict)
    probes: tuple[Probe, ...] = ()
    pre_stop_seconds: float | None = None
    stop_signal: Written | None = None
    shell_form: Written | None = None


@dataclass(frozen=True, kw_only=True)
class Supervision:
    """What systemd does about a unit.

    Attributes:
        watchdog: After how many seconds without a sign of life it kills.
        restart: When it starts it again.
    """

    watchdog: Written | None = None
    watchdog_seconds: float = 0
    restart: Written | None = None


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is started and stopped as one.

    Attributes:
        kind: Such as `Deployment`; `service` for compose, `image` for a Dockerfile, `unit` for systemd.
        grace_thing: What the time from the signal to the kill is called here.
        grace_place: Where it is written, or would be.
        grace_seconds: That time, defaults included; `None`: it is not said here.
        serves: Whether it is to get requests; a Job is not.
    """

    kind: str
    name: str
    place: Place
    containers: tuple[Container, ...] = ()
    grace_thing: str = ""
    grace_place: Place | None = None
    grace_seconds: float | None = None
    serves: bool = True
    supervision: Supervision | None = None


@dataclass(frozen=True, kw_only=True)
class Server:
    """One behind a balancer."""

    name: str
    place: Place
    port: str = ""
    checked: bool = True


@dataclass(frozen=True, kw_only=True)
class Balancer:
    """Who spreads requests.

    Attributes:
        software: `haproxy` or `nginx`.
        probes: How it asks, each way once.
        servers: Whom it sends requests to.
        asks: Whether more than a connection is asked for.
        expects: Whether it says which answers are well.
        retries: What has it send a request again that may have changed something.
        never_out: What keeps a failed server in, or its request from another.
    """

    software: str
    name: str
    place: Place
    probes: tuple[Probe, ...] = ()
    servers: tuple[Server, ...] = ()
    asks: bool = True
    expects: bool = True
    retries: Written | None = None
    never_out: tuple[Written, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What one text says.

    Attributes:
        faults: What the reader itself could not pass over, such as a key that is written twice.
        notes: What could not be known, and what to give.
    """

    workloads: tuple[Workload, ...] = ()
    balancers: tuple[Balancer, ...] = ()
    faults: tuple[Fault, ...] = ()
    notes: tuple[str, ...] = ()
