"""The guard that stands beside a server of ours, as a prober sees it."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import httpx

from server import wait_until

PATIENCE_SECONDS = 60


class Beside:
    """The guard of a server."""

    def __init__(self, port):
        self.port = port
        self.url = f"http://127.0.0.1:{port}/tasker/health"

    def get(self, path):
        """Return the answer over a new connection, or `None` where nobody listens."""
        try:
            return httpx.get(f"{self.url}/{path}", timeout=PATIENCE_SECONDS)
        except httpx.TransportError:
            return None

    def becomes(self, path, code, words=""):
        """Wait until *path* is answered with *code* and *words*, and return how long that took."""
        began = time.monotonic()

        def there():
            answer = self.get(path)
            return answer is not None and answer.status_code == code and words in answer.text

        wait_until(there, f"the guard answers {path} with {code} {words}", PATIENCE_SECONDS)
        return time.monotonic() - began

    @property
    def process(self):
        """Process id of the guard, found by the port that it listens on."""
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if any(b"tasker_health.guard.process" in word for word in words) and self._listens(entry):
                return int(entry.name)
        return None

    def _listens(self, entry):
        inodes = {
            line.split()[9]
            for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
            if line.split()[1].endswith(f":{self.port:04X}") and line.split()[3] == "0A"
        }
        wanted = {f"socket:[{inode}]" for inode in inodes}
        with contextlib.suppress(OSError):  # it ends while it is looked at
            for descriptor in (entry / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if str(descriptor.readlink()) in wanted:
                        return True
        return False


def settings(guard, **more):
    """Return the environment of a server with *guard*."""
    return {"TASKER_GUARD__PORT": str(guard.port), "TASKER_HEALTH__LIVENESS_STALL_SECONDS": "5", **more}
