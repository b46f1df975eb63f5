"""Reads nginx.conf: what is passed on to the health endpoints, and what is tried at another server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from tasker_health.deploy.inspection.facts import Balancer, Facts, Means, Probe, Role, Server, Written
from tasker_health.deploy.inspection.faults import Place
from tasker_health.deploy.inspection.figures import count_of, seconds_of
from tasker_health.deploy.plan import Prober
from tasker_health.errors import ConfigurationError

DEEPEST = 50
MOST_DIRECTIVES = 200_000
_READ_SECONDS = 60.0
_IN_FORCE = {"proxy_pass", "proxy_read_timeout", "proxy_next_upstream", "health_check"}
"""What is asked for in a location, be it said there or above it."""
_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|[{};]|(?:\\.|\$\{\w*\}|[^\s{};"'\\])+|.""", re.DOTALL
)
_BEGINS = {
    *("user", "worker_processes", "pid", "error_log", "events", "http", "upstream", "server", "location", "include"),
    *("load_module", "daemon", "map", "proxy_pass", "worker_rlimit_nofile", "pcre_jit", "env", "master_process"),
    *("limit_req_zone", "log_format", "stream", "access_log"),
}


@dataclass
class _Directive:
    name: str
    words: list[str]
    place: Place
    block: list[_Directive] = field(default_factory=list)


def is_nginx(text: str) -> bool:
    """Whether *text* begins as a configuration of NGINX does."""
    words = [word for each in _TOKEN.finditer(text[:100_000]) if (word := each[0]).strip() and word[:1] != "#"][:30]
    return bool(words) and words[0] in _BEGINS and (";" in words or "{" in words)


def read(text: str, file: str) -> Facts:
    """Return what *text* says: one balancer for all of it.

    Raises:
        ConfigurationError: Its braces do not match, or it is larger than a configuration can be.
    """
    top = _parsed(text, file)
    passed = list(_locations(top, {}))
    relaying = [location for location in passed if location.probes]
    serving = [location for location in passed if not location.probes]
    retries = [each for each in _all(top) if each.name == "proxy_next_upstream" and "non_idempotent" in each.words]
    never = list(_kept_in(top, {location.target for location in serving}))
    never += [
        Written("proxy_next_upstream off", each.next_upstream.place)
        for each in serving
        if each.next_upstream is not None and each.next_upstream.words == ["off"]
    ]
    balancer = Balancer(
        software="nginx",
        name="nginx",
        place=Place(file, 1),
        probes=tuple(probe for location in relaying for probe in location.probes),
        servers=tuple(_servers(top)),
        retries=_written(retries[0]) if retries else None,
        never_out=tuple(dict.fromkeys(never)),
    )
    return Facts(balancers=(balancer,))


def _parsed(text: str, file: str) -> list[_Directive]:
    top: list[_Directive] = []
    open_blocks = [top]
    words: list[str] = []
    count = 0
    line = began = 1
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word in {"{", ";"}:
            if words:
                count += 1
                made = _Directive(words[0], [each.strip("\"'") for each in words[1:]], Place(file, began))
                open_blocks[-1].append(made)
                if word == "{":
                    open_blocks.append(made.block)
            words = []
        elif word == "}":
            words = []
            open_blocks.pop()
        elif word.strip() and not word.startswith("#"):
            began = began if words else line
            words.append(word)
        line += word.count("\n")
        if not 0 < len(open_blocks) <= DEEPEST:
            raise ConfigurationError(f"{file}:{line}: a brace too many; nginx -t tells more")
        if count > MOST_DIRECTIVES:
            raise ConfigurationError(f"{file}:{line}: more than a configuration can be; give the part with the servers")
    if len(open_blocks) > 1:
        raise ConfigurationError(f"{file}:{line}: a brace is missing; nginx -t tells more")
    return top


def _all(block: list[_Directive]) -> Iterator[_Directive]:
    for each in block:
        yield each
        yield from _all(each.block)


def _written(directive: _Directive) -> Written:
    return Written(" ".join([directive.name, *directive.words]), directive.place)


def _servers(top: list[_Directive]) -> Iterator[Server]:
    for upstream in (each for each in _all(top) if each.name == "upstream"):
        for server in (each for each in upstream.block if each.name == "server" and each.words):
            yield Server(name=server.words[0], place=server.place, port=server.words[0].rpartition(":")[2])


def _kept_in(top: list[_Directive], targets: set[str]) -> Iterator[Written]:
    """Yield the servers that no failure takes out, of the upstreams that the application's requests go to."""
    for upstream in (each for each in _all(top) if each.name == "upstream" and targets & set(each.words)):
        for server in upstream.block:
            if server.name == "server" and "max_fails=0" in server.words:
                yield _written(server)


@dataclass(eq=False)
class _Location:
    target: str
    probes: list[Probe]
    next_upstream: _Directive | None


def _locations(block: list[_Directive], above: dict[str, _Directive]) -> Iterator[_Location]:
    """Yield every place that passes requests on, with what is in force there."""
    here = above | {each.name: each for each in block if not each.block and each.name in _IN_FORCE}
    for each in block:
        if each.name == "location":
            inside = {inner.name: inner for inner in each.block if inner.name in _IN_FORCE}
            if "proxy_pass" in inside:
                force = here | inside
                target = _target(force["proxy_pass"])
                yield _Location(
                    target.netloc if target else "", list(_probes(each, force)), force.get("proxy_next_upstream")
                )
        yield from _locations(each.block, here)


def _target(proxy_pass: _Directive) -> SplitResult | None:
    """Return where requests are passed to; `None`: it is made of variables, or no URL."""
    if not proxy_pass.words or "$" in proxy_pass.words[0]:
        return None
    try:
        return urlsplit(proxy_pass.words[0])
    except ValueError:
        return None


def _probes(location: _Directive, force: dict[str, _Directive]) -> Iterator[Probe]:
    to = force["proxy_pass"]
    target = _target(to)
    if target is None:
        return
    is_pattern = any(word in {"~", "~*"} for word in location.words)
    path = target.path or ("" if is_pattern else location.words[-1] if location.words else "")
    patience = force.get("proxy_read_timeout")
    seconds = seconds_of(patience.words[0]) if patience and patience.words else None
    usual = {"timeout_seconds": patience.place if patience else to.place}
    reads = _READ_SECONDS if seconds is None else seconds
    secure = target.scheme == "https"
    if "/health" in path and not path.endswith("/"):
        yield Probe(
            thing=" ".join(["location", *location.words[-1:]]),
            place=location.place,
            role=Role.RELAYED,
            means=Means.HTTP,
            path=Written(path, to.place),
            secure=secure,
            figures=Prober(timeout_seconds=reads),
            named=usual,
        )
    plus = force.get("health_check")
    if plus is not None:
        given = dict(word.split("=", 1) for word in plus.words if "=" in word)
        fails = given.get("fails", "")
        yield Probe(
            thing="health_check",
            place=plus.place,
            role=Role.BALANCER,
            means=Means.HTTP,
            path=Written(given.get("uri", "/").partition("?")[0], plus.place),
            port=Written(given["port"], plus.place) if "port" in given else None,
            secure=secure,
            figures=Prober(0, seconds_of(given.get("interval", "")) or 5, reads, count_of(fails, 1)),
            named=usual,
        )
