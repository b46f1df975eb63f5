"""A worker: takes orders from a queue, one after the other, and serves no HTTP of its own."""

from __future__ import annotations

import queue
import signal
import threading
import time

from tasker_health import CheckFailed, Health

SLOWEST_ORDER_SECONDS = 60


class Worker:
    """Works on the orders that are put into `orders`, until `stopping` is set."""

    def __init__(self, work=print, monotonic=time.monotonic):
        """*work* is done for each order; *monotonic* tells how long that takes."""
        self.orders = queue.Queue()
        self.stopping = threading.Event()
        self._work, self._monotonic = work, monotonic
        self._began = None

    def run(self):
        """Work until it is told to stop."""
        while not self.stopping.is_set():
            try:
                order = self.orders.get(timeout=0.1)
            except queue.Empty:
                continue
            self._began = self._monotonic()
            self._work(order)
            self._began = None

    def progress(self):
        """Fail while one order takes longer than any may."""
        began = self._began
        if began is not None and self._monotonic() - began > SLOWEST_ORDER_SECONDS:
            raise CheckFailed("stalled")


def main():
    """Work, with health beside it, until SIGTERM."""
    worker = Worker()
    signal.signal(signal.SIGTERM, lambda *_: worker.stopping.set())
    health = Health()
    health.check("progress", critical=False)(worker.progress)
    serving = health.serve_in_background()
    worker.run()
    serving.stop()


if __name__ == "__main__":
    main()
