"""`tasker-health stuck`: which tasks of a running service stand still, why, and what to do about each."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator

import msgspec
from msgspec import UNSET
from rich.text import Text

from tasker_health.cli.console import Told
from tasker_health.cli.probe import forget, say
from tasker_health.cli.top.exchange import Exchange, NoAnswerError
from tasker_health.cli.top.snapshot import TroubleError, no_answer, stuck_of
from tasker_health.cli.top.target import Target
from tasker_health.cli.top.text import clean
from tasker_health.deadline import in_thread
from tasker_health.meaning import why_stuck
from tasker_health.stuck import StuckItem, StuckReport
from tasker_health.work import Cause

NOTHING, SOME, NOT_ASKED = 0, 1, 2

_LONGEST = 200


def show_stuck(target: Target, *, patience_seconds: float, as_json: bool) -> int:
    """Print what stands still at *target*; return 0, 1, or 2 when nobody could say that nothing does."""
    try:
        report = asyncio.run(_asked(target, patience_seconds))
    except TroubleError as error:
        say(sys.stderr, f"tasker-health stuck: {target.url}: {error}\n")
        return NOT_ASKED
    try:
        if as_json:
            print(msgspec.json.format(msgspec.json.encode(report)).decode(), flush=True)
        else:
            _print(report)
    except OSError:  # nobody reads it; the code tells all the same
        forget(sys.stdout)
    return code_of(report)


def code_of(report: StuckReport) -> int:
    """Return the exit code for *report*: a dead worker that held nothing is no stuck work."""
    if report.stuck or any(report.causes.values()):
        return SOME
    return NOTHING if report.total is not None else NOT_ASKED


async def _asked(target: Target, patience_seconds: float) -> StuckReport:
    exchange = Exchange(target, patience_seconds)
    try:
        answer = in_thread(lambda: exchange.get("stuck"), "stuck")
        done, _ = await asyncio.wait({answer}, timeout=patience_seconds)
        if not done:
            exchange.abort()
            raise no_answer(NoAnswerError(f"no answer within {patience_seconds:g} s; is the server hung?"))
        return stuck_of(answer.result())
    except NoAnswerError as error:
        raise no_answer(error) from None
    finally:
        exchange.close()


def _print(report: StuckReport) -> None:
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")  # a terminal of few characters shows ? where a sign would stand
    console = Told(file=sys.stdout, markup=False, highlight=False, emoji=False)
    for line in lines_of(report):
        console.print(Text(line), soft_wrap=True)


def lines_of(report: StuckReport) -> Iterator[str]:
    """Yield *report* in lines: by cause, the surest first, with what to do."""
    if not report.stuck and not any(report.causes.values()):
        yield "nothing stands still" if report.total is not None else "nothing is known to stand still"
    for cause in Cause:
        if number := report.causes.get(cause, 0):
            yield f"{cause}: {number} — {why_stuck(cause)}"
            yield from _tasks([each for each in report.stuck if each.cause is cause])
    if report.truncated:
        yield f"more are known than the {len(report.stuck)} that are named"
    yield from _workers(report)
    for name, source in report.sources.items():
        if not source.answered:
            why = f"could not say: {source.reason}" if source.reason is not UNSET else "is of a kind that never says"
            yield f"source {clean(name, _LONGEST)} {why}"


def _tasks(tasks: list[StuckItem]) -> Iterator[str]:
    remedies: dict[str, None] = dict.fromkeys(each.what_to_do for each in tasks)
    for remedy in remedies:
        for each in tasks:
            if each.what_to_do == remedy:
                yield f"  {_task(each)}"
        yield f"  → {clean(remedy, 400)}"


def _task(task: StuckItem) -> str:
    since = None if task.since is None else f"since {task.since:%Y-%m-%dT%H:%M:%SZ}"
    queue = task.queue and f"queue {task.queue}"
    version = task.version and f"version {task.version}"
    worker = None if task.worker is UNSET or task.worker is None else f"worker {task.worker}"
    doubt = "" if task.confirmed is UNSET else "unconfirmed"
    parts = (task.id, task.name, task.source or task.engine, task.state, queue, version, worker, since, doubt)
    return clean("  ".join(part for part in parts if part), 2 * _LONGEST)


def _workers(report: StuckReport) -> Iterator[str]:
    workers = report.workers
    if workers.alive is None:
        yield "workers: not known"
        return
    yield f"workers: {workers.alive} alive, {workers.stalled} stalled, {workers.dead} dead"
    for each in workers.dead_workers:
        who = "" if each.id is UNSET else f" {each.id} on {each.host} (pid {each.pid})"
        line = f"dead since {each.since:%Y-%m-%dT%H:%M:%SZ}: {each.engine}{who}, with {each.running_count} tasks"
        yield clean(line, 2 * _LONGEST)
