"""Failed attempts: told in the log, and answered the later the more of them one address makes.

Only failures wait, and only after they were looked at: valid credentials are never delayed or refused, whoever else
comes from the same address, so the limiter cannot be turned against honest callers. What it keeps is bounded.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from ipaddress import ip_address, ip_network

from tasker_health.request import Request
from tasker_health.settings.kinds import Network

log = logging.getLogger(__name__)

_MINUTE_SECONDS = 60.0
_FIRST_DELAY_SECONDS = 0.1
_LONGEST_DELAY_SECONDS = 2.0
_MOST_DOUBLINGS = 8
_MOST_ADDRESSES = 4096
_MOST_WAITING = 256
"""Beyond these, failures are answered at once: a flood shall not be kept in memory."""


class _Failures:
    """Those of one address within a minute."""

    __slots__ = ("ends_at", "number")

    def __init__(self, ends_at: float) -> None:
        self.ends_at = ends_at
        self.number = 0


class Limiter:
    """Slows down whoever fails again and again.

    Args:
        failures_per_minute: So many of one address are answered at once.
        trusted_proxies: Whose `X-Forwarded-For` is believed.
    """

    def __init__(self, failures_per_minute: int, trusted_proxies: tuple[Network, ...] = ()) -> None:
        self._free = failures_per_minute
        self._trusted_proxies = trusted_proxies
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._waiting = 0

    async def failed(self, request: Request) -> None:
        """Count a failed attempt, tell the log, and return when it may be answered."""
        address = self.address(request)
        beyond = self._count(address) - self._free
        if beyond <= 0:
            log.warning("authentication failed: %s %s from %s", request.method, _printable(request.path), address)
            return
        if beyond == 1:
            log.warning("authentication fails again and again from %s: its failures are answered later", address)
        if self._waiting >= _MOST_WAITING:
            return
        self._waiting += 1
        try:
            doublings = min(beyond - 1, _MOST_DOUBLINGS)
            await asyncio.sleep(min(_FIRST_DELAY_SECONDS * 2**doublings, _LONGEST_DELAY_SECONDS))
        finally:
            self._waiting -= 1

    def address(self, request: Request) -> str:
        """Return the address that *request* comes from; see `address_of`."""
        return address_of(request, self._trusted_proxies)

    def _count(self, address: str) -> int:
        now = time.monotonic()
        failures = self._failures.get(address)
        if failures is None or failures.ends_at <= now:
            failures = self._failures[address] = _Failures(now + _MINUTE_SECONDS)
        self._failures.move_to_end(address)
        if len(self._failures) > _MOST_ADDRESSES:
            self._failures.popitem(last=False)
        failures.number += 1
        return failures.number


def address_of(request: Request, trusted_proxies: tuple[Network, ...]) -> str:
    """Return the address that *request* comes from: the last one that no trusted proxy has (RFC 7239 section 8.1).

    Addresses of IPv6 count by the network of 64 bits that one caller has (RFC 4291 section 2.5.4).
    """
    address = request.client
    if trusted_proxies and is_trusted(address, trusted_proxies):
        hops = [hop.strip() for value in request.headers("x-forwarded-for") for hop in value.split(",")]
        for hop in reversed(hops):
            if not _is_address(hop):
                break
            address = hop
            if not is_trusted(hop, trusted_proxies):
                break
    return _network(address)


def is_trusted(address: str, networks: tuple[Network, ...]) -> bool:
    """Return whether *address* is in one of *networks*; IPv4 written as IPv6 is IPv4."""
    if not _is_address(address):
        return False
    parsed = ip_address(address)
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    return any(parsed in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _network(address: str) -> str:
    if not _is_address(address):
        return "an unknown address"
    if ":" not in address:
        return address
    return str(ip_network((address.partition("%")[0], 64), strict=False))


def _printable(path: str) -> str:
    return path.encode("unicode_escape").decode("ascii")[:100]
