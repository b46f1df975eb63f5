"""What an inspection finds: a place, a rule, the thing with its value, and what to do."""

from __future__ import annotations

import re
from dataclasses import dataclass

RULES = {
    "allowed-hosts": "a probe is answered 400 by the application's list of hosts",
    "balancer-check": "a server of the balancer is asked nothing",
    "balancer-expect": "a redirect counts as healthy",
    "balancer-passive": "a failed server is never left out, or its request never tried elsewhere",
    "container-flag": "the code 2 of the health check is reserved by Docker",
    "drain-missing": "a stop loses the requests that are on their way",
    "drain-short": "a drain is over before the prober knows of it",
    "duplicate-key": "a key is written twice, and one of its values is lost",
    "exec-probe": "a command asks in place of the prober",
    "grace-short": "the process is killed before its drain is over",
    "guard-port": "a prober asks the application, which cannot answer when it is wedged",
    "liveness-delay": "a delay stands beside a startup probe",
    "liveness-hasty": "a short trouble restarts the process",
    "liveness-path": "a dependency's fault restarts the process",
    "loopback": "nobody outside can reach the address that is listened on",
    "plain-secret": "a secret stands in the manifest",
    "probe-host": "the prober asks another host than its pod",
    "readiness-missing": "requests come before the process can serve, and while it cannot",
    "readiness-path": "readiness does not ask whether requests can be served",
    "readiness-slow": "an unready process gets requests for long",
    "restart-missing": "nobody starts the process again",
    "retry-non-idempotent": "a request that changes something is sent twice",
    "scheme": "TLS is spoken to who speaks none, or the reverse",
    "setting-invalid": "a setting in the manifest keeps the service from starting",
    "shell-form": "a shell gets the signal to stop, and keeps it",
    "startup-missing": "a slow start is restarted for ever",
    "startup-path": "a dependency that is away keeps the process from ever starting",
    "status-probed": "every probe reads the whole status",
    "stop-signal": "the process is told to stop by a signal that drains nothing",
    "tcp-probe": "a wedged process takes connections, too",
    "timeout-deadline": "the prober gives up before we answer",
    "timeout-period": "a probe takes longer than the time to the next",
    "unknown-path": "the path answers 404",
    "unknown-port": "nobody serves the port",
    "watchdog-short": "systemd kills sooner than the service calls itself stalled",
}
"""Each rule, and what it prevents."""


_PASSWORD = re.compile(r"(://[^/\s:@]*):[^/\s@]+@")
_LONGEST = 120


def printable(text: str) -> str:
    """Return *text* without control characters: what a manifest says must not paint a terminal, or make up a line."""
    return "".join(each if each.isprintable() else "?" for each in text)


def shown(text: str) -> str:
    """Return *text* fit for one line: no control characters, no password, and not too long."""
    hidden = _PASSWORD.sub(r"\1:***@", text)
    plain = printable(hidden[: _LONGEST + 1])
    return plain if len(plain) <= _LONGEST else plain[:_LONGEST] + "..."


@dataclass(frozen=True, order=True)
class Place:
    """Where something is written."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        place: Where it is written, or would be.
        rule: One of `RULES`.
        thing: What it is called there.
        value: What it is, safe to print.
        remedy: Why that is wrong, and what to write.
    """

    place: Place
    rule: str
    thing: str
    value: str
    remedy: str

    def __str__(self) -> str:
        return printable(f"{self.place}: {self.rule}: {self.thing} = {self.value}: {self.remedy}")
