"""PgBouncer in transaction mode: each transaction may get another connection to the server."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import sqlalchemy as sa

from server import Server, missing_part


class PgBouncer(Server):
    """PgBouncer of the Debian package `pgbouncer`, before the PostgreSQL at *url*.

    Args:
        url: Of one database, which is the only one behind it.
        pool_size: How many connections it opens to the server.
    """

    backend = "postgresql"
    first_database = "pooled"
    stop_signal = signal.SIGTERM
    end_signal = signal.SIGKILL

    def __init__(self, url: str, pool_size: int = 2) -> None:
        self._target = sa.make_url(url)
        self._pool_size = pool_size
        super().__init__()

    def _initialise(self) -> None:
        self.user, self.password = str(self._target.username), str(self._target.password)
        (self.folder / "users").write_text(f'"{self.user}" "{self.password}"\n')

    def _command(self) -> list[str]:
        target = f"host={self._target.host} port={self._target.port} dbname={self._target.database}"
        lines = [
            "[databases]",
            f"pooled = {target}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            "auth_type = scram-sha-256",
            f"auth_file = {self.folder / 'users'}",
            "pool_mode = transaction",
            f"default_pool_size = {self._pool_size}",
        ]
        (self.folder / "pgbouncer.ini").write_text("\n".join(lines))
        return [_program(), "-q", str(self.folder / "pgbouncer.ini")]


def _program() -> str:
    found = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not Path(found).exists():
        missing_part("PgBouncer is not here: apt-get install pgbouncer")
    return found
