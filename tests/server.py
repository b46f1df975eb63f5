"""One real database server: made, started, stopped, paused and killed as a test wants it."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa

import canary

PATIENCE_SECONDS = 60
_OWNER = "nobody"  # database servers refuse to run as root
_SYNC_DRIVERS = {"postgresql": "postgresql+psycopg", "mariadb": "mariadb+pymysql", "mysql": "mysql+pymysql"}


def missing_part(reason: str) -> None:
    """Skip the test because a real part is absent; CI allows no skip, so there it fails."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def wait_until(condition: Callable[[], Any], what: str, seconds: float = PATIENCE_SECONDS) -> Any:
    """Return what *condition* answers as soon as that is true; fail the test when it is not within *seconds*."""
    ends_at = time.monotonic() + seconds
    while not (answer := condition()):
        if time.monotonic() > ends_at:
            pytest.fail(f"not within {seconds} s: {what}")
        time.sleep(0.02)
    return answer


def sync_url(url: str) -> str:
    """Return *url* with the driver that a test's own synchronous engine uses."""
    parsed = sa.make_url(url)
    named = parsed.set(drivername=_SYNC_DRIVERS.get(parsed.get_backend_name(), parsed.drivername))
    return named.render_as_string(hide_password=False)


class Server:
    """A database server with its own data, port and password; a subclass says how one is made and started.

    Attributes:
        url: Of its first database, as its superuser, with the password.
        port: Where it listens on 127.0.0.1, from the first start to the end.
    """

    backend: ClassVar[str]
    first_database: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]
    end_signal: ClassVar[signal.Signals]

    def __init__(self) -> None:
        self.user = "tester"
        self.password = canary.secret("database")
        self.port = 0
        self.folder = Path(tempfile.mkdtemp(prefix=f"tasker-health-{self.backend}-"))
        self.data = self.folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        if os.geteuid() == 0:
            shutil.chown(self.folder, _OWNER)
        self._databases = 0
        try:
            self._initialise()
            self._first_start()
        except BaseException:
            self.end()
            raise

    @property
    def url(self) -> str:
        """URL of the first database."""
        return self.url_of(self.first_database)

    def url_of(self, database: str, *, user: str | None = None, password: str | None = None) -> str:
        """Return the URL of *database* as the superuser, or as *user*."""
        url = sa.URL.create(
            self.backend, user or self.user, password or self.password, "127.0.0.1", self.port, database
        )
        return url.render_as_string(hide_password=False)

    @property
    def running(self) -> bool:
        """Whether its process is there, be it paused."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it on its port and wait until it answers."""
        log = self.folder / "log"
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [*_without_root(), *self._command()], stdout=output, stderr=output, cwd=self.folder
            )
        wait_until(lambda: not self.running or self._answers(), f"{self.backend} answers: {_tail(log)}")
        if not self.running:
            raise ServerDiedError(f"{self.backend} ended at its start: {_tail(log)}")

    def stop(self) -> None:
        """End it in good order; its clients are disconnected."""
        self._leave(self.stop_signal)

    def kill(self) -> None:
        """End all of its processes at once, as a power failure does."""
        if self._process is None:
            return
        processes = self._signal(signal.SIGKILL)
        self._process.wait(PATIENCE_SECONDS)
        wait_until(lambda: not any(map(_alive, processes)), f"{self.backend}'s processes end")

    def pause(self) -> None:
        """Stop all of its processes where they are: connections stay open and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let its processes go on."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """End it as fast as leaves no process of it unreaped, and remove its data."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._leave(self.end_signal)
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def execute(self, *statements: str, database: str | None = None) -> None:
        """Run *statements* as the superuser, each in a transaction of its own."""
        engine = sa.create_engine(
            sync_url(self.url_of(database or self.first_database)),
            poolclass=sa.NullPool,
            isolation_level="AUTOCOMMIT",
        )
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def new_database(self) -> str:
        """Return the URL of a new and empty database."""
        self._databases += 1
        name = f"test_{self._databases}"
        self.execute(f"CREATE DATABASE {name}")
        return self.url_of(name)

    def drop_database(self, url: str) -> None:
        """Remove the database of *url*, whoever is still connected to it."""
        self.execute(f"DROP DATABASE IF EXISTS {sa.make_url(url).database}{self._drop_option}")

    _drop_option: ClassVar[str] = ""

    def _initialise(self) -> None:
        raise NotImplementedError

    def _command(self) -> list[str]:
        raise NotImplementedError

    def _first_start(self) -> None:
        """Find a port. Outside the kernel's range for clients, or a client could hold it while we are stopped."""
        for _ in range(5):
            self._choose_ports()
            try:
                return self.start()
            except ServerDiedError as error:
                last = error
        raise last

    def _choose_ports(self) -> None:
        self.port = free_port()

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except sa.exc.OperationalError:
            return False
        return True

    def _leave(self, number: signal.Signals) -> None:
        if self._process is not None and self.running:
            self.resume()
            self._process.send_signal(number)
            self._process.wait(PATIENCE_SECONDS)

    def _signal(self, number: signal.Signals) -> list[int]:
        """Send *number* to the server, then to its children: a paused parent makes no more of them."""
        if self._process is None or not self.running:
            return []
        self._process.send_signal(number if number != signal.SIGKILL else signal.SIGSTOP)
        processes = [*_children(self._process.pid), self._process.pid]
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)
        return processes

    def _run(self, *command: str | Path) -> None:
        done = subprocess.run(
            [*_without_root(), *command], capture_output=True, cwd=self.folder, timeout=PATIENCE_SECONDS, check=False
        )
        if done.returncode:
            raise ServerDiedError(f"{command[0]}: {done.stdout.decode()[-2000:]}{done.stderr.decode()[-2000:]}")


class ServerDiedError(Exception):
    """A server did not start; its own last words are the message."""


def _without_root() -> list[str]:
    """Return what stands before a command: another user for root's servers, and an end when this process ends."""
    if shutil.which("setpriv") is None:
        if os.geteuid() == 0:
            missing_part("setpriv, which takes root's rights from a database server, is not here: util-linux")
        return []
    bound = ["setpriv", "--pdeathsig", "KILL"]
    if os.geteuid() == 0:
        # The one right that is kept lets the server find its programs when the checkout is in a private folder.
        bound += ["--reuid", _OWNER, "--regid", "nogroup", "--clear-groups"]
        bound += ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"]
    return bound


def free_port() -> int:
    """Return a port that nobody listens on, outside the range that the kernel gives to clients."""
    while True:
        port = random.randint(20000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            after_name = stat.read_text().rpartition(")")[2].split()
            if int(after_name[1]) == parent:
                found.append(int(stat.parent.name))
    return found


def _alive(process: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    return False


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-2000:] if log.exists() else ""
