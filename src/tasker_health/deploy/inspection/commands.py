"""What a health check that is a command asks: the URL among its words, by which program, for how long."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import PurePosixPath

from tasker_health.deploy.inspection.facts import Means, Probe, Written
from tasker_health.deploy.inspection.figures import seconds_of

_URL = re.compile(r"(https?)://(\[[^\]/]*\]|[^/:\s'\"]+)(?::(\d{1,5}))?(/[^\s'\"?#]*)?")
_QUOTES = re.compile(r"[\"'\\]")
_SHELLS = {"sh", "bash", "ash", "dash"}
_WRAPPERS = {"exec", "timeout", "nice", "env", "if", "!"}
_DEFAULT_PROBE_SECONDS = 2
_LONGEST_QUOTED = 65_536


def words_of(line: str) -> tuple[str, ...]:
    """Return the words of a shell's *line*, as far as it can be read."""
    # Shlex goes letter by letter: what has nothing for it to find is split a hundred times faster.
    if len(line) > _LONGEST_QUOTED or not _QUOTES.search(line):
        return tuple(re.findall(r"[^ \t\r\n]+", line))
    try:
        return tuple(shlex.split(line))
    except ValueError:
        return tuple(line.split())


def asked_by(probe: Probe, command: tuple[str, ...]) -> Probe:
    """Return *probe* with what *command* asks."""
    if len(command) > 1 and PurePosixPath(command[0]).name in _SHELLS:
        command = words_of(command[-1])
    rest = list(command)
    while rest and (rest[0] in _WRAPPERS or rest[0][:1].isdigit() or "=" in rest[0]):
        rest.pop(0)
    program = PurePosixPath(rest[0]).name if rest else ""
    if program.startswith("python") and rest[1:3] in (["-m", "tasker_health"], ["-m", "tasker_health.cli"]):
        program, rest = "tasker-health", rest[2:]
    probe = replace(probe, means=Means.COMMAND, program=program, arguments=tuple(rest[1:]))
    url = next((found for word in rest if (found := _URL.search(word))), None)
    if url is None:
        return probe
    scheme, _, port, path = url.groups()
    return replace(
        probe,
        path=Written(path or "/", probe.place),
        port=Written(port or ("443" if scheme == "https" else "80"), probe.place),
        secure=scheme == "https",
    )


def patience_seconds(probe: Probe) -> float:
    """Return how long who asks for *probe* waits: the prober, or its command when that gives up sooner."""
    patience = probe.figures.timeout_seconds
    if probe.program != "tasker-health":
        return patience
    own: float | None = _DEFAULT_PROBE_SECONDS
    for word, following in zip(probe.arguments, (*probe.arguments[1:], ""), strict=False):
        name, equals, value = word.partition("=")
        if name == "--timeout":
            own = seconds_of(value if equals else following)
    return patience if own is None else min(patience, own)
