"""What it costs to know the caller: a cached status with a token or a JWT against the same without credentials."""

from __future__ import annotations

import socket
import statistics
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

from bench.history import History, Shape
from bench.machine import CLIENT_CORE, on_core
from bench.subject import PATIENCE_SECONDS, Subject
from bench.table import Goal, Table

STATUS = "/tasker/health/status"
MOST_MICROSECONDS = 100
ROUNDS, REQUESTS = 15, 300
_KEY = "a key of the benchmark, at least 32 bytes long"


class Caller:
    """Asks one server again and again over one connection, one request at a time.

    Attributes:
        medians: Of each round, in microseconds.
    """

    def __init__(self, name: str, port: int, header: str) -> None:
        self.name = name
        self.medians: list[float] = []
        self._port = port
        self._request = f"GET {STATUS} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\n{header}\r\n".encode()

    def round(self) -> None:
        """Ask some times and keep the median."""
        took = []
        with socket.create_connection(("127.0.0.1", self._port), PATIENCE_SECONDS) as connection:
            for _ in range(REQUESTS):
                began = time.perf_counter()
                connection.sendall(self._request)
                answer = _answer(connection)
                took.append(time.perf_counter() - began)
                if not answer.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(f"{self.name}: {answer[:200]!r}")
        self.medians.append(statistics.median(took) * 1e6)


def _answer(connection: socket.socket) -> bytes:
    """Return one whole answer: its head may come before its body."""
    answer = connection.recv(65536)
    while True:
        head, found, body = answer.partition(b"\r\n\r\n")
        if found and len(body) >= int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
            return answer
        answer += connection.recv(65536)


def measure(rounds: int | None) -> Table:
    """Return what a caller's credentials cost, over *rounds* that take turns."""
    with ExitStack() as stack:
        callers = _callers(stack)
        with on_core(CLIENT_CORE):
            for number in range(rounds or ROUNDS):
                for caller in callers[:: -1 if number % 2 else 1]:
                    caller.round()
    open_to_all = callers[0]
    table = Table(
        "Access: a cached status, one request at a time",
        ["caller", "median µs", "more than without credentials, µs"],
        notes=[
            f"Median of {rounds or ROUNDS} rounds' medians of {REQUESTS} requests; of the difference likewise.",
            "With credentials both switches are on: the caller is known, has the permission and is shown details.",
        ],
    )
    for caller in callers:
        more = statistics.median(mine - other for mine, other in zip(caller.medians, open_to_all.medians, strict=True))
        table.rows.append((caller.name, f"{statistics.median(caller.medians):.0f}", f"{more:.0f}"))
        if caller is not open_to_all:
            table.goals.append(Goal(f"{caller.name}, more than without credentials", more, MOST_MICROSECONDS, " µs"))
    return table


def _callers(stack: ExitStack) -> list[Caller]:
    import jwt

    from tasker_health.access.hashing import new_token, stored_token

    url = f"sqlite:///{stack.enter_context(tempfile.TemporaryDirectory())}/shop.db"
    History(Shape(tasks=1000, seconds=86400), round(time.time() * 1000)).write(url)
    status = {
        "TASKER_DATABASE__URL": url,
        "TASKER_SOURCES__SHOP__KIND": "dbos",
        "TASKER_HEALTH__CACHE_DURATION_SECONDS": "3600",
    }
    locked = {
        **status,
        "TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION": "true",
        "TASKER_AUTH__AUTHENTICATION_ENABLED": "true",
        "TASKER_AUTH__AUTHENTICATOR_CLASS": "tokens,jwt",
        "TASKER_AUTH__AUTHORIZATION_ENABLED": "true",
        "TASKER_AUTH__AUTHORIZATION_COORDINATOR_CLASS": "roles",
        "TASKER_AUTH__ROLES__READER__PERMISSIONS": "tasker.health_status:index",
        "TASKER_AUTH__JWT__ALGORITHMS": "HS256",
        "TASKER_AUTH__JWT__KEY": _KEY,
    }
    token = new_token()
    for number in range(10):
        locked[f"TASKER_AUTH__TOKENS__T{number}__HASH"] = stored_token(token if number == 5 else new_token())
        locked[f"TASKER_AUTH__TOKENS__T{number}__ROLES"] = "reader"
    claims = {"sub": "bench", "roles": ["reader"], "exp": datetime.now(UTC) + timedelta(hours=1)}
    signed = jwt.encode(claims, _KEY, "HS256")
    opened, closed = (
        stack.enter_context(Subject("status", "tasker_health", "/tasker/health/live", ("serve",), each).running())
        for each in (status, locked)
    )
    return [
        Caller("without credentials, switches off", opened.port, ""),
        Caller("a hashed token, one of ten", closed.port, f"Authorization: Bearer {token}\r\n"),
        Caller("a JWT that was verified a moment ago", closed.port, f"Authorization: Bearer {signed}\r\n"),
    ]
