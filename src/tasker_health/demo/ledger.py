"""The shop's own book: how an order ended, decided once.

A step may run twice: when its process dies between the work and DBOS' note of it. The book's primary key is what
makes the second run harmless. It also decides between a customer who cancels and a parcel that leaves at the same
moment: the first one in the book wins, and the workflow follows.
"""

from __future__ import annotations

import sqlalchemy as sa

SHIPPED = "shipped"
CANCELLED = "cancelled"

TABLE = "shop_ledger"

_CREATE = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    order_id TEXT NOT NULL PRIMARY KEY,
    outcome TEXT NOT NULL CHECK (outcome IN ('{SHIPPED}', '{CANCELLED}')),
    settled_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
)
"""
_SETTLE = f"INSERT INTO {TABLE} (order_id, outcome) VALUES (:order_id, :outcome) ON CONFLICT (order_id) DO NOTHING"  # noqa: S608 -- our own name
_OUTCOME = f"SELECT outcome FROM {TABLE} WHERE order_id = :order_id"  # noqa: S608 -- as above

_CREATING = 0x53484F50
"""Advisory lock: on PostgreSQL two processes that create one table at once get an error, in spite of IF NOT EXISTS."""


class Ledger:
    """The book of one shop, kept in the database of its work; may be used from any thread.

    Args:
        engine: A synchronous engine on that database.
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def create(self) -> None:
        """Make the book where there is none."""
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATING})
            connection.execute(sa.text(_CREATE))

    def settle(self, order_id: str, outcome: str) -> str:
        """Write down that *order_id* ended in *outcome*, unless it ended before; return the outcome that stands."""
        with self._engine.begin() as connection:
            connection.execute(sa.text(_SETTLE), {"order_id": order_id, "outcome": outcome})
            return str(connection.execute(sa.text(_OUTCOME), {"order_id": order_id}).scalar_one())

    def close(self) -> None:
        """Close the connections that are not in use."""
        self._engine.dispose()
