"""From a look, what is alive in it and what has ended to the figures of the contract."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from tasker_health.model import Durations, Facts
from tasker_health.sources.rq.alive import Alive
from tasker_health.sources.rq.ended import EndedJobs
from tasker_health.sources.rq.look import Look, Waiting, score_of, seconds_of
from tasker_health.sources.rq.scripts import MOST_JOBS
from tasker_health.sources.window import Ended
from tasker_health.work import QueueFlow


def facts_of(look: Look, alive: Alive, ended: EndedJobs, window_seconds: float) -> Facts:
    """Return the facts of one look."""
    now = look.now
    states = _states(look, alive)
    seen = ended.window(now)
    total = Ended(*map(sum, zip(*seen.values(), strict=True))) if seen else Ended()
    is_known = ended.is_known(now, window_seconds)
    again = _again(look, alive)
    flows = _flows(look, seen, _arrived(look, alive, ended, window_seconds), is_known=is_known)
    return Facts(
        pending=sum(states[name] for name in ("queued", "taken", "deferred", "scheduled", "ready", "rate_limited")),
        running=states["started"],
        completed=states["finished"],
        failed=states["failed"],
        cancelled=states["canceled"],
        other=0,
        blocked=alive.blocked(),
        stuck=alive.stuck(),
        retry_queue=None if again is None else len(again),
        in_backoff=None if again is None else sum(bool(each.score) and score_of(each.score) > now for each in again),
        task_time=Durations(total.timed_tasks, total.task_ms),
        step_time=Durations(total.timed_steps, total.step_ms),
        window_completed=total.completed if is_known else None,
        window_failed=total.failed if is_known else None,
        retries_settled=None,
        retries_succeeded=None,
        tasks_by_state={name: number for name, number in sorted(states.items()) if number},
        oldest_pending_seconds=_oldest_pending(look, alive),
        causes=alive.causes,
        flow=_all(list(flows.values())),
        queues=flows,
        outcomes=ended.outcomes(now),
    )


def _states(look: Look, alive: Alive) -> Counter[str]:
    """Return how many jobs are in each of RQ's states; a job that is repeated is where it is now."""
    states: Counter[str] = Counter()
    for queue in look.queues:
        states["queued"] += queue.queued
        states["deferred"] += queue.deferred
        states["scheduled"] += queue.scheduled
        states["ready"] += queue.ready
        states["finished"] += max(0, queue.finished - alive.repeated[queue.name])
        states["failed"] += queue.failed
        states["canceled"] += queue.canceled
        if queue.started > MOST_JOBS:
            states["started"] += queue.started
    states["started"] += len(alive.running)
    states["taken"] = len(look.taken)
    states["rate_limited"] = look.limited
    return states


def _again(look: Look, alive: Alive) -> list[Waiting] | None:
    """Return those that have failed and wait to be tried again; `None`: too many wait to look at each."""
    if not alive.is_complete or not alive.scheduled_complete:
        return None
    return [each for each in (*look.queued, *look.taken, *look.scheduled) if _has_failed(each)]


def _has_failed(each: Waiting) -> bool:
    """Return whether the job was tried before: it has begun, and was not begun anew by hand or to be repeated."""
    job = each.job
    return not job.repeats_left and bool(job.number_of_retries or (job.started_at and job.ended_at))


def _oldest_pending(look: Look, alive: Alive) -> int | None:
    """Return how long the oldest has been pending; `None`: none is, or it cannot be known."""
    if not (alive.is_complete and alive.scheduled_complete and alive.waiters_complete):
        return None
    jobs = (each.job for some in (look.queued, look.taken, look.scheduled, look.deferred) for each in some)
    created = [at for job in jobs if (at := seconds_of(job.created_at)) is not None]
    return max(0, int(look.now - min(created))) if created else None


def _arrived(look: Look, alive: Alive, ended: EndedJobs, window_seconds: float) -> Counter[str] | None:
    """Return how many jobs were created within the window, by queue; `None`: cannot be known."""
    created = ended.created(look.now)
    is_complete = alive.is_complete and alive.scheduled_complete and alive.waiters_complete and alive.runners_complete
    if created is None or not is_complete or look.limited or len(look.canceled) > MOST_JOBS:
        return None
    queues = dict(created)
    since = look.now - window_seconds
    for some in (look.queued, look.taken, look.scheduled, look.deferred, look.canceled, look.started):
        for each in some:
            at = seconds_of(each.job.created_at)
            if at is not None and at >= since:
                queues[each.id] = each.queue
    return Counter(queues.values())


def _flows(
    look: Look, seen: Mapping[str, Ended], arrived: Counter[str] | None, *, is_known: bool
) -> dict[str, QueueFlow]:
    """Return how work flows through each queue."""
    cancelled = Counter(each.queue for each in look.canceled)
    oldest: dict[str, float] = {}
    for each in look.queued:
        at = seconds_of(each.job.enqueued_at)
        if at is not None and not look.is_suspended:
            oldest[each.queue] = min(at, oldest.get(each.queue, at))
    flows = {}
    for queue in look.queues:
        name, found = queue.name, seen.get(queue.name, Ended())
        ended = found.completed + found.failed + cancelled[name]
        flows[name] = QueueFlow(
            arrived=None if arrived is None else arrived[name],
            ended=ended if is_known and cancelled[name] <= MOST_JOBS else None,
            ready=0 if look.is_suspended else queue.queued,
            oldest_ready_seconds=max(0, int(look.now - oldest[name])) if name in oldest else None,
        )
    return flows


def _all(flows: list[QueueFlow]) -> QueueFlow:
    arrived, ended = [each.arrived for each in flows], [each.ended for each in flows]
    ages = [each.oldest_ready_seconds for each in flows if each.oldest_ready_seconds is not None]
    return QueueFlow(
        arrived=None if None in arrived else sum(filter(None, arrived)),
        ended=None if None in ended else sum(filter(None, ended)),
        ready=sum(each.ready or 0 for each in flows),
        oldest_ready_seconds=max(ages, default=None),
    )
