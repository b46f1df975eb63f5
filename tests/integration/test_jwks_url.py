"""Keys at an HTTPS address: a real server over TLS that rotates, hangs, fails and lies."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import threading
import time

import pytest

from certificates import Authority
from fakes import FakeClock, settings_of
from issuer import asking, document, issuer, jwk, token
from tasker_health.access.faults import AccessFault
from tasker_health.access.gate import Gate
from tasker_health.access.jwt import JwtAuthenticator
from tasker_health.access.key_refresh import KeysFault
from tasker_health.errors import AuthenticationError

COOLDOWN_SECONDS, MAX_AGE_SECONDS = 30, 600
OLD, NEW = jwk("RS256", "old"), jwk("RS256", "new", 1)


class Asked:
    """An authenticator of the issuer's address, on one event loop, by a clock that the test moves.

    Attributes:
        clock: What its keys grow old by.
    """

    def __init__(self, url, trusted, *, timeout_seconds=60):
        group = {"jwks_url": url, "jwks_ca_file": trusted, "jwks_max_age_seconds": MAX_AGE_SECONDS}
        self.settings = settings_of(
            health={"status_requires_authentication": True},
            auth={
                "authentication_enabled": True,
                "authenticator_class": "jwt",
                "timeout_seconds": timeout_seconds,
                "jwt": {**group, "jwks_cooldown_seconds": COOLDOWN_SECONDS},
            },
        )
        self.authenticator = JwtAuthenticator.from_settings(self.settings.auth)
        self.clock = FakeClock()
        self.authenticator._keys._monotonic = self.clock.monotonic
        self.runner = asyncio.Runner()

    def outcome(self, value):
        """Return what becomes of the token *value*: the code of the answer."""
        return self.runner.run(self.ask(value))

    async def ask(self, value):
        """Return the same, on the loop."""
        try:
            await self.authenticator.authenticate(asking(value))
        except AuthenticationError:
            return 401
        except KeysFault:
            return 500
        return 200

    def settle(self):
        """Wait for a reading that was begun in the background."""
        self.runner.run(asyncio.wait({self.authenticator._keys._task}))


@pytest.fixture
def running(tmp_path):
    """An issuer that serves its old key, and the file of the authority that it is trusted by."""
    with issuer(tmp_path) as (server, trusted):
        server.serve(OLD)
        yield server, trusted


@pytest.fixture
def server(running):
    """The issuer."""
    return running[0]


@pytest.fixture
def asked(running):
    """An authenticator of its address."""
    made = Asked(running[0].url, running[1])
    yield made
    made.runner.close()


def test_keys_are_fetched_once_and_serve_everybody(asked, server):
    """Nothing is fetched before it is needed; one fetch serves every token of a known key."""
    assert server.fetches == 0
    assert [asked.outcome(token(kid="old")) for _ in range(20)] == [200] * 20
    assert server.fetches == 1
    assert asked.outcome(token(kid="old", number=1)) == 401
    assert server.fetches == 1


def test_a_rotated_key_passes_after_one_refresh_and_the_removed_one_is_refused(asked, server):
    """The new `kid` makes the set be fetched; what is not in it is out, even if it was remembered."""
    old, new = token(kid="old"), token(kid="new", number=1)
    assert asked.outcome(old) == 200
    server.serve(OLD, NEW)
    asked.clock.move(COOLDOWN_SECONDS)
    assert (asked.outcome(new), server.fetches) == (200, 2)
    assert asked.outcome(old) == 200
    server.serve(NEW)
    asked.clock.move(MAX_AGE_SECONDS + 1)
    assert asked.outcome(old) == 200  # the old keys serve while the new ones are fetched
    asked.settle()
    assert (asked.outcome(old), asked.outcome(new), server.fetches) == (401, 200, 3)


def test_a_flood_of_unknown_keys_costs_one_fetch_a_cooldown(asked, server):
    """However many names are made up: 401 for all of them, and the issuer is not attacked through us."""
    assert asked.outcome(token(kid="old")) == 200
    for fetches in (2, 3):
        asked.clock.move(COOLDOWN_SECONDS)
        assert {asked.outcome(token(kid=f"made-up-{number}")) for number in range(200)} == {401}
        assert server.fetches == fetches


def test_a_flood_while_the_issuer_hangs_holds_up_nobody_who_is_known(asked, server):
    """Unknown names wait for the one fetch; tokens of known keys, fresh or remembered, never do."""
    assert asked.outcome(token(kid="old")) == 200
    asked.clock.move(COOLDOWN_SECONDS)
    server.open.clear()

    async def run():
        flood = [asyncio.ensure_future(asked.ask(token(kid=f"made-up-{number}"))) for number in range(100)]
        await asyncio.sleep(0)
        began = time.monotonic()
        assert [await asked.ask(token(kid="old")) for _ in range(20)] == [200] * 20
        assert time.monotonic() - began < 10
        assert not any(each.done() for each in flood)
        server.open.set()
        assert set(await asyncio.gather(*flood)) == {401}

    asked.runner.run(run())
    assert server.fetches == 2


LIES = {
    "garbage": b"\x00\xff" * 50,
    "HTML": b"<!doctype html><title>Welcome</title>",
    "another document": b'{"issuer": "https://issuer.example"}',
    "no key for us": document(jwk("ES256", "other kind")),
    "too many keys": document(*[OLD] * 101),
    "too long": b'{"keys": [' + b" " * 1_100_000 + b"]}",
    "too deep": b'{"keys": ' + b"[" * 900_000,
    "nothing": b"",
}


@pytest.mark.parametrize("lie", LIES)
def test_what_is_no_set_of_keys_is_our_fault_at_first_and_nobodys_later(lie, asked, server):
    """Without keys 500, not 401: no caller could do better. With keys, those serve on."""
    server.answer = LIES[lie]
    assert [asked.outcome(token(kid="old")) for _ in range(5)] == [500] * 5
    assert server.fetches == 1
    asked.clock.move(COOLDOWN_SECONDS)
    server.serve(OLD)
    assert asked.outcome(token(kid="old")) == 200
    server.answer = LIES[lie]
    asked.clock.move(COOLDOWN_SECONDS)
    assert asked.outcome(token(kid="new", number=1)) == 401
    assert server.fetches == 3
    assert asked.outcome(token(kid="old")) == (401 if lie == "no key for us" else 200)


def test_a_malformed_token_is_refused_while_there_are_no_keys(asked, server):
    """It is the caller's fault still, and causes no fetch."""
    for value in ("opaque", "a.b.c", token("HS256"), token(jku=server.url)):
        assert asked.outcome(value) == 401
    assert server.fetches == 0


@pytest.mark.parametrize("status", [204, 301, 302, 307, 401, 404, 500, 503])
def test_only_200_is_an_answer(status, asked, server):
    """A redirect is not followed, wherever it leads."""
    server.status = status
    server.headers = {"location": server.url + "?elsewhere"}
    assert asked.outcome(token(kid="old")) == 500
    assert server.paths == ["/jwks.json"]


def test_a_compressed_answer_is_none(asked, server):
    """A few bytes would be gigabytes."""
    server.answer = gzip.compress(document(OLD))
    server.headers = {"content-encoding": "gzip"}
    assert asked.outcome(token(kid="old")) == 500


def test_a_long_answer_is_not_read_to_its_end(asked, server):
    """Whatever its length claims to be."""
    server.answer = b"[" * 20_000_000
    server.headers = {"transfer-encoding": "identity"}
    assert asked.outcome(token(kid="old")) == 500


def test_nothing_leaves_with_the_fetch(asked, server, caplog):
    """Neither the caller's token nor a cookie; and no log line has the token."""
    value = token(kid="old")
    with caplog.at_level(logging.DEBUG):
        assert asked.outcome(value) == 200
    assert value not in caplog.text
    assert server.paths == ["/jwks.json"]


def test_a_server_without_a_trusted_certificate_gives_no_keys(server, tmp_path):
    """Another authority's word does not count, nor does the system's list have this one."""
    other = tmp_path / "other.pem"
    other.write_bytes(Authority("Another").pem)
    for trusted in (str(other), None):
        asked = Asked(server.url, trusted)
        assert asked.outcome(token(kid="old")) == 500
        asked.runner.close()
    assert server.fetches == 0


def test_a_server_of_another_name_gives_no_keys(running):
    """The certificate must name the host of the address."""
    server, trusted = running
    asked = Asked(server.url.replace("127.0.0.1", "127.0.0.2"), trusted)
    assert asked.outcome(token(kid="old")) == 500
    asked.runner.close()
    assert server.fetches == 0


@pytest.mark.parametrize("how", ["hangs", "trickles its answer", "is not there", "is mute", "trickles TLS"])
def test_the_gate_answers_in_time_and_turns_the_check_when_there_were_never_keys(how, running):
    """A first fetch that cannot end: a fault with words for the log, within the deadline, whoever asks."""
    server, trusted = running
    with Unfriendly(how) as other:
        url = server.url if how in {"hangs", "trickles its answer"} else f"https://127.0.0.1:{other.port}/"
        server.slow = how == "trickles its answer"
        server.headers = {"content-length": "1000000"}
        if how == "hangs":
            server.open.clear()
        asked = Asked(url, trusted, timeout_seconds=1)
        gate = Gate(asked.settings)
        for _ in range(2):
            began = time.monotonic()
            with pytest.raises(AccessFault):
                asked.runner.run(gate.admit(asking(token(kid="old"))))
            assert time.monotonic() - began < 10
        (problem,) = gate.problems()
        assert "KeysFault" in problem
        assert "no keys to verify tokens with, from https://127.0.0.1" in problem
        asked.runner.close()


class Unfriendly:
    """A listener that does not speak TLS: it says nothing, or one byte now and then, for as long as one listens."""

    def __init__(self, how):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.how = how
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.serve)

    def __enter__(self):
        if self.how == "is not there":
            self.listener.close()
        else:
            self.thread.start()
        return self

    def __exit__(self, *exception):
        self.ended.set()
        if self.how != "is not there":
            socket.create_connection(("127.0.0.1", self.port)).close()
            self.thread.join()
            self.listener.close()

    def serve(self):
        """Accept, and be unfriendly."""
        kept = []
        while not self.ended.is_set():
            connection, _ = self.listener.accept()
            kept.append(connection)
            if self.how == "trickles TLS" and not self.ended.is_set():
                try:
                    # The head of a TLS record of 16 KiB, and then its bytes, one by one.
                    connection.sendall(b"\x16\x03\x03\x40\x00")
                    while not self.ended.wait(0.05):
                        connection.sendall(b"\x02")
                except OSError:
                    continue
        for connection in kept:
            connection.close()
