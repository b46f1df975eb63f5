"""Whom a command takes for the server, and where the settings' own is asked; the words are those of `probe`."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass

from tasker_health.errors import ConfigurationError
from tasker_health.settings import Settings


@dataclass(frozen=True)
class Trust:
    """How a certificate is judged.

    Attributes:
        ca_file: The certificates to trust; `None`: the system's.
        server_name: What the certificate must say; `None`: the host.
        insecure: Whether any certificate will do.
    """

    ca_file: str | None = None
    server_name: str | None = None
    insecure: bool = False

    def context(self) -> ssl.SSLContext:
        """Return what verifies the server.

        Raises:
            ConfigurationError: The file holds no certificates.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
        except (OSError, ValueError) as error:
            words = (
                "no certificate as PEM" if isinstance(error, ssl.SSLError) else getattr(error, "strerror", "no path")
            )
            raise ConfigurationError(f"--ca-file {self.ca_file}: {words}; name a file with certificates") from None
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def own_server(settings: Settings) -> tuple[bool, str, int, str]:
    """Return how the server of *settings* is asked here: whether by https, host, port, and base of its endpoints.

    Raises:
        ConfigurationError: Its port is any free one.
    """
    server = settings.server
    if not server.port:
        raise ConfigurationError("server.port = 0: any port; give the URL that the server printed at its start")
    host = _reachable(server.host)
    return server.tls_certificate_file is not None, host, server.port, f"{server.prefix}/health"


def _reachable(host: str) -> str:
    """Return where to ask who listens on *host*, which can be every address of this machine."""
    plain = host.strip("[]")
    try:
        address = ipaddress.ip_address(plain)
    except ValueError:
        return plain
    if not address.is_unspecified:
        return plain
    return "127.0.0.1" if isinstance(address, ipaddress.IPv4Address) else "::1"
