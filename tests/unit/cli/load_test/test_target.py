"""Where load may be put: on this machine, by every address that a name has."""

from __future__ import annotations

import asyncio
import socket

import pytest

import canary
from tasker_health.cli.load_test.target import Base, addresses_of, base_of
from tasker_health.errors import ConfigurationError
from tasker_health.settings import ServerSettings, Settings


def resolving(monkeypatch, *addresses):
    """Have every name mean *addresses*."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 80)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8080/tasker/health", Base(False, "127.0.0.1", 8080, "/tasker/health")),
        ("https://localhost/tasker/health/", Base(True, "localhost", 443, "/tasker/health")),
        ("http://[::1]:81/x", Base(False, "::1", 81, "/x")),
        (None, Base(False, "127.0.0.1", 8080, "/tasker/health")),
    ],
)
def test_a_url_is_the_base_of_the_endpoints(url, expected):
    """Without one it is the server of the settings."""
    assert base_of(url, Settings()) == expected


def test_a_server_on_all_addresses_is_asked_on_this_machine():
    """0.0.0.0 is where it listens, not where one asks."""
    settings = Settings(server=ServerSettings(host="0.0.0.0", port=81, prefix="/shop"))
    assert base_of(None, settings).url == "http://127.0.0.1:81/shop/health"
    with pytest.raises(ConfigurationError, match=r"server\.port = 0"):
        base_of(None, Settings(server=ServerSettings(port=0)))


@pytest.mark.parametrize(
    "url",
    [
        *("", "8080", "ftp://127.0.0.1/x", "http:///x", "http://127.0.0.1:0/x", "http://127.0.0.1:99999/x"),
        *("http://[::1/x", "http://127.0.0.1/x?y=1", "http://127.0.0.1/x#y", "http://127.0.0.1/a b"),
        *("http://127.0.0.1/tasker/health/live", "http://127.0.0.1/\r\nX: y"),
    ],
)
def test_what_is_no_base_is_refused_in_one_line(url):
    """With what is allowed."""
    with pytest.raises(ConfigurationError, match="such as http") as caught:
        base_of(url, Settings())
    assert "\n" not in str(caught.value)


def test_a_password_in_the_url_is_refused_and_not_shown():
    """It would stand in every report."""
    with pytest.raises(ConfigurationError) as caught:
        base_of("http://ops:hidden-word@127.0.0.1/x", Settings())
    assert "hidden-word" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        *("http://ops:{}@127.0.0.1:port/x", "http://ops:{}@[::1/x", "http://ops:a/{}@127.0.0.1/x", "ftp://o:{}@[::1]/"),
        *("ftp://127.0.0.1/x?token={}", "http://127.0.0.1:0/x#{}", "http://127.0.0.1:port/x?token={}"),
    ],
)
def test_a_url_that_is_none_is_told_without_its_secrets(url):
    """A password with a slash makes it none, and so does a port that is a word."""
    secret = canary.secret("url")
    with pytest.raises(ConfigurationError) as caught:
        base_of(url.format(secret), Settings())
    assert secret not in str(caught.value)


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("127.0.0.1", "::1"), ("127.9.9.9",), ("::ffff:127.0.0.1",)])
def test_a_name_of_this_machine_may_be_asked(monkeypatch, addresses):
    """All of its addresses are loopback, and those are what is asked."""
    resolving(monkeypatch, *addresses)
    assert asyncio.run(addresses_of(Base(False, "here", 80, ""), is_own=False)) == list(addresses)


@pytest.mark.parametrize(
    "addresses",
    [
        *(("192.0.2.1",), ("127.0.0.1", "192.0.2.1"), ("::1", "2001:db8::1"), ("10.0.0.1",), ("0.0.0.0",)),
        *(("::ffff:192.0.2.1",), ("169.254.169.254",), ("fe80::1%eth0",)),
    ],
)
def test_a_name_that_also_means_another_machine_is_refused(monkeypatch, addresses):
    """One address elsewhere is enough; whoever owns that host says so."""
    resolving(monkeypatch, *addresses)
    base = Base(False, "there.example", 80, "")
    with pytest.raises(ConfigurationError, match="--i-own-this-host"):
        asyncio.run(addresses_of(base, is_own=False))
    assert asyncio.run(addresses_of(base, is_own=True)) == list(addresses)
