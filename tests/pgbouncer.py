"""A real PgBouncer before a real PostgreSQL, as the Debian package `pgbouncer` has it."""

from __future__ import annotations

import shutil
import signal
from typing import Any, ClassVar, Literal

import sqlalchemy as sa

from server import Server, missing_part

Mode = Literal["transaction", "session"]


class PgBouncer(Server):
    """PgBouncer before *server*: its clients say the server's user and password.

    Args:
        server: Whose connections it lends.
        mode: For how long it lends one.
        options: Of the section `[pgbouncer]`, such as `default_pool_size`.
    """

    backend = "postgresql"
    first_database = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM  # at once
    end_signal: ClassVar[signal.Signals] = signal.SIGKILL

    def __init__(self, server: Server, mode: Mode = "transaction", **options: Any) -> None:
        self._server = server
        self._options = {"pool_mode": mode, **options}
        super().__init__()

    def _initialise(self) -> None:
        self.user, self.password = self._server.user, self._server.password
        (self.folder / "users").write_text(f'"{self.user}" "{self.password}"\n')

    def _command(self) -> list[str]:
        found = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")
        if found is None:
            missing_part("PgBouncer is not here: apt-get install pgbouncer")
        options = {
            "listen_addr": "127.0.0.1",
            "listen_port": self.port,
            "unix_socket_dir": "",
            "auth_type": "plain",
            "auth_file": self.folder / "users",
            "logfile": "",
            **self._options,
        }
        lines = [f"{name} = {value}" for name, value in options.items()]
        target = f"* = host=127.0.0.1 port={self._server.port}"
        file = self.folder / "pgbouncer.ini"
        file.write_text("\n".join(["[databases]", target, "[pgbouncer]", *lines, ""]))
        return [str(found), "-q", str(file)]

    def url_for(self, url: str) -> str:
        """Return *url* with PgBouncer in the place of its server."""
        return sa.make_url(url).set(port=self.port).render_as_string(hide_password=False)
