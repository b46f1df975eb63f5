"""Says what stands still: asks every source that can explain and who works, side by side, once for many askers."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tasker_health.clock import Clock, timestamp
from tasker_health.deadline import within
from tasker_health.errors import SourceFault
from tasker_health.model import Reason
from tasker_health.reasons import reason_of, words_of
from tasker_health.single_flight import SingleFlight
from tasker_health.sources import Explaining, Source
from tasker_health.stuck import SourceAnswer, StuckReport, WorkersNow
from tasker_health.stuck.telling import dead_worker, item, key_of, unconfirmed
from tasker_health.work import MOST_STUCK, Cause, Findings, StuckTask
from tasker_health.workers import Roster, Worker, Workers, WorkerState

log = logging.getLogger(__name__)

_GRACE_SECONDS = 0.1
"""How much longer than its deadline a source may take before it is left to itself."""

_MOST_OF_EACH = MOST_STUCK * len(Cause)


class Told(NamedTuple):
    """A task that stands still, with whose it is; `confirmed`: its engine was asked."""

    task: StuckTask
    source: str | None
    engine: str | None
    confirmed: bool = True


class Stuck:
    """Reports.

    Args:
        sources: The workflow engines; those that are `Explaining` are asked.
        clock: Measures how old a report is.
        deadline_seconds: Longest time for each source.
        heartbeat_seconds: So often workers say that they live: a report serves everybody for half of it, or for a
            second.
        roster: Tells who works; `None`: nobody does.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        clock: Clock,
        *,
        deadline_seconds: float,
        heartbeat_seconds: float = 2,
        roster: Roster | None = None,
    ) -> None:
        self._sources = sources
        self._clock = clock
        self._deadline_seconds = deadline_seconds
        self._keep_seconds = max(1.0, heartbeat_seconds / 2)
        self._run: SingleFlight[StuckReport] = SingleFlight(self._ask_all)
        self._newest: tuple[StuckReport, float] | None = None
        self._faults: dict[str, Reason] = {}
        self._roster = roster

    async def report(self) -> StuckReport:
        """Return what stands still, from a look that is at most half a heartbeat old, or a second.

        Raises:
            RunEndedError: It was stopped meanwhile.
        """
        if self._newest is not None and self._clock.monotonic() < self._newest[1]:
            return self._newest[0]
        return await self._run()

    def forget(self) -> None:
        """Leave what is being asked to the process that this one was forked from."""
        self._run.forget()
        self._newest = None

    async def close(self) -> None:
        """End what is being asked, and keep no report."""
        await self._run.cancel()
        self._newest = None

    async def _ask_all(self) -> StuckReport:
        # A roster of the sources' own is asked by them before their snapshots; this one tells who is dead.
        asked = asyncio.gather(*map(self._ask, self._sources))
        workers = await self._who_works()
        answers = await asked
        report = _report(self._sources, answers, workers, self._clock.now())
        self._newest = report, self._clock.monotonic() + self._keep_seconds
        return report

    async def _who_works(self) -> Workers | None:
        if self._roster is None:
            return None
        try:
            return await within(self._roster.read(self._deadline_seconds), self._deadline_seconds + _GRACE_SECONDS)
        except Exception as error:  # noqa: BLE001 -- nobody is known to be dead then
            log.debug("heartbeats: cannot be read: %s", words_of(error))
            return None

    async def _ask(self, source: Source) -> Findings | Reason | None:
        """Return what *source* finds, why it could not be asked, or `None`: it is of a kind that never says."""
        if not isinstance(source, Explaining):
            return None
        seconds = self._deadline_seconds
        try:
            found = believed(await within(source.stuck(seconds, MOST_STUCK), seconds + _GRACE_SECONDS))
        except Exception as error:  # noqa: BLE001 -- told by its reason; the others are answered all the same
            reason = reason_of(error)
            if self._faults.get(source.name) is not reason:
                log.warning("source %s: cannot say what stands still (%s): %s", source.name, reason, words_of(error))
            self._faults[source.name] = reason
            return reason
        self._faults.pop(source.name, None)
        return found


def believed(found: Findings) -> Findings:
    """Return *found* when it is what a source must answer.

    Raises:
        SourceFault: It is not.
    """
    if not isinstance(found, Findings):
        raise SourceFault(Reason.INVALID, f"stuck answered {type(found).__name__}; it must answer Findings")
    if not all(isinstance(each, StuckTask) for each in found.tasks[:_MOST_OF_EACH]):
        raise SourceFault(Reason.INVALID, "stuck: tasks must be StuckTask")
    for cause, number in found.causes.items():
        if not isinstance(cause, Cause) or type(number) is not int or number < 0:
            raise SourceFault(Reason.INVALID, f"stuck: causes: {cause!r} = {number!r}; it must be a count by Cause")
    return found


def _report(
    sources: Sequence[Source], answers: Sequence[Findings | Reason | None], workers: Workers | None, now: float
) -> StuckReport:
    tasks: list[Told] = []
    causes: Counter[Cause] = Counter()
    told: dict[str, SourceAnswer] = {}
    for source, answer in zip(sources, answers, strict=True):
        if isinstance(answer, Findings):
            engine = getattr(source, "engine", None)
            tasks += [Told(task, source.name, engine) for task in answer.tasks[:_MOST_OF_EACH]]
            causes.update(answer.causes)
            told[source.name] = SourceAnswer(answered=True)
        elif answer is None:
            told[source.name] = SourceAnswer(answered=False)
        else:
            told[source.name] = SourceAnswer(answered=False, reason=answer)
    dead = workers.dead() if workers is not None else []
    ids = {each.task.id for each in tasks}
    for worker in _unheard(dead, sources, answers):
        named = [each for each in unconfirmed(worker) if each.id not in ids]
        tasks += [Told(each, None, worker.beat.engine, confirmed=False) for each in named]
        # Those beyond what the beat names cannot be told from those that a source has named.
        unnamed = max(0, worker.beat.running_count - len(worker.beat.running))
        if named or unnamed:
            causes[Cause.WORKER_DEAD] += len(named) + unnamed
    first = sorted(tasks, key=lambda each: key_of(each.task))[:MOST_STUCK]
    known = sum(causes.values())
    return StuckReport(
        stuck=[item(*each) for each in first],
        total=known if not any(isinstance(answer, Reason) for answer in answers) else None,
        truncated=known > len(first),
        causes={cause: causes[cause] for cause in Cause if cause in causes},
        workers=_workers_now(workers, dead),
        sources=told,
        timestamp=timestamp(now),
    )


def _unheard(
    dead: Sequence[Worker], sources: Sequence[Source], answers: Sequence[Findings | Reason | None]
) -> Iterator[Worker]:
    """Yield those whose engine has no source, or one that could not say: whether their work stands, nobody knows."""
    heard: dict[str, bool] = {}
    for source, answer in zip(sources, answers, strict=True):
        engine = getattr(source, "engine", None)
        if engine is not None:
            heard[engine] = heard.get(engine, True) and isinstance(answer, Findings)
    yield from (worker for worker in dead if not heard.get(worker.beat.engine, False))


def _workers_now(workers: Workers | None, dead: Sequence[Worker]) -> WorkersNow:
    if workers is None:
        return WorkersNow()
    states = Counter(each.state for each in workers.all)
    with_work_first = sorted(dead, key=lambda each: (not each.beat.running_count, -each.at))
    return WorkersNow(
        alive=states[WorkerState.ALIVE],
        stalled=states[WorkerState.STALLED],
        dead=states[WorkerState.DEAD],
        dead_workers=[dead_worker(each) for each in with_work_first[:MOST_STUCK]],
    )
