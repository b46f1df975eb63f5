"""What HAProxy's agent-check is told: one line (HAProxy, configuration.txt, 5.2, `agent-check`).

`up` and `down` are said each time, because only `up` takes a `down` back. `drain`, `maint` and `ready` are never said:
`ready`, which alone takes a `drain` back, would also take back what an operator has set by hand. A weight of 0 % has
the same effect as `drain`, and the next weight ends it.
"""

from __future__ import annotations

from tasker_health.guard.load import FLOOR, Load
from tasker_health.guard.memory import DRAINING
from tasker_health.guard.reports import OK, Reports
from tasker_health.guard.watch import SECOND, Watch

DOWN_AFTER_NS = 3 * SECOND
"""How long an application that serves must have been unready: HAProxy believes the first `down` it is told, so that one
slow answer of a database that all share would take all servers out at once."""

_LONGEST_REASON = 128


class Agent:
    """Knows the line that is true.

    Args:
        watch: Knows who is alive.
        reports: Say whether the application is ready.
        load: Says how much of it is free.

    Attributes:
        line: With its end.
    """

    def __init__(self, watch: Watch, reports: Reports, load: Load) -> None:
        self._watch = watch
        self._reports = reports
        self._load = load
        self._unready_since = -1
        self.line: bytes = b""

    def look(self, now: int) -> None:
        """Take in what is true at *now*, by CLOCK_MONOTONIC in nanoseconds."""
        self._load.look(now)
        self.line = self._words(now) + b"\n"

    def _words(self, now: int) -> bytes:
        report = self._reports.ready()
        if report is None or report[0] == OK:
            self._unready_since = -1
            return b"up %d%%" % self._load.percent_free
        workers = self._watch.workers
        if workers and all(worker.slot.flags & DRAINING for worker in workers):
            return b"up 0%"
        if self._unready_since < 0:
            self._unready_since = now
        failed = report[1].partition(b'"failed_checks":[')[2].partition(b"]")[0].replace(b'"', b"")
        # The guard's own verdict, that nothing comes from the application, has waited long enough for it.
        if failed == b"application" or now - self._unready_since >= DOWN_AFTER_NS:
            return b"down #%b" % failed[:_LONGEST_REASON]
        return b"up %d%%" % FLOOR
