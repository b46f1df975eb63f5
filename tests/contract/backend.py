"""What the suite of sources needs of an engine; a second engine takes its place by one more subclass."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import msgspec
import pytest
import sqlalchemy as sa
from hypothesis.strategies import SearchStrategy

from tasker_health.model import Facts
from tasker_health.sources import Source

Rows = dict[str, list[dict[str, Any]]]
"""Raw rows by table. In a generated history, times are relative to the moment at which it is written."""

WINDOW_SECONDS = 3600
STUCK_AFTER_SECONDS = 900


class Backend(ABC):
    """An engine's real tables in a real database, written to as the engine would.

    What is said here of tables, rows and statements holds for an engine in another store of its keys, queues and
    questions: such a subclass says what a statement is (`before_each_statement`) and what a write (`refused_write`).

    Attributes:
        histories: Strategy of whatever an engine may have left in its tables.
        situations: Strategies of histories in each of the situations that the engine knows: zero rows, retries, ...
        lively: A history in which no figure is zero.
        known_versions: Schema versions that the source must read; the first is this backend's own.
        tables: Names of the tables that the source cannot do without; `task_table` has a row for each task.
        nothing: What is read when there is no task; connections are left out.
        unknown: Options of a source, and which figures of a lively history it then cannot know.
        known_nowhere: Figures that the engine's data never tells, or only when asked to.
        least_statements: So many queries one reading makes at least.
        forgets_late: Whether a source that is kept shows only after a while that tasks were removed.
    """

    histories: ClassVar[SearchStrategy[Rows]]
    situations: ClassVar[dict[str, SearchStrategy[Rows]]]
    lively: ClassVar[Rows]
    known_versions: ClassVar[tuple[int, ...]]
    tables: ClassVar[tuple[str, ...]]
    task_table: ClassVar[str]
    nothing: ClassVar[Facts]
    unknown: ClassVar[tuple[dict[str, Any], tuple[str, ...]]]
    known_nowhere: ClassVar[tuple[str, ...]]
    least_statements: ClassVar[int]
    forgets_late: ClassVar[bool] = False
    engine: sa.Engine

    @abstractmethod
    def source(self, *, schema_missing: bool = False, **options: Any) -> Source:
        """Return a new source over these tables, or over a database that has none."""

    @abstractmethod
    def restricted_source(self, time_zone: str) -> AbstractContextManager[Source]:
        """Give a source with the fewest rights that the documentation promises to suffice, in *time_zone*."""

    @abstractmethod
    def recount(self, raw: Rows, now_ms: float) -> Facts:
        """Return what the definitions say of *raw*, counted in Python; connections are left out."""

    def differences(self, facts: Facts, raw: Rows, now_ms: float) -> dict[str, Any]:
        """Return the figures of *facts* that a recount of *raw* does not find, each with what was found by either."""
        found, counted = msgspec.structs.asdict(facts), msgspec.structs.asdict(self.recount(raw, now_ms))
        del found["connections"]
        return {name: (figure, counted[name]) for name, figure in found.items() if figure != counted[name]}

    @abstractmethod
    def now_ms(self) -> float:
        """Return the time by the database's clock."""

    @abstractmethod
    def write(self, history: Rows, now_ms: float) -> None:
        """Add *history* as it would be at *now_ms*, and commit."""

    def renamed(self, history: Rows, prefix: str) -> Rows:
        """Return *history* such that it can be written beside itself; *prefix* is a new one each time."""
        return history

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

    def a_write(self) -> str:
        """Return a statement that would change a table."""
        raise TypeError(f"{type(self).__name__} has no statements; it says itself what is refused")

    def tasks_in(self, raw: Rows) -> int:
        """Return how many tasks *raw* has."""
        return len(raw[self.task_table])

    @contextlib.contextmanager
    def before_each_statement(self, act: Callable[[Any], None]) -> Iterator[None]:
        """Call *act* with the connection before each query of whoever reads meanwhile, but not of its own."""
        acting = False

        def hook(connection: sa.Connection, _cursor: Any, statement: str, *_: Any) -> None:
            nonlocal acting
            if acting or not statement.lstrip().startswith(("SELECT", "WITH")):
                return
            acting = True
            act(connection)
            acting = False

        sa.event.listen(sa.Engine, "before_cursor_execute", hook)
        try:
            yield
        finally:
            sa.event.remove(sa.Engine, "before_cursor_execute", hook)

    def refused_write(self, connection: Any) -> str:
        """Try a write over the *connection* of whoever reads; return with what words the server refused it."""
        attempt = connection.begin_nested()
        with pytest.raises(sa.exc.DBAPIError) as caught:
            connection.exec_driver_sql(self.a_write())
        attempt.rollback()
        return str(caught.value.orig)
