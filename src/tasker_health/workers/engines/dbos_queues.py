"""How much work DBOS has that the executor of this process could take now, by the tables that it takes it from."""

from __future__ import annotations

import os
from typing import Any

_MOST_WAITING = 1000
_CONNECT_SECONDS, _STATEMENT_MS, _UNANSWERED_MS = 3, 2000, 5000
_LONGEST_POLLING_SECONDS = 60.0
"""A queue that is looked at less often than that may leave work for longer than a stall takes: it is not counted."""

_LIMITED = ("rate_limit_max", "partition_concurrency", "partition_worker_concurrency", "partition_rate_limit_max")


class DbosQueues:
    """The queues of the one instance of DBOS in this process; all may be asked before there is one."""

    def __init__(self) -> None:
        self._engine: Any = None
        self._made_for: object = None

    def is_launched(self) -> bool:
        """Return whether there is an instance that takes work."""
        instance = _instance()
        return instance is not None and bool(instance._launched)  # noqa: SLF001 -- nothing public tells

    def listened(self) -> tuple[str, ...]:
        """Return the queues that it takes work from; none: from all."""
        instance = _instance()
        if instance is None or instance._listening_queues is None:  # noqa: SLF001 -- as above
            return ()
        own = (each.name for each in instance._registry.internal_queues())  # noqa: SLF001 -- as above
        return tuple(dict.fromkeys((*instance._listening_queues, *own)))  # noqa: SLF001 -- as above

    def ready(self, version: str) -> int | None:
        """Return how many workflows an idle executor of *version* could take, `_MOST_WAITING` a queue at most.

        What is beyond a limit of concurrency could not be taken. A queue with a limit of rate or with partitions is
        not counted, nor one that is looked at seldom. Blocks; `None`: cannot be known.

        Raises:
            Exception: Whatever the driver raises, or DBOS, where its parts are not those of 3.4.
        """
        instance = _instance()
        store = None if instance is None else instance._sys_db_field  # noqa: SLF001 -- as above
        if store is None or store.sharded:
            return None
        with self._engine_of(instance, store).connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SET statement_timeout = {_STATEMENT_MS}")
            takable = _takable(store, version, connection)
            limits = _limits(store, connection, instance._listening_queues)  # noqa: SLF001 -- as above
            return sum(_ready_of(store, connection, takable, *each) for each in limits)

    def _engine_of(self, instance: Any, store: Any) -> Any:
        """Return an engine that opens a connection of our own for each question, never one from DBOS' pool."""
        import sqlalchemy as sa

        config = instance._config  # noqa: SLF001 -- as above
        if config.get("system_database_engine") is not None:
            return store.engine  # how it connects is known to the user only
        made_for = (os.getpid(), id(store))
        if self._engine is None or self._made_for != made_for:
            own: dict[str, Any] = {"timeout": _CONNECT_SECONDS}
            if store.engine.dialect.name == "postgresql":
                own = {"connect_timeout": _CONNECT_SECONDS, "tcp_user_timeout": _UNANSWERED_MS}
            given = (config["database"]["sys_db_engine_kwargs"] or {}).get("connect_args") or {}
            self._engine = sa.create_engine(store.engine.url, poolclass=sa.NullPool, connect_args={**given, **own})
            self._made_for = made_for
        return self._engine


def _instance() -> Any:
    from dbos import _dbos

    return _dbos._dbos_global_instance  # noqa: SLF001 -- DBOS is one a process, and hands it to nobody


def _limits(store: Any, connection: Any, listened: list[str] | None) -> list[tuple[str, int | None, int | None]]:
    """Return name, concurrency and concurrency of a worker of each queue that is listened to and counted."""
    import sqlalchemy as sa
    from dbos import _utils

    table = store.tables.queues
    owned = sa.or_(table.c.application_name == store.app_name, table.c.application_name.is_(None))
    queues = connection.execute(sa.select(table).where(owned)).mappings().all()
    return [
        (_utils.INTERNAL_QUEUE_NAME, None, None),
        *(
            (each["name"], each["concurrency"], each["worker_concurrency"])
            for each in queues
            if (listened is None or each["name"] in listened)
            and all(each[name] is None for name in _LIMITED)
            and each["polling_interval_sec"] <= _LONGEST_POLLING_SECONDS
        ),
    ]


def _takable(store: Any, version: str, connection: Any) -> Any:
    """Return what must hold of a workflow, beside its queue, so that DBOS gives it to an executor of *version*.

    As its `start_queued_workflows` has it: one without a version is for the latest.
    """
    import sqlalchemy as sa

    columns = store.tables.workflow_status.c
    fits = columns.application_version == version
    if store._is_latest_version(version, connection):  # noqa: SLF001 -- the rule is DBOS' own
        fits = sa.or_(fits, columns.application_version.is_(None))
    owned = sa.or_(columns.application_name == store.app_name, columns.application_name.is_(None))
    return sa.and_(fits, owned, columns.status == sa.literal_column("'ENQUEUED'"))


def _ready_of(
    store: Any, connection: Any, takable: Any, queue: str, concurrency: int | None, of_worker: int | None
) -> int:
    import sqlalchemy as sa

    room = _MOST_WAITING if of_worker is None else min(_MOST_WAITING, of_worker)
    if concurrency is not None:
        taken = sa.select(sa.func.count()).where(store._queue_pending_filter(queue))  # noqa: SLF001 -- as above
        room = min(room, concurrency - int(connection.execute(taken).scalar_one()))
    if room <= 0:
        return 0
    columns = store.tables.workflow_status.c
    # The partial index of what is alive is used by SQLite only where its own condition stands there.
    alive = columns.status.in_([sa.literal_column("'ENQUEUED'"), sa.literal_column("'PENDING'")])
    some = sa.select(columns.workflow_uuid).where(columns.queue_name == queue, takable, alive).limit(room).subquery()
    return int(connection.execute(sa.select(sa.func.count()).select_from(some)).scalar_one())
