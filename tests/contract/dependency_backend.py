"""What the suite of dependencies must know of each kind: its real server, and how a check of it is made.

Add one by a subclass here and its line in `KINDS` of `test_dependencies.py`.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import canary
from caches import RedisServer
from dependencies import HttpServer, KafkaServer, RabbitMqServer, SeaweedServer
from server import Server
from servers import PostgresServer
from tasker_health.checks.dependencies import Dependency

_ROOM = "tasker_health.checks.dependencies"
WRONG = "not-the-password"

S = TypeVar("S", bound=Server)


class Recipe(NamedTuple):
    """How a check is made, in this process or in another one; its arguments are what JSON can hold."""

    module: str
    kind: str
    arguments: list[Any]
    options: dict[str, Any]

    def cook(self) -> Dependency:
        """Return a new check."""
        made: Dependency = getattr(importlib.import_module(self.module), self.kind)(*self.arguments, **self.options)
        return made


class Shared:
    """The servers that several kinds ask, each made when the first one asks for it."""

    def __init__(self) -> None:
        self._servers: list[Server] = []

    @cached_property
    def seaweed(self) -> SeaweedServer:
        """S3, and what the Kafka gateway stands on."""
        return self.ended(SeaweedServer())

    @cached_property
    def redis(self) -> RedisServer:
        """Redis with a password."""
        return self.ended(RedisServer(password=canary.secret("dependency")))

    @cached_property
    def rabbitmq(self) -> RabbitMqServer:
        """RabbitMQ with a queue."""
        return self.ended(RabbitMqServer())

    @cached_property
    def kafka(self) -> KafkaServer:
        """The Kafka gateway of SeaweedFS."""
        return self.ended(KafkaServer(self.seaweed))

    @cached_property
    def http(self) -> HttpServer:
        """A service under uvicorn."""
        return self.ended(HttpServer())

    @cached_property
    def postgres(self) -> PostgresServer:
        """A PostgreSQL of the suite's own."""
        return self.ended(PostgresServer())

    def ended(self, server: S) -> S:
        """Return *server*, which is ended with the others."""
        self._servers.append(server)
        return server

    def end(self) -> None:
        """End all of them, for good."""
        for server in reversed(self._servers):
            server.end()


class DependencyBackend(ABC):
    """One kind of dependency.

    Attributes:
        server: Its real server.
        keeps: Whether its connection is kept between runs.
        refuses: Whether it tells a wrong password, here.
        blocks: Whether its driver only blocks: one that hangs while it connects holds one thread, and one socket.
    """

    server: Server
    keeps = True
    refuses = True
    blocks = False

    @abstractmethod
    def recipe(self, port: int, password: str, thing: str | None) -> Recipe:
        """Return how one is made that asks at *port*, with *password*, for *thing*; `None`: what is there."""

    def check(self, port: int | None = None, password: str | None = None, thing: str | None = None) -> Dependency:
        """Return a new check."""
        return self.recipe(port or self.server.port, password or self.server.password, thing).cook()


class RedisBackend(DependencyBackend):
    """Redis with a password."""

    def __init__(self, shared: Shared) -> None:
        self.server = shared.redis

    def recipe(self, port: int, password: str, thing: str | None) -> Recipe:
        """Return how it is made; the thing is a database by its number."""
        url = f"redis://:{password}@127.0.0.1:{port}/{thing or 0}"
        return Recipe(f"{_ROOM}.redis", "RedisCheck", ["cache_of_orders", url], {})

    def check(self, port: int | None = None, password: str | None = None, thing: str | None = None) -> Dependency:
        """Return a new check; Redis has no names, and 99 is more databases than it has."""
        return super().check(port, password, thing and "99")


class RabbitMqBackend(DependencyBackend):
    """RabbitMQ with a queue."""

    def __init__(self, shared: Shared) -> None:
        self.server: RabbitMqServer = shared.rabbitmq

    def recipe(self, port: int, password: str, thing: str | None) -> Recipe:
        """Return how it is made; the thing is a queue."""
        url = f"amqp://{self.server.user}:{password}@127.0.0.1:{port}"
        return Recipe(f"{_ROOM}.rabbitmq", "RabbitMqCheck", ["queue", url], {"queue": thing or self.server.queue})


class KafkaBackend(DependencyBackend):
    """The Kafka gateway of SeaweedFS, which knows no passwords."""

    refuses = False

    def __init__(self, shared: Shared) -> None:
        self.server: KafkaServer = shared.kafka

    def recipe(self, port: int, password: str, thing: str | None) -> Recipe:
        """Return how it is made; the thing is a topic."""
        url = f"kafka://127.0.0.1:{port}"
        return Recipe(f"{_ROOM}.kafka", "KafkaCheck", ["events", url], {"topic": thing or self.server.topic})


class S3Backend(DependencyBackend):
    """S3 of SeaweedFS, with a bucket."""

    keeps = False

    def __init__(self, shared: Shared) -> None:
        self.server: SeaweedServer = shared.seaweed

    def recipe(self, port: int, password: str, thing: str | None) -> Recipe:
        """Return how it is made; the thing is a bucket."""
        options = {
            "endpoint": f"http://127.0.0.1:{port}",
            "access_key_id": self.server.access_key_id,
            "secret_access_key": password,
        }
        return Recipe(f"{_ROOM}.s3", "S3Check", ["files", thing or self.server.bucket], options)


class HttpBackend(DependencyBackend):
    """A service under uvicorn that wants a key."""

    keeps = False

    def __init__(self, shared: Shared) -> None:
        self.server: HttpServer = shared.http

    def recipe(self, port: int, password: str, thing: str | None) -> Recipe:
        """Return how it is made; the thing is a path."""
        path = "404" if thing else "401"
        url = f"http://127.0.0.1:{port}/{path}"
        return Recipe(f"{_ROOM}.http", "HttpCheck", ["payments", url], {"headers": {"x-api-key": password}})


class DatabaseBackend(DependencyBackend):
    """PostgreSQL by its URL, asked through our own driver."""

    def __init__(self, shared: Shared) -> None:
        self.server = shared.postgres

    def url(self, port: int, password: str, thing: str | None) -> str:
        """Return the URL; the thing is a database."""
        return f"postgresql://{self.server.user}:{password}@127.0.0.1:{port}/{thing or 'postgres'}"

    def recipe(self, port: int, password: str, thing: str | None) -> Recipe:
        """Return how it is made."""
        url = self.url(port, password, thing)
        return Recipe(f"{_ROOM}.sqlalchemy", "SqlAlchemyCheck", ["orders_db", url], {})


class EngineBackend(DatabaseBackend):
    """PostgreSQL by an engine of the application whose URL does not say all: it is asked through one like it."""

    keeps = False
    blocks = True
    driver = "postgresql+psycopg"
    maker = "engine_check"

    def recipe(self, port: int, password: str, thing: str | None) -> Recipe:
        """Return how it is made."""
        url = self.url(port, password, thing).replace("postgresql", self.driver, 1)
        return Recipe(__name__, self.maker, [url], {})


class AsyncEngineBackend(EngineBackend):
    """The same of an `AsyncEngine`, with another driver."""

    blocks = False
    driver = "postgresql+asyncpg"
    maker = "async_engine_check"


def engine_check(url: str) -> Dependency:
    """Return a check of an engine with an argument that its URL does not have."""
    import sqlalchemy as sa

    from tasker_health.checks.dependencies.sqlalchemy import SqlAlchemyCheck

    return SqlAlchemyCheck("orders_db", sa.create_engine(url, connect_args={"application_name": "orders"}))


def async_engine_check(url: str) -> Dependency:
    """Return a check of an asynchronous engine with an argument that its URL does not have."""
    from sqlalchemy.ext.asyncio import create_async_engine

    from tasker_health.checks.dependencies.sqlalchemy import SqlAlchemyCheck

    server_settings = {"server_settings": {"application_name": "orders"}}
    return SqlAlchemyCheck("orders_db", create_async_engine(url, connect_args=server_settings))
