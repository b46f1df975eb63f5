"""Reads haproxy.cfg: of each backend its servers, how they are asked, and what is sent twice."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tasker_health.deploy.inspection.commands import words_of
from tasker_health.deploy.inspection.facts import Balancer, Facts, Means, Probe, Role, Server, Written
from tasker_health.deploy.inspection.faults import Place
from tasker_health.deploy.inspection.figures import count_of, seconds_of
from tasker_health.deploy.plan import Prober
from tasker_health.errors import ConfigurationError

_SECTIONS = {
    *("global", "defaults", "frontend", "backend", "listen", "peers", "resolvers", "userlist", "mailers", "cache"),
    *("program", "http-errors", "ring", "fcgi-app", "log-forward"),
}
_FIRST = re.compile(
    r"(?:global|defaults|frontend|backend|listen|userlist|resolvers|peers)(?:\s+[\w.@:-]+)*\s*(?:#.*)?$"
)
_WITH_VALUE = {"inter", "fall", "rise", "port", "fastinter", "downinter", "addr"}
_KNOWN = {*_WITH_VALUE, "check", "disabled", "check-ssl", "ssl"}
_MOST_LINES = 2_000_000
_RESENDING = {"all-retryable-errors", "empty-response", "response-timeout", "junk-response"}
_INTER_SECONDS, _FALL, _RISE = 2.0, 3, 2

Line = tuple[list[str], Place]


def is_haproxy(text: str) -> bool:
    """Whether *text* begins as a configuration of HAProxy does."""
    lines = (line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    return _FIRST.match(next(lines, "")) is not None


@dataclass
class _Section:
    kind: str
    name: str
    place: Place
    lines: list[Line] = field(default_factory=list)


def read(text: str, file: str) -> Facts:
    """Return what *text* says of its backends, each after the `defaults` above it.

    Raises:
        ConfigurationError: It is larger than a configuration can be.
    """
    defaults: list[Line] = []
    found = []
    sections = _sections(text, file)
    usual = max((len(each.lines) for each in sections if each.kind == "defaults"), default=0)
    if usual * len(sections) > _MOST_LINES:
        raise ConfigurationError(f"{file}: more than a configuration can be; give the part with the servers")
    for section in sections:
        if section.kind == "defaults":
            defaults = section.lines
        elif section.kind in {"backend", "listen"}:
            found.append(_balancer(section, [*defaults, *section.lines]))
    return Facts(balancers=tuple(found))


def _sections(text: str, file: str) -> list[_Section]:
    sections: list[_Section] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = list(words_of(re.split(r"(?<!\\)#", line, maxsplit=1)[0]))
        if not words:
            continue
        place = Place(file, number)
        if words[0] in _SECTIONS:
            sections.append(_Section(words[0], words[1] if len(words) > 1 else "", place))
        elif sections:
            sections[-1].lines.append((words, place))
    return sections


def _balancer(section: _Section, lines: list[Line]) -> Balancer:
    usual = _parameters([word for words, _ in lines if words[0] == "default-server" for word in words[1:]])
    servers, probes = [], []
    asking = _asking(lines)
    patience = [(words, place) for words, place in lines if words[:2] == ["timeout", "check"]][-1:]
    connect = [(words, place) for words, place in lines if words[:2] == ["http-check", "connect"]][:1]
    for words, place in lines:
        if words[0] not in {"server", "server-template"} or len(words) < 3:  # noqa: PLR2004 -- name and address
            continue
        at = 2 if words[0] == "server" else 3
        own = usual | _parameters(words[at + 1 :])
        server = Server(
            name=words[1],
            place=place,
            port=words[at].rpartition(":")[2] if ":" in words[at] else "",
            checked="check" in own and "disabled" not in own,
        )
        servers.append(server)
        if server.checked:
            probes.append(_probe(asking, server, own, [*patience, *connect]))
    retries = [(words, place) for words, place in lines if words[0] == "retry-on"]
    resent = next((Written(" ".join(words[1:]), place) for words, place in retries if _RESENDING & set(words)), None)
    if any("disable-l7-retry" in words for words, _ in lines):
        resent = None
    return Balancer(
        software="haproxy",
        name=section.name,
        place=section.place,
        probes=_told_apart(probes),
        servers=tuple(servers),
        expects=asking is None or any(words[:2] == ["http-check", "expect"] for words, _ in lines),
        asks=asking is not None,
        retries=resent,
    )


def _parameters(words: list[str]) -> dict[str, str]:
    """Return the parameters of a server; a `no-` takes one back."""
    found: dict[str, str] = {}
    rest = iter(words)
    for word in rest:
        if word.startswith("no-"):
            found.pop(word.removeprefix("no-"), None)
        elif word in _KNOWN:
            found[word] = next(rest, "") if word in _WITH_VALUE else ""
    return found


def _asking(lines: list[Line]) -> Written | None:
    """Return the path that `option httpchk` asks for; `None`: it is not said, so a connection is all that is tried."""
    found: Written | None = None
    for words, place in lines:
        if words[:2] == ["option", "httpchk"]:
            given = words[2:4]
            found = Written((given[1] if len(given) > 1 else given[0]) if given else "/", place)
        elif words[:3] == ["no", "option", "httpchk"]:
            found = None
        elif words[:2] == ["http-check", "send"] and "uri" in words[:-1] and found is not None:
            found = Written(words[words.index("uri") + 1], place)
    return found


def _probe(asking: Written | None, server: Server, own: dict[str, str], lines: list[Line]) -> Probe:
    inter = seconds_of(own.get("inter", ""), unit="ms") or _INTER_SECONDS
    patience = next(
        ((words[2], place) for words, place in reversed(lines) if words[:2] == ["timeout", "check"] and words[2:]), None
    )
    seconds = seconds_of(patience[0], unit="ms") if patience else None
    connect = next((words for words, _ in lines if words[:2] == ["http-check", "connect"]), [])
    port = own.get("port") or (connect[connect.index("port") + 1] if "port" in connect[:-1] else server.port)
    fall = own.get("fall", "")
    named = {"period_seconds": server.place, "timeout_seconds": patience[1] if patience else server.place}
    return Probe(
        thing="option httpchk" if asking else "check",
        place=asking.place if asking else server.place,
        role=Role.BALANCER,
        means=Means.HTTP if asking else Means.TCP,
        path=Written((asking.value or "/").partition("?")[0], asking.place) if asking else None,
        port=Written(port, server.place) if port else None,
        secure="check-ssl" in own or "ssl" in connect or ("ssl" in own and "port" not in own),
        figures=Prober(0, inter, inter if seconds is None else seconds, count_of(fall, _FALL), _RISE),
        named=named,
    )


def _told_apart(probes: list[Probe]) -> tuple[Probe, ...]:
    """Return *probes* without those that ask as another one does: of ten servers alike one is told."""
    seen: dict[object, Probe] = {}
    for probe in probes:
        seen.setdefault((probe.port.value if probe.port else "", probe.secure, probe.figures), probe)
    return tuple(seen.values())
