"""A real database behind a proxy of ours, so that a test can have it hang, refuse, and come back."""

from __future__ import annotations

from typing import Self
from urllib.parse import urlsplit, urlunsplit

from tasker_health.testing.proxy import FaultyProxy

_PORTS = {
    "postgresql": 5432,
    "postgres": 5432,
    "mysql": 3306,
    "mariadb": 3306,
    "redis": 6379,
    "valkey": 6379,
    "memcached": 11211,
    "amqp": 5672,
}


class HangingDatabase:
    """A database, or any other server, behind a proxy on the loopback interface. A context manager.

    The server goes on as it was; only those who use `url` see it fail. A certificate that is checked against the name
    of the server does not fit the proxy's address.

    Args:
        url: Of a real one, such as `postgresql+psycopg://tests:...@localhost/orders`.

    Attributes:
        url: The same with the proxy in place of the server; the service under test gets this one.

    Raises:
        ValueError: The URL names no server, or one whose port is not known.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme.partition("+")[0])
        if parts.hostname is None or port is None:
            raise ValueError(
                f"{parts.scheme}: the URL names no host and port; write both, as in scheme://host:port/name"
            )
        self._proxy = FaultyProxy(port, parts.hostname)
        user, at, _ = parts.netloc.rpartition("@")
        self.url: str = urlunsplit(parts._replace(netloc=f"{user}{at}127.0.0.1:{self._proxy.port}"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def hang(self) -> None:
        """Take connections and keep them, and answer nothing from now on."""
        self._proxy.set("blackhole")

    def refuse(self) -> None:
        """End every connection and take no new ones from now on, as where no server runs."""
        self._proxy.set("refuse")

    def reset(self) -> None:
        """End every connection with a reset, new ones too, from now on."""
        self._proxy.set("reset")

    def release(self) -> None:
        """Be as well as the real one from now on."""
        self._proxy.set("pass")

    def close(self) -> None:
        """End every connection and the proxy, for good."""
        self._proxy.close()
