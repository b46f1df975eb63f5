"""The check of a RabbitMQ: does it take what is published, and is a queue there?

A broker that has run out of memory or disk lets everybody in and answers every question; it stops only those who
publish, and tells nobody else. So we publish, to nowhere: an empty message for which there is no queue is confirmed
and thrown away.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any, Unpack

from tasker_health.checks.dependencies import LinkedDependency, Terms, client_of, tls_of
from tasker_health.checks.dependencies.place import place_of
from tasker_health.errors import CheckFailed, ConfigurationError
from tasker_health.model import Reason

if TYPE_CHECKING:
    from tasker_health.checks.dependencies.rabbitmq_link import RabbitMqLink

_PORTS = {"amqp": 5672, "amqps": 5671}
_EXAMPLE = "amqp://user:password@host:5672/vhost, or amqps:// for TLS; each part but the host optional"


class RabbitMqCheck(LinkedDependency["RabbitMqLink"]):
    """Asks over a connection and a channel of its own, which are kept.

    Args:
        name: The name of the check.
        url: `amqp://` or `amqps://` (TLS); without a path the virtual host is `/`.
        queue: A queue that must be there; it is not made.
        ca_file: PEM file of who signs its certificate; `None`: who the machine trusts.
        terms: See `Terms`.

    Raises:
        ConfigurationError: The URL is not one, the file cannot be read, or aio-pika is not installed.
    """

    def __init__(
        self, name: str, url: str, *, queue: str | None = None, ca_file: str | None = None, **terms: Unpack[Terms]
    ) -> None:
        self._place = place_of(name, url, _PORTS, _EXAMPLE)
        super().__init__(name, [self._place.password], **terms)
        if len(self._place.hosts) > 1:
            raise ConfigurationError(f"check {name}: url {self._place.scheme}://***: one host; write it as {_EXAMPLE}")
        client_of(name, "aiormq", "aio-pika", "rabbitmq")
        self._queue = queue
        self._tls = tls_of(name, ca_file) if self._place.scheme == "amqps" else None
        self._nowhere = f"tasker-health-{uuid.uuid4()}"
        self._may_publish = True

    async def _open(self) -> RabbitMqLink:
        from tasker_health.checks.dependencies.rabbitmq_link import opened

        host, _ = self._place.hosts[0]
        await self._resolver.resolve(host)
        return await opened(self._place, self._tls, self.name)

    async def _ask(self, link: RabbitMqLink) -> None:
        try:
            with link.asked():
                await self._ask_all(link)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # What waits when the connection ends is told so by aiormq.
            raise CheckFailed(Reason.UNREACHABLE, "it has ended the connection") from None

    async def _ask_all(self, link: RabbitMqLink) -> None:
        await link.require_unblocked()
        if self._queue is not None:
            await link.channel.queue_declare(self._queue, passive=True)
        if not self._may_publish:
            return await (await link.connection.channel(publisher_confirms=False)).close()
        try:
            await link.channel.basic_publish(b"", routing_key=self._nowhere)
        except Exception as error:
            if self._reason(error) is not Reason.AUTHENTICATION_FAILED:
                raise
            # One who may only read is not stopped by an alarm. The refusal has closed the channel.
            self._may_publish = False
            return await link.renew_channel()
        return await link.require_unblocked()

    def _reason(self, error: Exception) -> Reason:
        from aiormq import exceptions as amqp

        known: tuple[tuple[Any, Reason], ...] = (
            (CheckFailed, getattr(error, "reason", Reason.ERROR)),
            (amqp.ChannelNotFoundEntity, Reason.MISSING),
            (amqp.ChannelAccessRefused, Reason.AUTHENTICATION_FAILED),
            (amqp.AuthenticationError | amqp.ProbableAuthenticationError, Reason.AUTHENTICATION_FAILED),
            (amqp.InvalidFrameError | amqp.ProtocolSyntaxError | amqp.IncompatibleProtocolError, Reason.INVALID),
            (amqp.ConnectionNotAllowed, Reason.TOO_MANY_CONNECTIONS),
        )
        found = next((reason for kind, reason in known if isinstance(error, kind)), None)
        if found is not None:
            return found
        reason = super()._reason(error)
        # Whatever else ends a connection or a channel: its words say how, and it is gone.
        is_lost = reason is Reason.ERROR and isinstance(
            error, amqp.AMQPConnectionError | amqp.ChannelInvalidStateError | asyncio.InvalidStateError
        )
        return Reason.UNREACHABLE if is_lost else reason
