"""Reads a unit of systemd: what it runs, how it is stopped, and what is done when it gives no sign of life."""

from __future__ import annotations

import math
import re

from tasker_health.deploy.inspection.commands import words_of
from tasker_health.deploy.inspection.facts import Container, Facts, Supervision, Workload, Written
from tasker_health.deploy.inspection.faults import Place
from tasker_health.deploy.inspection.figures import seconds_of

STOP_SECONDS = 90
_FIRST = re.compile(r"\s*(?:[#;][^\n]*\n\s*)*\[(?:Unit|Service|Install)\]\s*$", re.MULTILINE)


def is_systemd(text: str) -> bool:
    """Whether *text* begins as a unit does."""
    return _FIRST.match(text) is not None


def read(text: str, file: str) -> Facts:
    """Return what *text* says of its service; of another unit, nothing."""
    given = _service(text, file)
    if not given:
        return Facts()
    latest = {name: values[-1] for name, values in given.items()}
    first = min(values[0].place for values in given.values())
    stop = latest.get("TimeoutStopSec") or latest.get("TimeoutSec")
    watchdog = latest.get("WatchdogSec")
    container = Container(
        name=file,
        place=first,
        command=words_of((latest["ExecStart"].value or "").lstrip("-@:+!")) if "ExecStart" in latest else (),
        environment=_environment(given.get("Environment", [])),
        stop_signal=latest.get("KillSignal"),
    )
    supervision = Supervision(
        watchdog=watchdog,
        watchdog_seconds=_seconds(watchdog, 0),
        restart=latest.get("Restart"),
    )
    workload = Workload(
        kind="unit",
        name=file,
        place=first,
        containers=(container,),
        grace_thing="TimeoutStopSec",
        grace_place=stop.place if stop else first,
        grace_seconds=_seconds(stop, STOP_SECONDS) or math.inf,
        supervision=supervision,
    )
    files = given.get("EnvironmentFile", [])
    notes = tuple(f"{each.place}: EnvironmentFile is not read; what it sets is not judged" for each in files)
    return Facts(workloads=(workload,), notes=notes)


def _service(text: str, file: str) -> dict[str, list[Written]]:
    """Return what each directive of `[Service]` was given, in order; an empty value takes back what was before it."""
    found: dict[str, list[Written]] = {}
    section, held, began = "", "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip()[0] in "#;":
            continue
        began = began if held else number
        if line.endswith("\\"):
            held += line[:-1] + " "
            continue
        whole, held = (held + line).strip(), ""
        if whole.startswith("["):
            section = whole
        elif section == "[Service]" and "=" in whole:
            name, _, value = whole.partition("=")
            if not value.strip():
                found.pop(name.strip(), None)
                continue
            found.setdefault(name.strip(), []).append(Written(value.strip(), Place(file, began)))
    return found


def _seconds(written: Written | None, default: float) -> float:
    if written is None:
        return default
    if written.value == "infinity":
        return math.inf
    found = seconds_of(written.value or "")
    return default if found is None else found


def _environment(lines: list[Written]) -> dict[str, Written]:
    found = {}
    for line in lines:
        for word in words_of(line.value or ""):
            name, equals, value = word.partition("=")
            if equals:
                found[name] = Written(value, line.place)
    return found
