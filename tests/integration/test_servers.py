"""The servers of the tests do what the tests of everything else rely on."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest
import sqlalchemy as sa

from servers import FaultyProxy, Server, sync_url

KINDS = ["own_postgres", "own_mariadb"]


def _ask(url: str, timeout_seconds: int = 10) -> int:
    limits = {"connect_timeout": timeout_seconds}
    if url.startswith("mariadb"):
        limits["read_timeout"] = timeout_seconds
    engine = sa.create_engine(sync_url(url), poolclass=sa.NullPool, connect_args=limits)
    with engine.connect() as connection:
        return connection.execute(sa.text("SELECT 41 + 1")).scalar_one()


@pytest.fixture(params=KINDS)
def own_server(request: pytest.FixtureRequest) -> Server:
    """A server of the test's own, of each kind."""
    return request.getfixturevalue(request.param)


def test_server_stops_dies_and_returns_on_its_port(own_server: Server):
    """A stopped or killed server refuses; started again, it answers at the same address with its data."""
    url = own_server.new_database()
    own_server.execute("CREATE TABLE kept (id integer)", database=sa.make_url(url).database)
    for end in (own_server.stop, own_server.kill):
        end()
        assert not own_server.running
        with pytest.raises(sa.exc.OperationalError):
            _ask(url)
        own_server.start()
        assert _ask(url) == 42
    own_server.execute("SELECT * FROM kept", database=sa.make_url(url).database)


def test_paused_server_answers_nobody_until_it_is_resumed(own_server: Server):
    """A paused server takes connections and says nothing, and goes on where it was."""
    own_server.pause()
    with pytest.raises(sa.exc.OperationalError):
        _ask(own_server.url, timeout_seconds=2)
    own_server.resume()
    assert _ask(own_server.url) == 42


def test_password_is_asked_for(own_server: Server):
    """A wrong password does not get in: tests of `authentication_failed` rely on it."""
    with pytest.raises(sa.exc.OperationalError):
        _ask(own_server.url_of(own_server.first_database, password="wrong"))


def test_each_test_has_an_empty_database(postgres_database: str, mariadb_database: str):
    """A fresh database has no table."""
    for url in (postgres_database, mariadb_database):
        engine = sa.create_engine(sync_url(url), poolclass=sa.NullPool)
        assert sa.inspect(engine).get_table_names() == []


@pytest.fixture
def echo_port():
    """The port of a server that sends back what it gets."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection = server.accept()[0]
                    threading.Thread(target=echo, args=[connection], daemon=True).start()

        def echo(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                while chunk := connection.recv(100):
                    connection.sendall(chunk)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def test_proxy_fails_as_its_mode_says(echo_port: int):
    """It passes, holds, resets, refuses and delays, on open and on new connections, and heals."""
    with FaultyProxy(echo_port) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 10) as client:
        client.sendall(b"a")
        assert client.recv(10) == b"a"

        proxy.set("blackhole")
        client.sendall(b"b")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(10)
        client.settimeout(10)
        proxy.set("pass")
        assert client.recv(10) == b"b"

        proxy.set("slow", delay_seconds=0.01)
        client.sendall(b"c")
        assert client.recv(10) == b"c"

        proxy.set("reset")
        with pytest.raises(ConnectionResetError):
            client.recv(10)

        proxy.set("refuse")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", proxy.port), 10)

        proxy.set("pass")
        with socket.create_connection(("127.0.0.1", proxy.port), 10) as again:
            again.sendall(b"d")
            assert again.recv(10) == b"d"
        assert proxy.accepted == 2


def test_proxy_lets_an_answer_trickle_or_cuts_it(echo_port: int):
    """One byte at a time, until the mode is another one; or half of it and then a reset."""
    with FaultyProxy(echo_port) as proxy, socket.create_connection(("127.0.0.1", proxy.port), 10) as client:
        proxy.set("trickle", delay_seconds=0.1)
        client.sendall(b"words")
        first = client.recv(5)
        assert 0 < len(first) < 5
        proxy.set("pass")
        assert first + b"".join(iter(lambda: client.recv(1), b"s")) == b"word"
        proxy.set("cut")
        client.sendall(b"more words")
        assert client.recv(10) == b"more "
        with pytest.raises(ConnectionResetError):
            client.recv(10)


def test_proxy_stands_in_for_the_server_of_a_url(postgres_database: str):
    """A URL through the proxy reaches the server behind it, with the same password."""
    with FaultyProxy(sa.make_url(postgres_database).port or 0) as proxy:
        assert _ask(proxy.url_for(postgres_database)) == 42
        assert proxy.accepted == 1
