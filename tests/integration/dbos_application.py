"""An application on DBOS that brings workflows into every state, says `ready`, and waits to be killed.

`python dbos_application.py URL` begins; `python dbos_application.py URL again` recovers what the first one left, and
this time lets the hanging step end.
"""

from __future__ import annotations

import sys
import threading
import time

from dbos import DBOS, DBOSConfig, SetEnqueueOptions, SetWorkflowID

HOUR_SECONDS = 3600
AGAIN = sys.argv[2:] == ["again"]

QUEUE = "orders"


class RefusedError(Exception):
    """The card was refused."""


@DBOS.step()
def reserve() -> str:
    """Succeed."""
    return "reserved"


@DBOS.step()
def charge(*, refused: bool) -> str:
    """Succeed or fail, as asked: one attempt is one step."""
    if refused:
        raise RefusedError
    return "charged"


@DBOS.step(retries_allowed=True, interval_seconds=0.01, max_attempts=3)
def flaky(tries: list[int]) -> str:
    """Fail once, within DBOS' own retries, of which no trace is left."""
    tries.append(1)
    if len(tries) == 1:
        raise RefusedError
    return "done"


@DBOS.step()
def hang() -> str:
    """Hold the worker, unless it is the second one."""
    if not AGAIN:
        threading.Event().wait()
    return "late"


@DBOS.workflow()
def order(failures: int, attempts: int) -> str:
    """Charge with durable retries."""
    reserve()
    for attempt in range(attempts - 1):
        try:
            return charge(refused=attempt < failures)
        except RefusedError:
            DBOS.sleep(0.01)
    return charge(refused=failures >= attempts)


@DBOS.workflow()
def builtin_retries() -> str:
    """Retry as DBOS does by itself."""
    return flaky([])


@DBOS.workflow()
def parent() -> str:
    """Wait for a child."""
    return DBOS.start_workflow(order, 0, 1).get_result()


@DBOS.workflow()
def nap() -> None:
    """Sleep durably for long: alive and well."""
    reserve()
    DBOS.sleep(HOUR_SECONDS)


@DBOS.workflow()
def back_off() -> None:
    """Wait for long until the next attempt."""
    try:
        charge(refused=True)
    except RefusedError:
        DBOS.sleep(HOUR_SECONDS)
    charge(refused=False)


@DBOS.workflow()
def hanging() -> str:
    """Do not come to an end while the first worker lives."""
    reserve()
    return hang()


def begin() -> None:
    """Bring workflows into every state, and wait until they are in it."""
    ended = [DBOS.start_workflow(order, 0, 1), DBOS.start_workflow(order, 2, 4), DBOS.start_workflow(parent)]
    ended += [DBOS.start_workflow(builtin_retries), DBOS.start_workflow(order, 3, 3)]
    for handle in ended[:-1]:
        handle.get_result()
    try:
        ended[-1].get_result()
    except RefusedError:
        pass
    else:
        raise SystemExit("an order that is refused three times has succeeded")
    waiting = [("cancelled", nap), ("nap", nap), ("back-off", back_off), ("hanging", hanging)]
    for name, workflow in waiting:
        with SetWorkflowID(name):
            DBOS.start_workflow(workflow)
    with SetWorkflowID("queued-nap"):
        DBOS.enqueue_workflow(QUEUE, nap)
    await_steps({"cancelled": 2, "nap": 2, "back-off": 2, "hanging": 1, "queued-nap": 2})
    DBOS.cancel_workflow("cancelled")
    DBOS.enqueue_workflow(QUEUE, order, 0, 1)
    DBOS.enqueue_workflow(QUEUE, order, 0, 1)
    with SetEnqueueOptions(delay_seconds=HOUR_SECONDS):
        DBOS.enqueue_workflow(QUEUE, order, 0, 1)


def await_steps(wanted: dict[str, int]) -> None:
    """Return when each of the *wanted* workflows has recorded so many steps."""
    ends_at = time.monotonic() + 60
    while any(len(DBOS.list_workflow_steps(name)) < steps for name, steps in wanted.items()):
        if time.monotonic() > ends_at:
            raise SystemExit(f"not in their states: {wanted}")
        time.sleep(0.02)


if __name__ == "__main__":
    config: DBOSConfig = {"name": "shop", "system_database_url": sys.argv[1], "application_version": "1"}
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(QUEUE, global_concurrency=1, polling_interval_sec=0.1)
    if AGAIN:
        DBOS.retrieve_workflow("hanging").get_result()
    else:
        begin()
    print("ready", flush=True)  # noqa: T201 -- this is how the test knows
    threading.Event().wait()
