"""The check of a Kafka: does a broker know its cluster, and has each partition of a topic a leader?"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Unpack

from tasker_health.checks.dependencies import LinkedDependency, Terms, client_of, tls_of
from tasker_health.checks.dependencies.place import place_of
from tasker_health.errors import CheckDegraded, CheckFailed, ConfigurationError
from tasker_health.model import Reason

if TYPE_CHECKING:
    from tasker_health.checks.dependencies.kafka_link import KafkaLink

_PORTS = {"kafka": 9092, "kafkas": 9093}
_EXAMPLE = "kafka://user:password@host:9092,host:9092, or kafkas:// for TLS; each part but a host optional"
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
_NO_LEADER = -1


class KafkaCheck(LinkedDependency["KafkaLink"]):
    """Asks for metadata over a connection of its own to one broker, which is kept; no group, nothing is written.

    Args:
        name: The name of the check.
        url: `kafka://` or `kafkas://` (TLS), with one broker or several: the first that answers is asked.
        topic: A topic that must be there; it is not made.
        mechanism: How a user says who it is (SASL).
        ca_file: PEM file of who signs the brokers' certificates; `None`: who the machine trusts.
        terms: See `Terms`.

    Raises:
        ConfigurationError: The URL or mechanism is not one, the file cannot be read, or aiokafka is not installed.
    """

    def __init__(
        self,
        name: str,
        url: str,
        *,
        topic: str | None = None,
        mechanism: str = MECHANISMS[0],
        ca_file: str | None = None,
        **terms: Unpack[Terms],
    ) -> None:
        self._place = place_of(name, url, _PORTS, _EXAMPLE)
        super().__init__(name, [self._place.password], **terms)
        if self._place.path:
            raise ConfigurationError(f"check {name}: url {self._place.scheme}://***: write it as {_EXAMPLE}")
        if mechanism not in MECHANISMS:
            raise ConfigurationError(f"check {name}: mechanism = {mechanism!r}: allowed are {', '.join(MECHANISMS)}")
        client_of(name, "aiokafka", "aiokafka", "kafka")
        self._topic = topic
        self._mechanism = mechanism
        self._tls = tls_of(name, ca_file) if self._place.scheme == "kafkas" else None
        self._hosts = list(self._place.hosts)

    async def _open(self) -> KafkaLink:
        """Return a link to the first broker that lets us in; who does is the first the next time."""
        fault: Exception = CheckFailed(Reason.MISSING)
        ends_at = None if self.timeout_seconds is None else time.monotonic() + self.timeout_seconds
        for left in range(len(self._hosts), 0, -1):
            host, port = self._hosts[0]
            # None takes the time of those behind it.
            share = None if ends_at is None or left == 1 else (ends_at - time.monotonic()) / left
            try:
                async with asyncio.timeout(share):
                    return await self._open_at(host, port)
            except Exception as error:  # noqa: BLE001 -- whatever it is, the next one may be well
                self._put_last((host, port))
                fault = error
            except asyncio.CancelledError:
                # The deadline: else the next run would hang at the same one.
                self._put_last((host, port))
                raise
        raise fault

    def _put_last(self, host: tuple[str, int]) -> None:
        self._hosts.remove(host)
        self._hosts.append(host)

    async def _open_at(self, host: str, port: int) -> KafkaLink:
        from tasker_health.checks.dependencies.kafka_link import opened

        await self._resolver.resolve(host)
        return await opened(host, port, self._options())

    def _options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"client_id": "tasker-health", "ssl_context": self._tls}
        protocol = "SSL" if self._tls is not None else "PLAINTEXT"
        if self._place.user is None:
            return {**options, "security_protocol": protocol}
        return {
            **options,
            "security_protocol": f"SASL_{protocol}",
            "sasl_mechanism": self._mechanism,
            "sasl_plain_username": self._place.user,
            "sasl_plain_password": self._place.password,
        }

    async def _ask(self, link: KafkaLink) -> None:
        asked = self._hosts[0]
        try:
            answer = await link.metadata([] if self._topic is None else [self._topic])
        except asyncio.CancelledError:
            self._put_last(asked)
            raise
        if not answer.brokers:
            raise CheckFailed(Reason.UNREACHABLE, "the broker knows no cluster")
        if self._topic is not None:
            self._require_topic(self._topic, answer.topics)

    def _require_topic(self, wanted: str, topics: list[Any]) -> None:
        """Pass when *topics* have the one that is *wanted*, and each partition of it a leader."""
        from aiokafka.errors import for_code

        found = next((topic for topic in topics if topic[1] == wanted), None)
        if found is None:
            raise CheckFailed(Reason.MISSING, f"no topic {wanted}")
        code, _, _, partitions = found
        if code:
            error = for_code(code)()
            raise CheckFailed(self._reason(error), f"topic {wanted}: {type(error).__name__}")
        orphans = [each[1] for each in partitions if each[2] == _NO_LEADER]
        if orphans:
            kind = CheckDegraded if len(orphans) < len(partitions) else CheckFailed
            raise kind(Reason.UNREACHABLE, f"topic {wanted}: no leader for {len(orphans)} of {len(partitions)}")

    def _reason(self, error: Exception) -> Reason:
        from aiokafka import errors as kafka

        known: tuple[tuple[Any, Reason], ...] = (
            (CheckFailed, getattr(error, "reason", Reason.ERROR)),
            (kafka.UnknownTopicOrPartitionError, Reason.MISSING),
            (kafka.LeaderNotAvailableError, Reason.UNREACHABLE),
            (kafka.InvalidTopicError | kafka.CorrelationIdError, Reason.INVALID),
            (kafka.IncompatibleBrokerVersion | kafka.UnsupportedSaslMechanismError, Reason.INVALID),
            (kafka.AuthenticationFailedError | kafka.SaslAuthenticationFailed, Reason.AUTHENTICATION_FAILED),
            (kafka.TopicAuthorizationFailedError | kafka.ClusterAuthorizationFailedError, Reason.AUTHENTICATION_FAILED),
            (kafka.KafkaTimeoutError | asyncio.TimeoutError, Reason.TIMEOUT),
        )
        found = next((reason for kind, reason in known if isinstance(error, kind)), None)
        if found is not None:
            return found
        reason = super()._reason(error)
        is_lost = reason is Reason.ERROR and isinstance(error, kafka.KafkaConnectionError | EOFError)
        return Reason.UNREACHABLE if is_lost else reason
