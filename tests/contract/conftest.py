"""What the suites of dependencies share: their servers, which take seconds to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from contract.dependency_backend import Shared


@pytest.fixture(scope="session")
def dependencies() -> Iterator[Shared]:
    """The servers of dependencies; each is made when the first test asks for it, and all are ended at the end."""
    servers = Shared()
    try:
        yield servers
    finally:
        servers.end()
