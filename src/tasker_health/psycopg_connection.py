"""A connection of psycopg that keeps what it has prepared over a rollback, and prepares nothing behind a pooler.

psycopg forgets its prepared statements at each rollback, because of what may have been created in the transaction.
Ours create nothing, and all of them are rolled back: nothing would ever be prepared.

A pooler that gives each transaction another connection to the server lets the name of a prepared statement mean what
somebody else has prepared, or nothing. Such a pooler is known by the process that it says is the server's: it is not.
"""

from __future__ import annotations

from typing import Any, Self

import psycopg
from psycopg import errors, generators, waiting
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

_IN_TRANSACTION = {TransactionStatus.INTRANS, TransactionStatus.INERROR}
_INTERVAL_SECONDS = 0.1


class Connection(psycopg.AsyncConnection[Any]):
    """A connection of psycopg for questions that create nothing."""

    @classmethod
    async def connect(cls, conninfo: str = "", **options: Any) -> Self:
        """Return a new connection; behind a pooler it prepares nothing."""
        connection = await super().connect(conninfo, **options)
        try:
            if connection.prepare_threshold is not None and await connection._is_pooled():  # noqa: SLF001 -- our own
                connection.prepare_threshold = None
        except BaseException:
            connection.pgconn.finish()
            raise
        return connection

    async def rollback(self) -> None:
        """End the transaction and undo what it did; what was prepared stays so."""
        if self.pgconn.transaction_status not in _IN_TRANSACTION:
            return await super().rollback()
        async with self.lock:
            await self._send(b"ROLLBACK")
        return None

    async def _is_pooled(self) -> bool:
        result = await self._send(b"SELECT pg_catalog.pg_backend_pid()")
        return result.get_value(0, 0) != str(self.pgconn.backend_pid).encode()

    async def _send(self, statement: bytes) -> PGresult:
        # Not by `wait`: cancelled, that would ask a server that may be dead to end the question.
        self.pgconn.send_query(statement)
        results: list[PGresult] = await waiting.wait_async(
            generators.execute(self.pgconn), self.pgconn.socket, interval=_INTERVAL_SECONDS
        )
        for result in results:
            if result.status not in {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}:
                raise errors.error_from_result(result)
        return results[-1]
