"""What the command writes to standard error: one line a record, as text or as JSON."""

from __future__ import annotations

import atexit
import contextlib
import json
import logging
import os
import queue
import threading
import time
from logging.handlers import QueueHandler

from tasker_health.exporters.trace_ids import TraceIds, ids_of
from tasker_health.settings import LogSettings

_MOST_WAITING = 10_000
_STANDARD_ERROR = 2


class TextFormatter(logging.Formatter):
    """Time in UTC, level, logger, message; a traceback follows on lines of its own."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- logging's own name
        """Return the line of *record*, with the ids of its trace at the end where it belongs to one."""
        line, ids = super().formatMessage(record), ids_of(record)
        return f"{line} trace_id={ids[0]} span_id={ids[1]}" if ids else line


class JsonFormatter(logging.Formatter):
    """The same as one JSON object a line."""

    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """Return *record* as one line."""
        line = {
            "timestamp": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        ids = ids_of(record)
        if ids:
            line["trace_id"], line["span_id"] = ids
        if probe := getattr(record, "probe", None):
            line["probe"] = probe
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


class DescriptorHandler(logging.Handler):
    """Writes to a file descriptor, with no lock and no buffer that the interpreter would wait for at its exit."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor

    def createLock(self) -> None:  # noqa: N802 -- logging's own name
        """Have none: there is one thread that writes."""
        self.lock = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*; what cannot be written is lost."""
        line = f"{self.format(record)}\n".encode(errors="replace")
        with contextlib.suppress(OSError):
            while line:
                line = line[os.write(self._descriptor, line) :]


class DroppingHandler(QueueHandler):
    """Hands records to a thread that writes them, and drops them while that cannot keep up.

    A log that nobody reads (a full pipe) must not hold up a probe.
    """

    def __init__(self) -> None:
        self.records: queue.Queue[logging.LogRecord] = queue.Queue(_MOST_WAITING)
        super().__init__(self.records)
        self.addFilter(TraceIds())  # which looks here and now: the thread that writes knows no span
        self.dropped = 0

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Return *record* as it is: it does not leave this process."""
        return record

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put *record* into the queue, or count it as dropped."""
        try:
            self.records.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def write_to(self, target: logging.Handler) -> None:
        """Write every record to *target*, for ever."""
        while True:
            target.handle(self.records.get())
            self.records.task_done()
            dropped, self.dropped = self.dropped, 0
            if dropped:
                words = "%d records were dropped: nobody read the log in time"
                target.handle(logging.LogRecord(__name__, logging.WARNING, "", 0, words, (dropped,), None))

    def flush_briefly(self) -> None:
        """Wait until everything is written, but not longer than a second."""
        ends_at = time.monotonic() + 1
        while self.records.unfinished_tasks and time.monotonic() < ends_at:
            time.sleep(0.005)


def set_up_logging(settings: LogSettings) -> None:
    """Write the records of this process to standard error as *settings* say, from a thread of their own."""
    target = DescriptorHandler(_STANDARD_ERROR)
    target.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    handler = DroppingHandler()
    threading.Thread(target=handler.write_to, args=(target,), name="tasker-health-log", daemon=True).start()
    atexit.register(handler.flush_briefly)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    # Drivers narrate each statement at these levels; what matters of it reaches our own log.
    for name in ("alembic", "asyncio", "aiosqlite", "psycopg", "sqlalchemy"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    # It warns of every malformed request: anybody could fill the log.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
