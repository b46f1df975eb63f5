"""What each kind of dependency has of its own, against its real server."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import ssl
import subprocess
import sys
import threading
import time

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

import canary
import kafka_broker
import rabbitmq_broker
from caches import RedisServer
from certificates import Authority
from dependencies import held
from faulty_proxy import FaultyProxy
from loop import in_loop
from tasker_health import Health
from tasker_health.checks.dependencies import client_of
from tasker_health.checks.dependencies.http import HttpCheck
from tasker_health.checks.dependencies.kafka import KafkaCheck
from tasker_health.checks.dependencies.rabbitmq import RabbitMqCheck
from tasker_health.checks.dependencies.redis import RedisCheck
from tasker_health.checks.dependencies.s3 import S3Check
from tasker_health.checks.dependencies.sqlalchemy import SqlAlchemyCheck
from tasker_health.checks.dependencies.sqlalchemy_engine import OwnEngine, is_usual
from tasker_health.deadline import within
from tasker_health.errors import CheckDegraded, CheckFailed, ConfigurationError
from tasker_health.loading import load_settings
from tasker_health.model import Reason

PATIENCE_SECONDS = 30


async def outcome(check) -> str:
    """Return `ok`, or how *check* fails: `degraded` or `error`, and the reason."""
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await check()
    except CheckDegraded as degraded:
        return f"degraded {degraded.reason}"
    except Exception as error:
        return f"error {error.reason}"
    return "ok"


class TestRabbitMq:
    """RabbitMQ."""

    @in_loop
    async def test_out_of_memory_is_degraded(self, dependencies):
        """A broker that stops publishers lets everybody in and answers; it is seen, and seen to be over."""
        server = dependencies.rabbitmq
        check = RabbitMqCheck("queue", f"amqp://{server.user}:{server.password}@127.0.0.1:{server.port}")
        assert await outcome(check) == "ok"
        server.set_memory_limit("1MB")
        try:
            ends_at = time.monotonic() + PATIENCE_SECONDS
            while (found := await outcome(check)) != "degraded refused":
                assert (found, time.monotonic() < ends_at) == ("ok", True)
            assert await outcome(check) == "degraded refused"
        finally:
            server.set_memory_limit("8GB")
        while await outcome(check) != "ok":
            assert time.monotonic() < ends_at + PATIENCE_SECONDS
        await check.close()

    @in_loop
    async def test_one_who_may_not_publish_is_well(self, dependencies):
        """An alarm would not stop it; it is asked for its queue."""
        server = dependencies.rabbitmq
        url = f"amqp://{server.reader}:{server.password}@127.0.0.1:{server.port}"
        check = RabbitMqCheck("queue", url, queue=server.queue)
        assert [await outcome(check) for _ in range(3)] == ["ok"] * 3
        assert held(server.port) == 1
        await check.close()

    @in_loop
    async def test_a_virtual_host_that_is_not_there_is_missing(self, dependencies):
        """It is named in the path, percent-encoded."""
        server = dependencies.rabbitmq
        url = f"amqp://{server.user}:{server.password}@127.0.0.1:{server.port}"
        assert await outcome(RabbitMqCheck("queue", f"{url}/nowhere")) == "error missing"
        there = RabbitMqCheck("queue", f"{url}/%2F")
        assert await outcome(there) == "ok"
        await there.close()

    @pytest.mark.parametrize("says", [rabbitmq_broker.content, rabbitmq_broker.confirms])
    @in_loop
    async def test_what_a_broker_sends_unasked_is_bounded(self, says):
        """Between runs nobody reads its answers: the connection is ended, and the next run opens another."""
        async with rabbitmq_broker.saying(says) as broker:
            check = RabbitMqCheck("queue", f"amqp://127.0.0.1:{broker.port}")
            assert await outcome(check) == "ok"
            broker.is_asked.set()
            assert await asyncio.wait_for(broker.sent, PATIENCE_SECONDS) < 15_000_000
            assert await outcome(check) == "ok"
            await check.close()

    @pytest.mark.parametrize("says", [None, rabbitmq_broker.elsewhere, rabbitmq_broker.closing])
    @in_loop
    async def test_a_connection_that_ends_between_runs_is_not_logged(self, says, caplog):
        """The next run says whether the broker is there; the client's tracebacks would be noise."""
        async with rabbitmq_broker.saying(says) as broker:
            check = RabbitMqCheck("queue", f"amqp://127.0.0.1:{broker.port}")
            assert await outcome(check) == "ok"
            broker.is_asked.set()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while check._link.is_usable:
                    await asyncio.sleep(0)
            assert await outcome(check) == "ok"
            await check.close()
        assert [record.getMessage() for record in caplog.records if record.name.startswith("aiormq")] == []


class TestRedis:
    """Redis and Valkey."""

    @in_loop
    async def test_a_replica_is_well_unless_it_must_be_written_to(self, dependencies):
        """`read_only`, only where that was asked for."""
        server = dependencies.redis
        url = server.url
        check, writable = (RedisCheck("cache_of_orders", url, require_writable=must) for must in (False, True))
        assert await outcome(writable) == "ok"
        server.ask("REPLICAOF", "127.0.0.1", "1")
        try:
            assert await outcome(writable) == "error read_only"
            assert await outcome(check) == "ok"
        finally:
            server.ask("REPLICAOF", "NO", "ONE")
        assert await outcome(writable) == "ok"
        await check.close()
        await writable.close()

    @in_loop
    async def test_tls_is_verified(self):
        """By the file that is named; who is not trusted by it is `unreachable`, and leaves no socket."""
        server = RedisServer(password=canary.secret("dependency"), authority=Authority())
        try:
            check = RedisCheck("cache_of_orders", server.url, ca_file=server.ca_file)
            assert await outcome(check) == "ok"
            await check.close()
            assert await outcome(RedisCheck("cache_of_orders", server.url)) == "error unreachable"
            assert held(server.port) == 0
        finally:
            server.end()


class TestKafka:
    """Kafka."""

    @in_loop
    async def test_the_first_broker_that_answers_is_asked(self, dependencies):
        """Of several; without a topic, whether it knows its cluster."""
        server = dependencies.kafka
        check = KafkaCheck("events", f"kafka://127.0.0.1:1,127.0.0.1:{server.port}")
        assert [await outcome(check) for _ in range(2)] == ["ok"] * 2
        assert held(server.port) == 1
        await check.close()

    @pytest.mark.parametrize("says", [kafka_broker.nothing, kafka_broker.versions])
    @in_loop
    async def test_a_broker_that_hangs_is_last_the_next_time(self, says, dependencies):
        """One deadline is lost by it, whether it hangs at the door or at the question; not all of them."""
        async with kafka_broker.answering(says) as port:
            check = KafkaCheck("events", f"kafka://127.0.0.1:{port},127.0.0.1:{dependencies.kafka.port}")
            with pytest.raises(TimeoutError):
                await within(check(), 0.3)
            assert await outcome(check) == "ok"
            assert await outcome(check) == "ok"
            await check.close()

    @in_loop
    async def test_a_broker_that_hangs_takes_its_share_of_the_deadline(self, dependencies):
        """With a deadline of the check's own the next one is asked within it."""
        async with kafka_broker.answering(kafka_broker.nothing) as port:
            url = f"kafka://127.0.0.1:{port},127.0.0.1:{dependencies.kafka.port}"
            check = KafkaCheck("events", url, timeout_seconds=2)
            await within(check(), 2)
            await check.close()

    @in_loop
    async def test_a_long_answer_is_not_decoded(self):
        """Decoding one of 4 MiB stops the event loop for a second and more."""
        async with kafka_broker.answering(kafka_broker.many_topics) as port:
            assert await outcome(KafkaCheck("events", f"kafka://127.0.0.1:{port}")) == "error invalid"

    @in_loop
    async def test_a_broker_without_sasl_is_not_told_a_password(self, dependencies):
        """It cannot be signed in to: `invalid`."""
        secret = canary.secret("kafka")
        check = KafkaCheck("events", f"kafka://orders:{secret}@127.0.0.1:{dependencies.kafka.port}")
        assert await outcome(check) == "error invalid"

    @pytest.mark.parametrize(
        ("topics", "expected"),
        [
            ([], "error missing"),
            ([(0, "orders", False, [(0, 0, 1, [1], [1], [])])], "ok"),
            ([(3, "orders", False, [])], "error missing"),
            ([(29, "orders", False, [])], "error authentication_failed"),
            ([(5, "orders", False, [])], "error unreachable"),
            ([(0, "orders", False, [(5, 0, -1, [1], [], [])])], "error unreachable"),
            ([(0, "orders", False, [(5, 0, -1, [1], [], []), (0, 1, 1, [1], [1], [])])], "degraded unreachable"),
        ],
    )
    @in_loop
    async def test_what_is_said_of_a_topic_decides(self, topics, expected):
        """Answers that this machine's server does not give, as aiokafka decodes them."""
        check = KafkaCheck("events", "kafka://127.0.0.1:1", topic="orders")

        async def judge():
            check._require_topic("orders", topics)

        assert await outcome(judge) == expected


class TestHttp:
    """Any service over HTTP."""

    @pytest.mark.parametrize(
        ("path", "options", "expected"),
        [
            ("", {}, "ok"),
            ("204", {}, "ok"),
            ("299", {}, "ok"),  # a body of 50 MB
            ("302", {}, "error invalid"),
            ("302", {"expected_status": [302]}, "ok"),
            ("200", {"expected_status": [204]}, "error error"),
            ("403", {}, "error authentication_failed"),
            ("404", {}, "error missing"),
            ("503", {}, "error error"),
            ("200", {"method": "HEAD"}, "ok"),
        ],
    )
    @in_loop
    async def test_the_status_decides(self, dependencies, path, options, expected):
        """200 to 299 unless something else is expected; a redirect is not followed."""
        port = dependencies.http.port
        assert await outcome(HttpCheck("payments", f"http://127.0.0.1:{port}/{path}", **options)) == expected
        assert held(port) == 0

    @in_loop
    async def test_the_environment_is_not_asked(self, dependencies, monkeypatch):
        """Neither for a proxy; one that is named is used."""
        port = dependencies.http.port
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
        assert await outcome(HttpCheck("payments", f"http://127.0.0.1:{port}/")) == "ok"
        through = HttpCheck("payments", f"http://127.0.0.1:{port}/", proxy="http://127.0.0.1:1")
        assert await outcome(through) == "error refused"

    @pytest.mark.parametrize("trusted", [True, False])
    @in_loop
    async def test_tls_is_verified(self, tmp_path, trusted):
        """By the file that is named, or by the machine's; a handshake that hangs is ended with its socket."""
        authority = Authority()
        (tmp_path / "ca.pem").write_bytes(authority.pem)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.pair().write(tmp_path))

        answered = asyncio.Event()

        async def answer(reader, writer):
            with contextlib.suppress(OSError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
                await writer.drain()
            writer.close()
            answered.set()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        check = HttpCheck(
            "payments", f"https://127.0.0.1:{port}/", ca_file=str(tmp_path / "ca.pem") if trusted else None
        )
        assert await outcome(check) == ("ok" if trusted else "error unreachable")
        assert held(port) == 0
        if trusted:
            await answered.wait()
        server.close()
        await asyncio.sleep(0)

    @in_loop
    async def test_a_body_without_end_is_not_read_to_its_end(self):
        """Its status has said that it is well, and 64 KiB are enough."""
        sent = 0

        async def answer(reader, writer):
            nonlocal sent
            with contextlib.suppress(OSError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
                while True:
                    writer.write(b"x" * 65536)
                    await writer.drain()
                    sent += 65536
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        assert await outcome(HttpCheck("payments", f"http://127.0.0.1:{port}/")) == "ok"
        assert sent < 100_000_000
        assert held(port) == 0
        server.close()
        await asyncio.sleep(0)


OVER_TLS = {
    "http": lambda at, ca: HttpCheck("it", f"https://{at}/", ca_file=ca),
    "redis": lambda at, ca: RedisCheck("it", f"rediss://{at}", ca_file=ca),
    "rabbitmq": lambda at, ca: RabbitMqCheck("it", f"amqps://{at}", ca_file=ca),
    "kafka": lambda at, ca: KafkaCheck("it", f"kafkas://{at}", ca_file=ca),
}


@pytest.fixture
def silent(tmp_path):
    """A server that shakes hands over TLS and says nothing more; its context, and the file that it is trusted by."""
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.pair().write(tmp_path))
    return context, str(tmp_path / "ca.pem")


class TestTls:
    """Kinds that speak TLS, to a server that hangs."""

    @pytest.mark.parametrize("kind", OVER_TLS)
    @in_loop
    async def test_a_handshake_that_hangs_leaves_no_socket(self, kind):
        """Cancelled in the middle of it, with a server that accepts and says nothing."""
        with FaultyProxy(1) as proxy:
            proxy.set("blackhole")
            asking = asyncio.ensure_future(OVER_TLS[kind](f"127.0.0.1:{proxy.port}", None)())
            while not proxy.accepted:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            await self._cancelled(asking, proxy.port)

    @pytest.mark.parametrize("kind", OVER_TLS)
    @in_loop
    async def test_a_goodbye_over_tls_is_not_waited_for(self, kind, silent):
        """Cancelled after the handshake: a server that hangs would not say its part of the goodbye."""
        context, ca_file = silent
        shaken, over = asyncio.Event(), asyncio.Event()

        async def hang(_reader, writer):
            writer.transport.pause_reading()
            shaken.set()
            await over.wait()
            writer.transport.abort()

        server = await asyncio.start_server(hang, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        asking = asyncio.ensure_future(OVER_TLS[kind](f"127.0.0.1:{port}", ca_file)())
        await shaken.wait()
        await asyncio.sleep(0.05)
        await self._cancelled(asking, port)
        over.set()
        server.close()
        await asyncio.sleep(0.01)

    async def _cancelled(self, asking: asyncio.Future, port: int) -> None:
        """Cancel *asking*; pass when no socket to *port* is left, long before asyncio's 30 s for a goodbye are over."""
        asking.cancel()
        ends_at = time.monotonic() + 10
        while held(port) or not asking.done():
            assert time.monotonic() < ends_at
            await asyncio.sleep(0.01)


class TestS3:
    """S3."""

    @in_loop
    async def test_credentials_are_found_as_boto3_finds_them(self, dependencies, monkeypatch, tmp_path):
        """In the environment; where there are none it is `authentication_failed`."""
        server = dependencies.seaweed
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name, raising=False)
        assert await outcome(S3Check("files", server.bucket, endpoint=server.endpoint)) == (
            "error authentication_failed"
        )
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", server.access_key_id)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", server.password)
        assert await outcome(S3Check("files", server.bucket, endpoint=server.endpoint)) == "ok"

    @in_loop
    async def test_who_we_are_may_take_long_to_find_out(self, dependencies, monkeypatch):
        """A thread that hangs at that is waited for by all runs, and is one."""
        release = threading.Event()
        check = S3Check("files", "orders", endpoint="http://127.0.0.1:1")
        monkeypatch.setattr(check, "_sign", lambda: release.wait(PATIENCE_SECONDS))
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await check()
        assert sum("check-files" in thread.name for thread in threading.enumerate()) == 1
        release.set()


class TestSqlAlchemy:
    """Databases that the application has an engine for."""

    @in_loop
    async def test_a_pool_that_has_lent_everything_is_degraded(self, dependencies):
        """The database is asked on a connection of its own all the same."""
        url = dependencies.postgres.url.replace("postgresql", "postgresql+psycopg")
        engine = sa.create_engine(url, pool_size=1, max_overflow=1)
        check = SqlAlchemyCheck("orders_db", engine)
        with engine.connect():
            assert await outcome(check) == "ok"
            with engine.connect():
                assert await outcome(check) == "degraded pool_exhausted"
                assert engine.pool.checkedout() == 2
        assert await outcome(check) == "ok"
        await check.close()
        engine.dispose()

    def test_an_engine_is_usual_when_its_url_says_all(self, tmp_path):
        """`connect_args`, a `creator` and `do_connect` are what a URL does not say."""
        url = f"sqlite:///{tmp_path}/app.sqlite"
        listening = sa.create_engine(url)
        sa.event.listen(listening, "do_connect", lambda *_: None)
        unusual = [
            sa.create_engine(url, connect_args={"timeout": 3}),
            sa.create_engine(url, creator=lambda: sqlite3.connect(tmp_path / "app.sqlite")),
            create_async_engine("postgresql+asyncpg://h/x", connect_args={"ssl": True}),
            listening,
        ]
        usual = [
            sa.create_engine(url),
            create_async_engine("postgresql+asyncpg://u:p@h/x"),
            sa.create_engine("postgresql+psycopg://u:p@h/x?connect_timeout=3", pool_size=3),
            create_async_engine("mysql+aiomysql://u:p@h/x"),
        ]
        assert [is_usual(engine) for engine in unusual] == [False] * 4
        assert [is_usual(engine) for engine in usual] == [True] * 4

    @in_loop
    async def test_a_creator_of_the_applications_is_used(self, tmp_path):
        """In a thread, once a run, and what it has opened is closed."""
        opened = []

        def create():
            opened.append(sqlite3.connect(tmp_path / "app.sqlite"))
            return opened[-1]

        engine = sa.create_engine("sqlite://", creator=create, poolclass=sa.QueuePool)
        check = SqlAlchemyCheck("orders_db", engine)
        assert isinstance(check._asked, OwnEngine)
        assert [await outcome(check) for _ in range(2)] == ["ok"] * 2
        assert len(opened) == 2
        for connection in opened:
            with pytest.raises(sqlite3.ProgrammingError, match=r"closed|thread"):
                connection.execute("SELECT 1")


class TestSettings:
    """What users write."""

    def test_by_settings_alone(self, dependencies):
        """Every kind, from the environment as `serve` reads it; optional unless it is said to be critical."""
        rabbit, seaweed = dependencies.rabbitmq, dependencies.seaweed
        variables = {
            "QUEUE__KIND": "rabbitmq",
            "QUEUE__URL": f"amqp://{rabbit.user}:{rabbit.password}@127.0.0.1:{rabbit.port}",
            "QUEUE__QUEUE": rabbit.queue,
            "SESSIONS__KIND": "redis",
            "SESSIONS__URL": dependencies.redis.url,
            "SESSIONS__CRITICAL": "true",
            "EVENTS__KIND": "kafka",
            "EVENTS__URL": f"kafka://127.0.0.1:{dependencies.kafka.port}",
            "FILES__KIND": "s3",
            "FILES__URL": seaweed.endpoint,
            "FILES__BUCKET": seaweed.bucket,
            "FILES__ACCESS_KEY_ID": seaweed.access_key_id,
            "FILES__SECRET_ACCESS_KEY": seaweed.password,
            "PAYMENTS__KIND": "http",
            "PAYMENTS__URL": f"http://127.0.0.1:{dependencies.http.port}/401",
            "PAYMENTS__HEADERS__X_API_KEY": dependencies.http.password,
            "PAYMENTS__EXPECTED_STATUS": "200,204",
            "ORDERS__KIND": "database",
            "ORDERS__URL": dependencies.postgres.url,
            "ORDERS__GROUPS": "storage",
            "AWAY__KIND": "http",
            "AWAY__URL": "http://127.0.0.1:1/",
        }
        settings = load_settings(environ={f"TASKER_CHECKS__{name}": value for name, value in variables.items()})
        slow = settings.health.model_copy(update={"readiness_timeout_seconds": PATIENCE_SECONDS})
        health = Health(settings.model_copy(update={"health": slow}))

        async def play():
            answer = await health.ready()
            group = await health.ready("storage")
            await health.stop()
            return answer, group

        answer, group = asyncio.run(play())
        found = {name: str(result.status) for name, result in answer.checks.items()}
        well = dict.fromkeys(("queue", "sessions", "events", "files", "payments", "orders", "configuration"), "ok")
        assert found == {**well, "away": "error"}
        assert (answer.ready, answer.degraded_checks, list(group.checks)) == (True, ["away"], ["orders"])

    @pytest.mark.parametrize(
        ("variables", "words"),
        [
            ({"KIND": "redis"}, r"checks\.it\.url = not set"),
            ({"KIND": "s3"}, r"checks\.it\.bucket = not set"),
            ({"KIND": "redis", "URL": "redis://h", "TOPIC": "x"}, "TASKER_CHECKS__IT__TOPIC = 'x': not of kind redis"),
            ({"KIND": "redis", "URL": "canary://u:canary@h"}, "check it: url .*redis://"),
            ({"KIND": "redis", "URL": "redis+sentinel://h:1/name"}, "not sentinels"),
            ({"KIND": "rabbitmq", "URL": "amqp://u:canary@h:port/"}, "check it: url amqp://.*: write it as amqp"),
            ({"KIND": "rabbitmq", "URL": "amqp://h,g"}, "one host"),
            ({"KIND": "kafka", "URL": "kafka://h/topic-canary"}, "write it as kafka"),
            ({"KIND": "kafka", "URL": "kafka://h", "MECHANISM": "MD5"}, "TASKER_CHECKS__IT__MECHANISM"),
            ({"KIND": "http", "URL": "https://u:canary@h/"}, "credentials go into a header"),
            ({"KIND": "http", "URL": "ftp://h/canary"}, "check it: url"),
            ({"KIND": "http", "URL": "http://h/", "METHOD": "DELETE"}, "TASKER_CHECKS__IT__METHOD"),
            ({"KIND": "http", "URL": "http://h/", "EXPECTED_STATUS": "ok"}, "codes such as 200,204"),
            ({"KIND": "http", "URL": "http://h/", "HEADERS__A": "canary\r\nb: c"}, "printable ASCII"),
            ({"KIND": "http", "URL": "https://h/", "CA_FILE": "/nowhere.pem"}, "/nowhere.pem"),
            ({"KIND": "s3", "BUCKET": "b", "ACCESS_KEY_ID": "a"}, "give both, or none"),
            ({"KIND": "database", "URL": "nothing://u:canary@h/x"}, "not installed"),
            ({"KIND": "smtp", "URL": "canary"}, "TASKER_CHECKS__IT__KIND"),
        ],
    )
    def test_what_cannot_work_is_one_line_without_a_secret(self, variables, words):
        """It is said at start, with what to write in its place."""
        environ = {f"TASKER_CHECKS__IT__{name}": value for name, value in variables.items()}
        with pytest.raises(ConfigurationError, match=words) as caught:
            Health(load_settings(environ=environ))
        assert "canary" not in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_client_that_is_missing_is_one_line_with_its_extra(self):
        """With what to install."""
        with pytest.raises(ConfigurationError) as caught:
            client_of("queue", "no_such_client", "no-such-client", "rabbitmq")
        assert str(caught.value) == (
            "check queue: no-such-client is not installed; pip install 'tasker-health[rabbitmq]'"
        )

    def test_what_is_not_named_is_not_imported(self):
        """No client of a dependency is loaded by a service that has none."""
        code = (
            "import sys; from tasker_health import Health; from tasker_health.loading import load_settings;"
            "Health(load_settings(environ={}));"
            "print([name for name in ('aiormq', 'aiokafka', 'boto3', 'redis', 'httpx') if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.stdout == "[]\n", done.stderr


def test_a_fault_tells_no_secret():
    """What is known to be secret is left out of what goes to the log."""
    check = HttpCheck("payments", "http://127.0.0.1:1/", headers={"x-api-key": "canary-of-a-header"})
    fault = check._failure(RuntimeError("it said canary-of-a-header"))
    assert isinstance(fault, CheckFailed)
    assert (fault.reason, str(fault)) == (Reason.ERROR, "RuntimeError: it said ***")
