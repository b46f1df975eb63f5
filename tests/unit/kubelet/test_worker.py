"""When a probe is asked, and from how many answers something follows."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest

from kubelet.http_get import Found, HttpGet, Outcome
from kubelet.manifest import ProbeSpec
from kubelet.worker import Worker
from loop import in_loop

GET = HttpGet("/", 8081)
ANSWERS = {
    "s": Found(Outcome.SUCCESS),
    "w": Found(Outcome.WARNING),
    "f": Found(Outcome.FAILURE),
    "u": Found(Outcome.UNKNOWN),
}


def container_with(kind, *, started, **fields):
    """Return a container that runs, with one probe."""
    spec = SimpleNamespace(probes={kind: ProbeSpec(GET, **fields)})
    return SimpleNamespace(spec=spec, number=1, started=started, running=True, started_at=time.monotonic())


class Asked:
    """A worker with prepared answers; `decisions` has what followed: `+` a success, `-` a failure, `.` nothing."""

    def __init__(self, kind, answers="", *, started=None, **fields):
        self.decisions, self.times = "", []
        self._answers = iter(answers)
        self.container = container_with(kind, started=kind != "startup" if started is None else started, **fields)
        self.worker = Worker(kind, self.container, self._ask, self._decided, lambda *_: None)

    async def _ask(self, spec):
        self.times.append(time.monotonic())
        return ANSWERS[next(self._answers, "s")]

    def _decided(self, worker, found):
        self.decisions += "+" if found.succeeded else "-"

    async def all(self, count):
        """Ask so often, and return what followed each time."""
        followed = []
        for _ in range(count):
            before = len(self.decisions)
            await self.worker.ask_if_due()
            followed.append(self.decisions[before:] or ".")
        return "".join(followed)


@pytest.mark.parametrize(
    ("answers", "fields", "followed"),
    [
        ("fff", {}, "..-"),  # three in a row
        ("ffsff", {}, "..+.."),  # not in a row
        ("ffffs", {}, "..--+"),  # one success is enough
        ("wf", {"failure_threshold": 1}, "+-"),  # a warning is a success
        ("fufuf", {}, "....-"),  # an answer that says nothing breaks no row
        ("fss", {"failure_threshold": 1, "success_threshold": 2}, "-.+"),
    ],
)
@in_loop
async def test_thresholds_count_answers_in_a_row(answers, fields, followed):
    """Of readiness."""
    assert await Asked("readiness", answers, **fields).all(len(answers)) == followed


@pytest.mark.parametrize("kind", ["liveness", "startup"])
@in_loop
async def test_who_is_being_killed_is_not_asked(kind):
    """Until it has been started again; then it has all of its chances anew."""
    asked = Asked(kind, "fffff")
    assert await asked.all(5) == "..-.."
    assert len(asked.times) == 3
    asked.container.number += 1
    assert await asked.all(3) == "..+"


@pytest.mark.parametrize(
    ("kind", "started", "count"),
    [
        ("readiness", False, 0),
        ("liveness", False, 0),
        ("startup", True, 0),
        ("startup", False, 2),
        ("liveness", True, 2),
    ],
)
@in_loop
async def test_a_startup_probe_holds_the_others_back_and_is_asked_no_more_after_it(kind, started, count):
    """Whatever they would be answered."""
    asked = Asked(kind, started=started)
    await asked.all(2)
    assert len(asked.times) == count


@in_loop
async def test_nothing_is_asked_before_the_initial_delay():
    """It begins anew with each start of the container."""
    asked = Asked("liveness", initial_delay_seconds=30)
    assert await asked.all(2) == ".."
    asked.container.started_at -= 31
    assert await asked.all(1) == "+"
    asked.container.number, asked.container.started_at = 2, time.monotonic()
    assert await asked.all(1) == "."


@in_loop
async def test_a_container_that_does_not_run_is_not_asked():
    """It waits for its restart."""
    asked = Asked("readiness")
    asked.container.running = False
    assert await asked.all(2) == ".."


@in_loop
async def test_periods_do_not_drift_and_begin_somewhere_in_the_first():
    """However long an answer takes; the first comes after a random part of a period."""
    asked = Asked("readiness", period_seconds=0.05)
    began = time.monotonic()
    task = asyncio.create_task(asked.worker.run(random_start=True))
    while len(asked.times) < 11:
        await asyncio.sleep(0.01)
    task.cancel()
    assert asked.times[10] - asked.times[0] >= 0.45  # a busy machine is late, never early
    assert asked.times[0] >= began


@in_loop
async def test_an_answer_that_is_wanted_at_once_is_not_waited_for():
    """As readiness is when the start is over."""
    asked = Asked("readiness", period_seconds=600)
    task = asyncio.create_task(asked.worker.run(random_start=False))
    for count in (1, 2):
        while len(asked.times) < count:
            await asyncio.sleep(0.01)
        asked.worker.ask_at_once()
    task.cancel()
