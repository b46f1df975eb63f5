"""The service manager above this process, spoken to as sd_notify(3) and sd_watchdog_enabled(3) say; no library of its.

A message is one datagram. It never waits: a socket that is full, gone or not ours costs the message and nothing else.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

_TAKEN = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
_LONGEST_VALUE = 200
_MOST_DIGITS = 20  # of 64 bits; many more are none to Python either


@dataclass(frozen=True)
class ServiceManager:
    """Who started this process, or the supervisor above it, and wants to be told.

    Attributes:
        address: Of the socket: a path, or an abstract name after a NUL.
        is_main: Whether this is the unit's main process, and not a worker of it.
        watchdog_seconds: How long it may hear nothing before it acts; `None`: it does not wait for this process.
    """

    address: str
    is_main: bool = True
    watchdog_seconds: float | None = None

    @classmethod
    def taken_from(cls, environ: MutableMapping[str, str]) -> ServiceManager | None:
        """Return who is named in *environ*, and take the names out: no child of this process is to speak for it.

        `None`: nobody is, or a kind of socket that is not known here.
        """
        address = environ.get("NOTIFY_SOCKET", "")
        if not address:
            return None
        main = _number(environ, "WATCHDOG_PID") or _number(environ, "SYSTEMD_EXEC_PID")
        seconds = _number(environ, "WATCHDOG_USEC") / 1e6
        # A supervisor such as `uvicorn --workers` does not feed it, so its children do; whoever is further down is a
        # program that merely inherited the variables.
        is_meant = _number(environ, "WATCHDOG_PID") in {0, os.getpid(), os.getppid()}
        for name in _TAKEN:
            environ.pop(name, None)
        if address[0] not in "/@":
            return None
        if address[0] == "@":
            address = f"\0{address[1:]}"
        return cls(address, main in {0, os.getpid()}, seconds if seconds and is_meant else None)

    def tell(self, **values: str) -> bool:
        """Tell *values*, such as `READY="1"`, in one message; return whether it was taken."""
        lines = "\n".join(f"{name}={' '.join(value.split())[:_LONGEST_VALUE]}" for name, value in values.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as own:
                own.sendto(lines.encode("utf-8", "replace"), self.address)
        except (OSError, ValueError):  # ValueError: a NUL in a path
            return False
        return True


def _number(environ: Mapping[str, str], name: str) -> int:
    """Return the number in *name*; 0 where there is none."""
    value = environ.get(name, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS else 0
