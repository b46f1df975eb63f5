"""What to do about a task that stands still: for its cause, and by the means of its engine where they are known.

The sources of the commands are the engines' own documentation and help texts; none of them is run here.
"""

from __future__ import annotations

from tasker_health.meaning import what_to_do_about
from tasker_health.work import Cause

_OF_ENGINE = {
    ("dbos", Cause.WORKER_DEAD): (
        "Start a worker with the same executor id, which recovers it, or resume it elsewhere:"
        " DBOS.resume_workflow(id), or `dbos workflow resume <id>`."
    ),
    ("dbos", Cause.NO_WORKER_OF_VERSION): (
        "Start a worker of that application version, or go on with the new code: DBOS.fork_workflow(id, step)."
    ),
    ("dbos", Cause.RETRIES_EXHAUSTED): (
        "Mend what made each recovery fail, then `dbos workflow resume <id>`; or `dbos workflow cancel <id>`."
    ),
    ("procrastinate", Cause.WORKER_DEAD): (
        "Put it back in its queue: `procrastinate shell`, then `retry <id>`; or run a periodic task that asks"
        " job_manager.get_stalled_jobs() and retries each."
    ),
    ("procrastinate", Cause.LOCKED): (
        "See which earlier job holds its lock; let that end, or cancel it: `procrastinate shell`, then `cancel <id>`."
    ),
    ("celery", Cause.WORKER_DEAD): (
        "With acks_late and reject_on_worker_lost the broker delivers it again, Redis after visibility_timeout; else"
        " send it anew."
    ),
    ("celery", Cause.NO_WORKER): "Start a worker for its queue: `celery worker -Q <queue>`.",
    ("rq", Cause.WORKER_DEAD): (
        "A living worker of its queue moves it to the failed registry at its next clean-up; then"
        " `rq requeue --queue <queue> <id>`."
    ),
    ("rq", Cause.NO_WORKER): "Start a worker for its queue: `rq worker <queue>`.",
    ("dramatiq", Cause.WORKER_DEAD): (
        "The broker delivers it again to a living worker: RabbitMQ at once, Redis after its heartbeat_timeout."
    ),
    ("temporal", Cause.NO_WORKER): "Start a worker that polls its task queue with the workflow registered.",
    ("prefect", Cause.PAUSED): "Resume it: `prefect flow-run` and its page in the interface show what it waits for.",
}


def what_to_do(cause: Cause, engine: str | None) -> str:
    """Return in one sentence what to do about a task of *engine* that stands still for *cause*."""
    return _OF_ENGINE.get((engine or "", cause)) or what_to_do_about(cause)
