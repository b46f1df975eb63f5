"""The exporter `datadog`: gauges, counts and service checks by DogStatsD, written by the official client.

A client lives for one push. So it finds by itself an Agent that was started again, a name that leads elsewhere, and a
socket file that was replaced, and a forked process shares nothing with its parent. None of its threads is started. It
raises nothing when a packet is lost, so each packet is looked after here.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from datadog.dogstatsd.base import UDP_OPTIMAL_PAYLOAD_LENGTH, UDS_OPTIMAL_PAYLOAD_LENGTH, DogStatsd

from tasker_health import __version__
from tasker_health.deadline import in_thread
from tasker_health.errors import DeliveryError
from tasker_health.exporters import Snapshot
from tasker_health.exporters.datadog_series import (
    Figure,
    Series,
    ServiceCheck,
    constant_tags,
    figures,
    service_checks,
    settled,
)
from tasker_health.exporters.instrument import Instrument
from tasker_health.exporters.table import one_by_one
from tasker_health.settings import DatadogSettings

_PACKET_SECONDS = 1.0
"""Longest wait for one packet to be taken: a busy Agent's buffer is full for moments."""

_PUSH_SECONDS = 8.0
"""Longest push; under the 10 s after which nobody waits for it any more."""

_NEVER_SECONDS = 10**10
"""Period of the client's own telemetry: with it the client counts what it drops, and sends nothing of that."""

_REST_SECONDS = 0.0001
_MOST_BYTES_OF_A_CHARACTER = 4


class DatadogExporter:
    """Tells a Datadog Agent.

    Args:
        settings: Where it is, under which tags and names it is told, and how often.
    """

    name = "datadog"

    def __init__(self, settings: DatadogSettings) -> None:
        self.interval_seconds: float = settings.interval_seconds
        self._settings = settings
        self._told: dict[Series, float] = {}
        self._running: Counter[str] = Counter()
        self._busy_in: int | None = None

    async def push(self, snapshot: Snapshot) -> None:
        """Tell *snapshot*. See `PushExporter.push`.

        Increases whose packet was taken are not told again; the others are told with the next push.
        """
        if self._busy_in == os.getpid():  # a thread of the parent is not here
            raise DeliveryError(f"{self._settings.address}: the push before this one has not ended")
        # Counts go on being counted on the loop, so they are read on it; what takes longer is done in the thread.
        told: list[Instrument] = []
        for each in one_by_one(snapshot, guide_names=self._settings.guide_names):
            told += settled(each)
            await asyncio.sleep(0)
        checks = list(service_checks(snapshot))
        self._busy_in = os.getpid()
        try:
            done = in_thread(lambda: self._send(snapshot.service, told, checks), self.name, self._running)
        except BaseException:
            self._busy_in = None
            raise
        await done

    async def close(self) -> None:
        """Do nothing: there is nothing between two pushes."""

    def _send(self, service: str, told: Sequence[Instrument], checks: Iterable[ServiceCheck]) -> None:
        try:
            client = self._client(service, told)
            try:
                packets = _Packets(client, self._settings.address, self._told)
                for each in told:
                    for figure in figures(each, _rest):
                        packets.add(figure)
                for check in checks:
                    packets.add_check(check)
                packets.end()
            finally:
                client.close_socket()
        finally:
            self._busy_in = None

    def _client(self, service: str, told: Iterable[Instrument]) -> DogStatsd:
        """Return a client of the address of the settings, whatever the environment says."""
        target = self._settings.target
        size = UDS_OPTIMAL_PAYLOAD_LENGTH if target.socket_path else UDP_OPTIMAL_PAYLOAD_LENGTH
        words = (word for each in told for values, _ in each.points for word in values)
        if not all(map(str.isascii, [service, *self._settings.tags, *words])):
            size //= _MOST_BYTES_OF_A_CHARACTER  # the client counts characters; packets are bounded in bytes
        client = DogStatsd(
            host=target.host,
            port=target.port,
            socket_path=target.socket_path,
            max_buffer_len=size,
            telemetry_min_flush_interval=_NEVER_SECONDS,
            socket_timeout=_PACKET_SECONDS,
            track_instance=False,
        )
        client.constant_tags = constant_tags(
            self._settings.tags, list(client.constant_tags), service, version=__version__
        )
        return client


def _rest() -> None:
    """Let the event loop have its turn: it would wait for the interpreter's lock for 5 ms and more."""
    time.sleep(_REST_SECONDS)


class _Packets:
    """One push: lines put together to packets, and what became of each packet.

    Args:
        client: Makes lines and packets of what it is told.
        address: Where they go, for messages.
        told: Totals by series that have been told; those in packets that were taken are put there.

    Raises:
        DeliveryError: There is nobody at the address.
    """

    def __init__(self, client: DogStatsd, address: str, told: dict[Series, float]) -> None:
        self._client = client
        self._address = address
        self._told = told
        self._waiting: list[tuple[Series, float]] = []
        self._taken = 0
        self._ends_at = time.monotonic() + _PUSH_SECONDS
        try:
            self._socket: socket.socket = client.get_socket()
        except OSError as error:
            raise DeliveryError(f"{address}: {error.strerror or error}") from error
        client.open_buffer()

    def add(self, figure: Figure) -> None:
        """Add a line of *figure*, which may complete the packet before it."""
        series, value, grows = figure
        tags = list(series.tags)
        if not grows:
            self._client.gauge(series.name, value, tags)
            self._look()
            return
        before = self._told.get(series, 0)
        self._client.count(series.name, value - before if value >= before else value, tags)
        self._look()
        self._waiting.append((series, value))  # this line is in the next packet

    def add_check(self, check: ServiceCheck) -> None:
        """Add a line of *check*, which may complete the packet before it."""
        self._client.service_check(check.name, int(check.verdict), list(check.tags), message=check.message)
        self._look()

    def end(self) -> None:
        """Send what is left."""
        self._client.flush()
        self._look()

    def _look(self) -> None:
        """See what became of a packet that was sent meanwhile; the client raises nothing and tells nobody."""
        if self._client.packets_dropped_writer:
            raise DeliveryError(f"{self._address}: {self._why()}")
        if self._client.packets_sent == self._taken:
            return
        self._taken = self._client.packets_sent
        # A datagram to a port where nobody listens is taken; that it was refused comes back a moment later.
        refused = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if refused:
            raise DeliveryError(f"{self._address}: {os.strerror(refused)}") from OSError(refused, os.strerror(refused))
        self._told.update(self._waiting)
        self._waiting.clear()
        if time.monotonic() > self._ends_at:
            raise DeliveryError(f"{self._address}: takes packets too slowly; {self._taken} in {_PUSH_SECONDS:g} s")

    def _why(self) -> str:
        """Return why a packet was dropped; the client closes a socket that is of no use any more."""
        if self._client.socket is None:
            return "the connection was lost"
        return f"no packet was taken within {_PACKET_SECONDS:g} s after {self._client.packets_sent}: its buffer is full"
