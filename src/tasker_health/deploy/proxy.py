"""What every balancer is told: where they listen, how long they wait, and what they hide."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from tasker_health.deploy.plan import Plan
from tasker_health.errors import ConfigurationError

_LAST_PORT = 65535
_DAY_SECONDS = 86_400
_OF_PREFIX = "/health/"
_ALONE = ("/health", "/metrics", "/openapi.json")


@dataclass(frozen=True)
class Proxy:
    """How a proxy is reached, and how patient it is.

    Attributes:
        listen: Its port, or address and port.
        request_timeout_seconds: How long it waits for the answer to a request.
    """

    listen: str = "80"
    request_timeout_seconds: float = 30

    @property
    def address(self) -> tuple[str, int]:
        """Address, without brackets, and port; an empty address is every one of the machine."""
        address, _, port = self.listen.rpartition(":")
        return address.strip("[]"), int(port)

    def __post_init__(self) -> None:
        address, colon, port = self.listen.rpartition(":")
        fits = not colon or _is_address(address)
        if not fits or not re.fullmatch(r"[1-9][0-9]{0,4}", port) or int(port) > _LAST_PORT:
            raise ConfigurationError(f"--listen {self.listen!r}: a port, or address and port, such as 127.0.0.1:8000")
        if not 1 <= self.request_timeout_seconds <= _DAY_SECONDS:
            raise ConfigurationError(f"--request-timeout {self.request_timeout_seconds:g}: 1 to {_DAY_SECONDS} seconds")


def hidden(plan: Plan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what is not for the public: beginnings of paths, and whole paths."""
    if plan.prefix:
        return (f"{plan.prefix}/",), ()
    return (_OF_PREFIX,), _ALONE


def require_http(plan: Plan) -> None:
    """Refuse servers that speak TLS, whose certificates a template cannot know.

    Raises:
        ConfigurationError: They do.
    """
    if plan.tls:
        raise ConfigurationError(
            "server.tls_certificate_file: the servers would be asked over HTTP; unset it for this command, and add TLS"
            " to what it writes"
        )


def _is_address(word: str) -> bool:
    bare = word[1:-1] if word.startswith("[") and word.endswith("]") else word
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return False
    return "%" not in bare and (address.version == 6) == (bare != word)  # noqa: PLR2004 -- brackets are IPv6's
