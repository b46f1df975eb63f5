"""`tasker-health doctor`: the walk through the whole installation, part by part.

The rules for whoever writes a part:

* It looks with the settings of the service, on connections of its own, and changes nothing that lasts.
* It returns within `Visit.part_seconds`, whatever hangs; what it did not come to is `unknown`, and said.
* A finding says what was measured and, unless it is well, what to do: a remedy that makes the next walk clean.
* Nothing secret is in it: no password, no token, of a URL only its scheme, host and name.
* It is called in a thread of its own, with an event loop of its own; it may be abandoned there.
* It finds causes, not their consequences: what another part has found is not told a second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import msgspec

from tasker_health.cli.doctor.findings import Finding, Verdict, error, warning
from tasker_health.deadline import in_thread, retrieve
from tasker_health.errors import ConfigurationError, SettingsError
from tasker_health.loading import Origins
from tasker_health.reasons import words_of
from tasker_health.settings import Settings

_SLACK_SECONDS = 2.0
"""A part that keeps its time is not blamed for a busy machine."""

_RANKS = {Verdict.ERROR: 0, Verdict.WARNING: 1, Verdict.UNKNOWN: 2}


@dataclass(frozen=True)
class Visit:
    """What is looked at.

    Attributes:
        settings: Of the service.
        origins: Where each of their values came from.
        manifests: Files that deploy it; `-` is standard input.
        part_seconds: How long one part may take.
        config: The file of the settings.
        found: What those parts have found that this one comes after, by name.
    """

    settings: Settings
    origins: Origins
    manifests: tuple[str, ...] = ()
    part_seconds: float = 15
    config: Path | None = None
    found: Mapping[str, Sequence[Finding]] = field(default_factory=dict)

    def cause(self, *parts: str) -> str:
        """Return the first of *parts* that has found an error, which this one would only meet again; empty: none."""
        return next((p for p in parts if any(f.verdict is Verdict.ERROR for f in self.found.get(p, ()))), "")


Part = Callable[[Visit], Awaitable[list[Finding]]]


class Registered(NamedTuple):
    """A part of the walk.

    Attributes:
        name: As it is told, and chosen by.
        place: Module and function, which are imported when it is looked at.
        after: Names of the parts whose findings it wants to know before it looks.
    """

    name: str
    place: str
    after: tuple[str, ...] = ()


async def walk(
    visit: Visit, parts: Sequence[Registered], *, told: Callable[[Sequence[str]], None] = lambda _: None
) -> list[Finding]:
    """Return what *parts* find, in their order; they look side by side, and none can hold up or break another one.

    Args:
        visit: What is looked at.
        parts: Who looks.
        told: Is told which of them are still looking.
    """
    looking = [each.name for each in parts]
    tasks: dict[str, asyncio.Task[list[Finding]]] = {}

    async def one(part: Registered) -> list[Finding]:
        found = {name: await tasks[name] for name in part.after if name in tasks}
        findings = await _look(part, replace(visit, found=found))
        looking.remove(part.name)
        told(looking)
        return [msgspec.structs.replace(each, part=part.name) for each in findings]

    told(looking)
    for each in parts:
        tasks[each.name] = asyncio.create_task(one(each))
    return [finding for found in await asyncio.gather(*tasks.values()) for finding in found]


async def _look(part: Registered, visit: Visit) -> list[Finding]:
    """Return what *part* finds: in a thread with a loop of its own, as it may call what blocks."""

    async def looked() -> list[Finding]:
        module, _, function = part.place.partition(":")
        look: Part = getattr(import_module(module), function)
        return await look(visit)

    try:
        looking = in_thread(lambda: asyncio.run(looked()), f"doctor-{part.name}")
        looking.add_done_callback(retrieve)
        done, _ = await asyncio.wait({looking}, timeout=visit.part_seconds + _SLACK_SECONDS)
        if done:
            return looking.result()
    except ConfigurationError as wrong:
        return [refused(wrong)]
    except Exception as broken:  # noqa: BLE001 -- the walk goes on, whatever one part does
        return [warning(part.name, f"not looked at: {words_of(broken)}", "this is a fault of ours: please report it")]
    remedy = f"see what hangs there: tasker-health doctor --part {part.name}"
    return [warning(part.name, f"did not end within {visit.part_seconds:g} s", remedy)]


def refused(error_: ConfigurationError) -> Finding:
    """Return what is found where settings cannot work."""
    if isinstance(error_, SettingsError):
        return error(error_.key, error_.value, error_.allowed)
    what, _, words = str(error_).partition(": ")
    measured, _, remedy = words.rpartition("; ")
    return error(what, measured or remedy, remedy or what)


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """Return errors, then warnings, then what is not known, then the rest; within each they keep their order."""
    return sorted(findings, key=lambda each: _RANKS.get(each.verdict, len(_RANKS)))
