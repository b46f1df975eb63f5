"""The PostgreSQL of large histories: filled as fast as it can be, then measured with its default settings."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import tasker_history
from bench.postgresql import TESTS

if str(TESTS) not in sys.path:
    sys.path.append(str(TESTS))

from servers import PostgresServer

_LOADING = {
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
    "shared_buffers": "1GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
}


class BulkServer(PostgresServer):
    """A server that is loading until it is told to settle."""

    _loading = True

    def settle(self) -> None:
        """Start again with the settings that are measured: PostgreSQL's defaults, and no wait for the disk."""
        self.execute("CHECKPOINT")
        self.stop()
        self._loading = False
        self.start()

    def program(self, name: str) -> str:
        """Return the path of another program of this PostgreSQL."""
        return str(Path(super()._command()[0]).with_name(name))

    def _command(self) -> list[str]:
        more = _LOADING if self._loading else {}
        return super()._command() + [word for name, value in more.items() for word in ("-c", f"{name}={value}")]


@contextmanager
def tasker(tasks: int) -> Iterator[tuple[BulkServer, str, float]]:
    """Run a server with a history of so many *tasks*: it, the URL of the database, and the seconds of the load."""
    server = BulkServer()
    try:
        url = server.new_database()
        seconds = tasker_history.load(url, tasks)
        server.settle()
        yield server, url, seconds
    finally:
        server.end()
