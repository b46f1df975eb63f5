"""Joins the workers of a Dramatiq 2 broker: each process that the `dramatiq` command forks is a worker of its own.

A middleware of ours is told of the beginning and the end of a worker and of each message (Dramatiq documentation,
"Middleware"). Everything of it comes in the worker's process; the process that only watches over them has no heartbeat.
"""

from __future__ import annotations

import copy
from typing import Any

from tasker_health.errors import ConfigurationError
from tasker_health.workers.attachment import Identity, Life, Work
from tasker_health.workers.record import WorkRecord

_NEEDED = ("add_middleware", "emit_before", "emit_after", "get_declared_queues")
_BROKER_SECONDS = 2.0


class DramatiqAttachment:
    """Tells when a worker of *broker* begins and ends in this process, and what its threads work on."""

    engine = "dramatiq"

    def __init__(self, broker: Any) -> None:
        self._broker = broker
        self._record = WorkRecord()
        self._worker: Any = None

    def attach(self, life: Life) -> None:
        """Have a middleware tell *life* when a worker has begun, and when it shuts down in good order."""
        from dramatiq.middleware import Middleware

        record = self._record

        def begin(worker: Any) -> None:
            self._worker = worker
            record.forget()
            life.begin()

        class Heartbeat(Middleware):
            """Tells what runs."""

            def after_worker_boot(self, _broker: Any, worker: Any) -> None:
                begin(worker)

            def after_worker_shutdown(self, _broker: Any, _worker: Any) -> None:
                life.end()

            def before_process_message(self, _broker: Any, message: Any) -> None:
                record.begin(id(message), message.message_id, message.actor_name, message.queue_name)

            def after_process_message(
                self, _broker: Any, message: Any, *, result: Any = None, exception: BaseException | None = None
            ) -> None:
                del result
                record.end(id(message), failed=exception is not None)

            def after_skip_message(self, _broker: Any, message: Any) -> None:
                record.end(id(message))

        self._broker.add_middleware(Heartbeat())

    def identity(self) -> Identity:
        """Return the queues that it takes messages from; Dramatiq has no names for workers."""
        return Identity(queues=tuple(sorted(self._queues())))

    def observe(self) -> Work:
        """Return what its threads work on."""
        return self._record.work()

    def waiting(self) -> int | None:
        """Return how many messages its queues hold, with those in its own hands unbegun; `None`: not known.

        Messages that are delayed wait in queues of their own, and cannot be taken yet.
        """
        worker = self._worker
        if worker is None:
            return None
        try:
            return int(worker.work_queue.qsize()) + _depth(self._broker, self._queues())
        except Exception:  # noqa: BLE001 -- whatever a broker's client says: it cannot be known
            return None

    def _queues(self) -> set[str]:
        """Return those that are consumed: of the broker's all, or those that the worker was told."""
        declared: set[str] = set(self._broker.get_declared_queues())
        wanted = getattr(self._worker, "consumer_whitelist", None)
        return declared & set(wanted) if wanted else declared


def attachment_of(it: Any) -> DramatiqAttachment:
    """Return what joins the broker *it*.

    Raises:
        ConfigurationError: It is not a broker of a Dramatiq that is known.
    """
    if not all(hasattr(it, name) for name in _NEEDED):
        raise ConfigurationError(
            "health.worker: this is no broker of a Dramatiq that is known; hand over that of Dramatiq 2"
        )
    return DramatiqAttachment(it)


def _depth(broker: Any, queues: set[str]) -> int:
    """Return what waits in *queues*, over a connection of its own.

    Raises:
        Exception: Of the broker's client; also where the broker is of a kind that is not known here.
    """
    if hasattr(broker, "client"):
        return _redis_depth(broker, queues)
    if hasattr(broker, "parameters"):
        return _rabbitmq_depth(broker, queues)
    raise NotImplementedError


def _redis_depth(broker: Any, queues: set[str]) -> int:
    from redis import ConnectionPool, Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    pool = broker.client.connection_pool
    options = {
        **pool.connection_kwargs,
        "socket_timeout": _BROKER_SECONDS,
        "socket_connect_timeout": _BROKER_SECONDS,
        "retry": Retry(NoBackoff(), 0),
    }
    with Redis(connection_pool=ConnectionPool(connection_class=pool.connection_class, **options)) as redis:
        with redis.pipeline(transaction=False) as asked:
            for name in queues:
                asked.llen(f"{broker.namespace}:{name}")
            lengths = asked.execute()
        redis.connection_pool.disconnect()
    return sum(map(int, lengths))


def _rabbitmq_depth(broker: Any, queues: set[str]) -> int:
    import pika

    several = broker.parameters if isinstance(broker.parameters, list) else [broker.parameters]
    connection = pika.BlockingConnection([_short(each) for each in several])
    try:
        channel = connection.channel()
        # Asked in passing: one that is not there yet would close the channel, and has nothing.
        return sum(
            int(channel.queue_declare(queue=name, passive=True).method.message_count)
            for name in queues - set(broker.queues_pending)
        )
    finally:
        connection.close()


def _short(parameters: Any) -> Any:
    """Return *parameters* with which a broker that hangs is given up soon: two heartbeats end a connection."""
    short = copy.copy(parameters)
    short.socket_timeout = short.blocked_connection_timeout = _BROKER_SECONDS
    short.stack_timeout = 2 * _BROKER_SECONDS
    short.heartbeat = int(_BROKER_SECONDS)
    short.connection_attempts, short.retry_delay = 1, 0
    return short
