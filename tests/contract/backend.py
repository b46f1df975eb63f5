"""What the suite of sources needs of an engine; a second engine takes its place by one more subclass."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import sqlalchemy as sa
from hypothesis.strategies import SearchStrategy

from tasker_health.model import Facts
from tasker_health.sources import Source

Rows = dict[str, list[dict[str, Any]]]
"""Raw rows by table. In a generated history, times are milliseconds from the moment at which it is written."""

WINDOW_SECONDS = 3600
STUCK_AFTER_SECONDS = 900


SITUATIONS = (
    *("zero_rows", "no_steps", "retries", "backoff", "cancellation", "recovery", "crash", "claims", "orphaned_work"),
    *("unknown_states", "unknown_times", "clock_set_back"),
)
"""What every backend must be able to generate histories of."""


class Backend(ABC):
    """An engine's real tables in a real database, written to as the engine would.

    Attributes:
        histories: Strategy of whatever an engine may have left in its tables.
        situations: Strategy of histories in each of `SITUATIONS`.
        lively: A history in which no figure is zero.
        known_versions: Schema versions that the source must read; the first is this backend's own.
    """

    histories: ClassVar[SearchStrategy[Rows]]
    situations: ClassVar[dict[str, SearchStrategy[Rows]]]
    lively: ClassVar[Rows]
    known_versions: ClassVar[tuple[int, ...]]
    tables: ClassVar[tuple[str, ...]]
    engine: sa.Engine

    @abstractmethod
    def source(self, *, schema_missing: bool = False, **options: Any) -> Source:
        """Return a new source over these tables, or over a database that has none."""

    @abstractmethod
    def restricted_source(self, time_zone: str) -> AbstractContextManager[Source]:
        """Give a source with the fewest rights that the documentation promises to suffice, in *time_zone*."""

    @abstractmethod
    def recount(self, raw: Rows, now_ms: int, *, attempts_recorded: bool = True) -> Facts:
        """Return what the definitions say of *raw*, counted in Python; connections are left out."""

    @abstractmethod
    def now_ms(self) -> int:
        """Return the time by the database's clock."""

    @abstractmethod
    def write(self, history: Rows, now_ms: int) -> None:
        """Add *history* as it would be at *now_ms*, and commit."""

    @abstractmethod
    def clear(self) -> None:
        """Remove every task, and set the schema's version to what it is."""

    @abstractmethod
    def raw(self) -> Rows:
        """Return every row as it is."""

    @abstractmethod
    def set_versions(self, versions: Iterable[int]) -> None:
        """Let the tables say that they are of *versions*."""

    @abstractmethod
    def hidden(self, table: str) -> AbstractContextManager[None]:
        """Let *table* be missing for a while."""

    @abstractmethod
    def lockable(self) -> Backend:
        """Return these tables where `locked` works: itself, or a copy."""

    @abstractmethod
    def locked(self) -> AbstractContextManager[None]:
        """Keep every reader out for a while."""

    @abstractmethod
    def a_write(self) -> str:
        """Return a statement that would change a table."""
