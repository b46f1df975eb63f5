"""What the command writes to standard error: one line a record, as text or as JSON."""

from __future__ import annotations

import json
import logging
import sys
import time

from tasker_health.settings import LogSettings


class TextFormatter(logging.Formatter):
    """Time in UTC, level, logger, message; a traceback follows on lines of its own."""

    converter = staticmethod(time.gmtime)

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")


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
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def set_up_logging(settings: LogSettings) -> None:
    """Write the records of this process to standard error as *settings* say."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if settings.format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    # Drivers narrate each statement at these levels; what matters of it reaches our own log.
    for name in ("asyncio", "aiosqlite", "psycopg", "sqlalchemy", "uvicorn.error"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
