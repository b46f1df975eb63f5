"""Reads a Dockerfile's last stage: its health check, what it runs, and what it sets."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace

from tasker_health.deploy.inspection.commands import asked_by, words_of
from tasker_health.deploy.inspection.facts import Container, Facts, Means, Probe, Role, Workload, Written
from tasker_health.deploy.inspection.faults import Place
from tasker_health.deploy.inspection.figures import count_of, port_of, seconds_of
from tasker_health.deploy.plan import Prober
from tasker_health.errors import ConfigurationError

MOST_STAGES = 1000
_FIRST = re.compile(r"\s*(?:#[^\n]*\n\s*)*(?:FROM|ARG)\s", re.IGNORECASE)
_HEREDOC = re.compile(r"<<-?[\"']?(\w+)")
_NAMED = ("image", "AS", "name")
_FLAGS = {
    "--interval": "period_seconds",
    "--timeout": "timeout_seconds",
    "--start-period": "initial_delay_seconds",
    "--retries": "failure_threshold",
}


def is_dockerfile(text: str) -> bool:
    """Whether *text* begins as a Dockerfile does."""
    return _FIRST.match(text) is not None


@dataclass
class _Stage:
    place: Place
    name: str = "image"
    environment: dict[str, Written] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)
    commands: dict[str, Written] = field(default_factory=dict)
    probe: Probe | None = None
    signal: Written | None = None


def read(text: str, file: str) -> Facts:
    """Return what *text* says of the image that it makes.

    Raises:
        ConfigurationError: It has more stages than a Dockerfile can have.
    """
    stage = _Stage(Place(file, 1))
    stages: dict[str, _Stage] = {}
    count = 0
    for word, rest, place in _instructions(text, file):
        if word == "FROM":
            count += 1
            if count > MOST_STAGES:
                raise ConfigurationError(f"{place}: more than a Dockerfile can be; give the last stages alone")
            words = [each for each in rest.split() if not each.startswith("--")]
            stage = _begun(stages.get(words[0].lower() if words else ""), place)
            if len(words) == len(_NAMED) and words[1].upper() == "AS":
                stages[words[2].lower()] = stage
        elif word == "HEALTHCHECK":
            stage.probe = _probe(rest, place)
        elif word in {"CMD", "ENTRYPOINT"}:
            stage.commands[word] = Written(rest, place)
        elif word == "STOPSIGNAL":
            stage.signal = Written(rest, place)
        elif word == "ENV":
            stage.environment |= {name: Written(value, place) for name, value in _variables(rest)}
        elif word == "EXPOSE":
            numbers = (each.partition("/")[0] for each in rest.split())
            stage.ports |= {each: number for each in numbers if (number := port_of(each)) is not None}
    return Facts(workloads=(_workload(stage),))


def _begun(base: _Stage | None, place: Place) -> _Stage:
    """Return a stage that has all that the stage has which it is made from."""
    if base is None:
        return _Stage(place)
    return replace(
        base,
        place=place,
        environment=dict(base.environment),
        ports=dict(base.ports),
        commands=dict(base.commands),
    )


def _workload(stage: _Stage) -> Workload:
    written = [stage.commands[name] for name in ("ENTRYPOINT", "CMD") if name in stage.commands]
    runs = written[0] if written else None
    container = Container(
        name=stage.name,
        place=stage.place,
        command=tuple(word for each in written for word in _command(each.value or "")),
        environment=stage.environment,
        ports=stage.ports,
        probes=(stage.probe,) if stage.probe else (),
        stop_signal=stage.signal,
        shell_form=runs if runs and not _is_json(runs.value or "") and not _executes(runs.value or "") else None,
    )
    return Workload(kind="image", name=stage.name, place=stage.place, containers=(container,))


def _instructions(text: str, file: str) -> list[tuple[str, str, Place]]:
    """Return each instruction, what follows it, and where; lines that go on are put together."""
    found: list[tuple[str, str, Place]] = []
    held, began, until = "", 0, ""
    for number, line in enumerate(text.splitlines(), 1):
        if until:  # of a text that stands in the file itself
            until = "" if line.strip() == until else until
            continue
        if line.lstrip().startswith("#") or (held and not line.strip()):
            continue
        began = began if held else number
        if line.rstrip().endswith("\\"):
            held += line.rstrip()[:-1] + " "
            continue
        word, _, rest = (held + line).strip().partition(" ")
        found.append((word.upper(), rest.strip(), Place(file, began)))
        held = ""
        inline = _HEREDOC.search(rest) if word.upper() in {"RUN", "COPY", "ADD"} else None
        until = inline[1] if inline else ""
    return found


def _probe(rest: str, place: Place) -> Probe | None:
    flags: dict[str, str] = {}
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        name, _, value = flag.partition("=")
        flags[name] = value
        rest = rest.strip()
    word, _, command = rest.partition(" ")
    if word.upper() != "CMD":
        return None

    def seconds(flag: str, default: float) -> float:
        found = seconds_of(flags.get(flag, ""))
        return default if found is None else found

    retries = flags.get("--retries", "")
    probe = Probe(
        thing="HEALTHCHECK",
        place=place,
        role=Role.CONTAINER,
        means=Means.COMMAND,
        figures=Prober(
            seconds("--start-period", 0),
            seconds("--interval", 30),
            seconds("--timeout", 30),
            count_of(retries, 3),
        ),
        named={_FLAGS[name]: place for name in flags if name in _FLAGS},
    )
    return asked_by(replace(probe), _command(command.strip()))


def _command(text: str) -> tuple[str, ...]:
    return tuple(map(str, json.loads(text))) if _is_json(text) else words_of(text)


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def _executes(text: str) -> bool:
    return text.startswith("exec ")


def _variables(rest: str) -> list[tuple[str, str]]:
    words = words_of(rest)
    if words and "=" not in words[0]:
        name, _, value = rest.partition(" ")
        return [(name, value.strip())]
    return [(name, value) for name, _, value in (word.partition("=") for word in words)]
