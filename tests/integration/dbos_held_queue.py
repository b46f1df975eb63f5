"""A worker of DBOS that fills a queue of two places with work that never ends, beats, and waits to be killed.

`python dbos_held_queue.py DBOS_URL LEDGER_URL EXECUTOR`: it says `ready` when both places are taken.
"""

from __future__ import annotations

import sys
import threading

from dbos import DBOS, DBOSConfig, SetWorkflowID

from tasker_health import Health
from tasker_health.settings import Settings

QUEUE = "held"
PERIOD_SECONDS = 0.5
both = threading.Barrier(3)


@DBOS.workflow()
def hold() -> None:
    """Take a place for ever."""
    both.wait()
    threading.Event().wait()


def main(url: str, ledger: str, executor: str) -> None:
    """Run."""
    config: DBOSConfig = {
        "name": "held",
        "system_database_url": url,
        "executor_id": executor,
        "application_version": "v1",
        "run_admin_server": False,
    }
    DBOS(config=config)
    DBOS.launch()
    DBOS.register_queue(QUEUE, concurrency=2)
    settings = Settings(
        workers={"url": ledger, "heartbeat_seconds": PERIOD_SECONDS}, guard={"enabled": False}, database={}
    )
    health = Health(settings)
    health.worker(DBOS, queues=[QUEUE])
    for name in ("one", "two"):
        with SetWorkflowID(name):
            DBOS.enqueue_workflow(QUEUE, hold)
    both.wait()
    with SetWorkflowID("behind"):
        DBOS.enqueue_workflow(QUEUE, hold)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    threading.Event().wait()


main(*sys.argv[1:])
