"""The walk: parts look side by side, and none of them can hold up, break or blame another one."""

from __future__ import annotations

import asyncio
import threading
import time
from importlib import import_module

import canary
from fakes import settings_of
from tasker_health.cli.doctor.findings import Finding, Verdict, error, not_looked_at, warning
from tasker_health.cli.doctor.parts import PARTS
from tasker_health.cli.doctor.walk import Registered, Visit, walk, worst_first
from tasker_health.errors import ConfigurationError, SettingsError
from tasker_health.loading import Origins

WORD = canary.secret("word")
MEET = threading.Barrier(2, timeout=30)
HELD = threading.Event()


async def well(_visit):
    """Find nothing."""
    return [Finding(what="this", measured="well")]


async def breaks(_visit):
    """Raise what holds a secret in a URL."""
    raise RuntimeError(f"cannot ask http://me:{WORD}@there/")


async def leaves(_visit):
    """End the program, as a module of the user's may."""
    raise SystemExit(7)


async def blocks(_visit):
    """Block the thread."""
    HELD.wait(60)
    return []


async def refuses(_visit):
    """Find a setting that cannot work."""
    raise SettingsError("cache.url", "'sql://***'", "it needs database.url")


async def refuses_in_words(_visit):
    """The same of no setting in particular."""
    raise ConfigurationError("redis: not installed; pip install 'tasker-health[redis]'")


async def meets(_visit):
    """Wait for another part to look at the same time."""
    MEET.wait()
    return []


async def errs(_visit):
    """Find an error."""
    return [error("path", "refused", "start it")]


async def follows(visit):
    """Tell the cause, if an earlier part has found it."""
    cause = visit.cause("first", "absent")
    return [not_looked_at("schema", cause)] if cause else [Finding(what="schema", measured="well")]


def walked(*parts, seconds=30):
    """Return what is found by *parts*, which are names and functions, or registered."""
    registered = [each if isinstance(each, Registered) else Registered(*each) for each in parts]
    visit = Visit(settings_of(), Origins(), part_seconds=seconds)
    return asyncio.run(walk(visit, registered))


def at(function):
    """Return the place of *function*."""
    return f"{__name__}:{function.__name__}"


def test_one_that_raises_is_one_finding_without_its_secret():
    """And the others look as ever, also where one would end the program."""
    found = walked(("first", at(breaks)), ("second", at(leaves)), ("third", at(well)), ("none", "no.such.module:look"))
    assert [(each.part, each.verdict) for each in found] == [
        *(("first", "warning"), ("second", "warning"), ("third", "ok"), ("none", "warning")),
    ]
    assert "http://***@there/" in found[0].measured
    assert WORD not in str(found)


def test_one_that_blocks_is_left_behind():
    """Although it does not even let an event loop go on."""
    began = time.monotonic()
    try:
        found = walked(("stuck", at(blocks)), ("third", at(well)), seconds=0.1)
    finally:
        HELD.set()
    assert time.monotonic() - began < 30
    assert [(each.part, each.verdict) for each in found] == [("stuck", Verdict.WARNING), ("third", Verdict.OK)]
    assert "--part stuck" in found[0].remedy


def test_a_setting_that_cannot_work_is_an_error_with_its_remedy():
    """By its key where there is one."""
    setting, words = walked(("first", at(refuses)), ("second", at(refuses_in_words)))
    assert (setting.what, setting.verdict, setting.remedy) == ("cache.url", "error", "it needs database.url")
    assert (words.what, words.verdict) == ("redis", "error")
    assert words.remedy == "pip install 'tasker-health[redis]'"


def test_parts_look_side_by_side():
    """Two that wait for one another meet."""
    assert walked(("first", at(meets)), ("second", at(meets))) == []


def test_what_follows_from_a_cause_is_not_a_fault_of_its_own():
    """In the order of the parts, whichever is waited for; a part that was not chosen is no cause."""
    found = walked(Registered("second", at(follows), after=("first",)), ("first", at(errs)))
    assert [(each.part, each.verdict) for each in found] == [("second", "unknown"), ("first", "error")]
    assert found[0].measured == "not looked at: first"
    assert walked(Registered("second", at(follows), after=("first",)))[0].measured == "well"


def test_the_worst_stands_first_and_the_rest_in_its_order():
    """Errors, warnings, what is not known; what is well keeps its place among notes."""
    rows = [
        Finding(what="a", measured=""),
        not_looked_at("b", "x"),
        warning("c", "", ""),
        Finding(what="d", measured="", verdict=Verdict.NOTE),
        error("e", "", ""),
        warning("f", "", ""),
    ]
    assert [each.what for each in worst_first(rows)] == ["e", "c", "f", "b", "a", "d"]


def test_every_registered_part_is_there_and_waits_for_none_that_waits_for_it():
    """A part that cannot be imported would only be seen as a fault of ours, and a circle would never end."""
    names = [part.name for part in PARTS]
    assert len(set(names)) == len(names)
    after = {part.name: set(part.after) for part in PARTS}
    for part in PARTS:
        module, _, function = part.place.partition(":")
        assert callable(getattr(import_module(module), function))
        assert after[part.name] <= set(names)
    while after:
        free = [name for name, waits in after.items() if not waits & after.keys()]
        assert free, f"a circle among {sorted(after)}"
        for name in free:
            del after[name]
