"""Sockets that listen: opened by us, so that a port that cannot be had is found at start and said in one line."""

from __future__ import annotations

import errno
import socket

from tasker_health.errors import ConfigurationError


def listen(host: str, port: int, group: str, name: str = "port") -> socket.socket:
    """Return a socket that listens at *host* and *port*; *group* is that of the settings which name them.

    The setting of the port is called *name*.

    Raises:
        ConfigurationError: The address is taken, not allowed, or not of this machine.
    """
    return _opened(host, port, group, name, shared=False, listens=True)


def bound(host: str, port: int, group: str, *, shared: bool = False) -> socket.socket:
    """Return a socket that has *host* and *port* and takes no connection, to see that they can be had.

    Args:
        host: As of `listen`.
        port: As of `listen`.
        group: As of `listen`.
        shared: Whether others who share it too may have the port (socket(7), SO_REUSEPORT).

    Raises:
        ConfigurationError: As of `listen`.
    """
    return _opened(host, port, group, "port", shared=shared, listens=False)


def _opened(host: str, port: int, group: str, name: str, *, shared: bool, listens: bool) -> socket.socket:
    server = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
    try:
        server.bind((host, port))
        if listens:
            server.listen(2048)
    except OSError as error:
        server.close()
        raise _why_not(host, port, group, name, error) from None
    except (ValueError, TypeError):  # what no name can be encoded from
        server.close()
        raise ConfigurationError(f"{group}.host = {host!r}: no host name; name an address of this machine") from None
    server.setblocking(False)  # noqa: FBT003 -- the standard library's own signature
    return server


def _why_not(host: str, port: int, group: str, name: str, error: OSError) -> ConfigurationError:
    if error.errno == errno.EADDRINUSE:
        variable = f"TASKER_{group.upper()}__{name.upper()}"
        remedy = f"the port is in use; end what listens there or choose another with {variable}"
        return ConfigurationError(f"{group}.{name} = {port}: {remedy}")
    if error.errno == errno.EACCES:
        return ConfigurationError(f"{group}.{name} = {port}: not permitted; choose one above 1023")
    return ConfigurationError(f"{group}.host = {host!r}: {error.strerror}; name an address of this machine")
