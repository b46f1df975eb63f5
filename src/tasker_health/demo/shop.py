"""The shop at work: one process of it, on a thread of its own, so that the health server never waits for it."""

from __future__ import annotations

import heapq
import logging
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator

from dbos import DBOS, DBOSConfig

from tasker_health.demo.ledger import CANCELLED, Ledger
from tasker_health.demo.orders import Placing, placings
from tasker_health.demo.place import Place
from tasker_health.demo.slots import Slots, take_lowest
from tasker_health.demo.workflow import order_workflow, quieten_dbos
from tasker_health.redaction import redacted

log = logging.getLogger(__name__)

QUEUE = "orders"

_AT_WORK = 3
"""Orders that one process works on at a time; the others are queued."""

_MOST_WAITING = 6
"""With so many orders queued no new one is placed: the demo may run for days."""

_TICK_SECONDS = 0.1
_SWEEP_SECONDS = 3.0
_RETRY_SECONDS = 2.0

_VERSION = "1"
"""DBOS resumes work only under the version that began it; the demo's stays, so that work outlives an upgrade."""


class Shop:
    """One process of the shop.

    Args:
        place: Where its work is kept.
        rate: Orders that this process places a second, at most; 0: none.
        seed: Draws the same orders each time; `None`: others.
        backoff_seconds: Wait after the first failed attempt of a step.
        opened: Called, in the shop's thread, once DBOS is launched.
    """

    def __init__(
        self, place: Place, *, rate: float, seed: int | None, backoff_seconds: float, opened: Callable[[], None]
    ) -> None:
        self._place = place
        self._period = 1 / rate if rate else None
        self._placings: Iterator[Placing] = placings(seed, backoff_seconds)
        self._opened = opened
        self._slots: Slots = place.slots()
        self._slot = 0
        self._ledger = Ledger(place.engine())
        self._workflow = order_workflow(self._ledger)
        self._to_cancel: list[tuple[float, str]] = []
        self._place_at = self._sweep_at = time.monotonic()
        self._said = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shop", daemon=True)

    @property
    def name(self) -> str:
        """Name of this process among those of the shop, its DBOS executor id; empty before it has one."""
        return f"shop-{self._slot}" if self._slot else ""

    def start(self) -> None:
        """Open the shop, as soon as its database lets it."""
        self._thread.start()

    def close(self, seconds: float) -> bool:
        """Stop working; return whether that was done within *seconds*. What is under way resumes at the next start."""
        ends_at = time.monotonic() + seconds
        self._stop.set()
        logging.getLogger("dbos").setLevel(logging.CRITICAL + 1)  # it reports what is interrupted now as errors
        # And what its queue was about to begin it drops, unawaited.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
        self._thread.join(max(0, ends_at - time.monotonic()))
        if self._thread.is_alive():
            return False
        leaving = threading.Thread(target=self._leave, name="shop-leaving", daemon=True)
        leaving.start()
        leaving.join(max(0, ends_at - time.monotonic()))
        return not leaving.is_alive()

    def _run(self) -> None:
        quieten_dbos()
        while not self._stop.is_set() and not self._done(self._open, "cannot open yet"):
            DBOS.destroy()
            self._stop.wait(_RETRY_SECONDS)
        if self._stop.is_set():
            return
        self._opened()
        while not self._stop.wait(_TICK_SECONDS):
            if not self._done(self._tick, "is held up"):
                self._stop.wait(_RETRY_SECONDS)

    def _done(self, work: Callable[[], None], complaint: str) -> bool:
        """Return whether *work* could be done. A database that is away comes back; it is said once that it is away."""
        try:
            work()
        except Exception as error:  # noqa: BLE001 -- each driver has its own
            said = f"the shop {complaint}: {_said(error)}"
            if said != self._said:
                log.warning("%s", said)
            self._said = said
            return False
        self._said = ""
        return True

    def _tick(self) -> None:
        now = time.monotonic()
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_SECONDS
            self._sweep()
        if self._period is not None and now >= self._place_at:
            self._place_at = max(self._place_at + self._period, now)
            self._place_order()
        self._cancel_orders(now)

    def _open(self) -> None:
        """Take a name, launch DBOS under it, which resumes what that name left, and listen to the queue."""
        if not self._slot:
            self._slot = take_lowest(self._slots)
        self._ledger.create()
        config: DBOSConfig = {
            "name": "tasker-health-shop",
            "system_database_url": self._place.url,
            "executor_id": self.name,
            "application_version": _VERSION,
            "sys_db_pool_size": 10,
            "log_level": "ERROR",
        }
        DBOS(config=config)
        DBOS.launch()
        DBOS.register_queue(QUEUE, worker_concurrency=_AT_WORK, polling_interval_sec=0.25, on_conflict="always_update")

    def _place_order(self) -> None:
        """Place one order, unless enough are waiting. It is one row of DBOS: after a crash it is there or it is not."""
        waiting = DBOS.list_workflows(status="ENQUEUED", limit=_MOST_WAITING, load_input=False, load_output=False)
        if len(waiting) >= _MOST_WAITING:
            return
        placing = next(self._placings)
        handle = DBOS.enqueue_workflow(QUEUE, self._workflow, placing["order"])
        after = placing["cancelled_after_seconds"]
        if after is not None:
            heapq.heappush(self._to_cancel, (time.monotonic() + after, handle.get_workflow_id()))

    def _cancel_orders(self, now: float) -> None:
        """Cancel the orders whose customers want it by *now*, unless they have been shipped."""
        while self._to_cancel and self._to_cancel[0][0] <= now:
            _, order_id = heapq.heappop(self._to_cancel)
            if self._ledger.settle(order_id, CANCELLED) == CANCELLED:
                DBOS.cancel_workflow(order_id)

    def _sweep(self) -> None:
        """Resume the work of processes that are dead: nobody holds their slots, and they may never come back."""
        if not self._slots.keep(self._slot):
            log.warning("%s: another process bears this name; end one of the two", self.name)
        running = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
        for executor in {str(workflow.executor_id) for workflow in running} - {self.name}:
            named = re.fullmatch(r"shop-([1-9]\d{0,2})", executor)
            if named is None or not self._slots.take(slot := int(named[1])):
                continue
            try:
                # DBOS has no public call for it; this one is safe against everything that happens meanwhile.
                DBOS._recover_pending_workflows([executor])  # noqa: SLF001
            finally:
                self._slots.give_back(slot)

    def _leave(self) -> None:
        DBOS.destroy()
        self._ledger.close()
        self._slots.close()


def _said(error: Exception) -> str:
    """Return what *error* says, in one line and without a password."""
    return redacted(str(getattr(error, "orig", None) or error)).strip().partition("\n")[0]
