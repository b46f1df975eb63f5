"""Who starts services, as far as they notice: a socket of its own in NOTIFY_SOCKET, as systemd has one."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from pathlib import Path

from server import wait_until

_ROOM = socket.CMSG_SPACE(struct.calcsize("3i"))


class ServiceManager:
    """Reads what it is told.

    Args:
        address: Path of its socket; `@` and a name for an abstract one.

    Attributes:
        told: When by `time.monotonic`, by which process, and what, as a dictionary.
    """

    def __init__(self, address):
        self.address = str(address)
        self.told = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(f"\0{self.address[1:]}" if self.address[0] == "@" else self.address)

    def variables(self, watchdog_seconds=0.0):
        """Return what it puts into the environment of a service."""
        variables = {"NOTIFY_SOCKET": self.address}
        if watchdog_seconds:
            variables["WATCHDOG_USEC"] = str(round(watchdog_seconds * 1e6))
        return variables

    def read(self):
        """Read what has come, and return all that was ever told."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data, [(_, _, sender), *_], _, _ = self._socket.recvmsg(65536, _ROOM)
                pid = struct.unpack("3i", sender[: struct.calcsize("3i")])[0]
                message = dict(line.split("=", 1) for line in data.decode().split("\n"))
                self.told.append((time.monotonic(), pid, message))
        return self.told

    def all(self, name):
        """Return every value that was told of *name*."""
        return [message[name] for _, _, message in self.read() if name in message]

    def wait_for(self, name, value):
        """Wait until it is told that *name* is *value*."""
        wait_until(lambda: value in self.all(name), f"{name}={value}; told: {self.told}")

    def fed(self, more=2):
        """Wait until the watchdog is fed *more* times."""
        before = len(self.all("WATCHDOG"))
        wait_until(lambda: len(self.all("WATCHDOG")) >= before + more, f"it is fed; told: {self.told}")

    def starves(self, seconds):
        """Wait until the watchdog has not been fed for *seconds* from now."""
        self.read()
        since = time.monotonic()

        def silent():
            times = [when for when, _, message in self.read() if "WATCHDOG" in message]
            return time.monotonic() - max([since, *times]) > seconds

        wait_until(silent, f"it is not fed for {seconds} s; told: {self.told[-5:]}")

    def senders(self, name):
        """Return the processes that told *name*."""
        return {pid for _, pid, message in self.read() if name in message}

    def fill(self):
        """Have no room for another message."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
            sender.connect(self._socket.getsockname())
            with contextlib.suppress(BlockingIOError):
                while True:
                    sender.send(b"X=1")

    def close(self):
        """Be gone."""
        self._socket.close()
        if self.address[0] != "@":
            Path(self.address).unlink(missing_ok=True)
