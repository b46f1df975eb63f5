"""What a URL of Redis or Valkey says, and how one that says nothing we know is refused."""

from __future__ import annotations

import pytest

import canary
from tasker_health.cache.redis_url import Address, Credentials, address_of
from tasker_health.errors import SettingsError

NOBODY = Credentials()


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://host", Address((("host", 6379),), None, 0, False, NOBODY, NOBODY)),
        ("valkey://host:1/", Address((("host", 1),), None, 0, False, NOBODY, NOBODY)),
        ("redis://[::1]:6380/3", Address((("::1", 6380),), None, 3, False, NOBODY, NOBODY)),
        (
            "rediss://:word@10.0.0.1/15",
            Address((("10.0.0.1", 6379),), None, 15, True, Credentials(None, "word"), NOBODY),
        ),
        ("valkeys://me:a%40b%2Fc@h", Address((("h", 6379),), None, 0, True, Credentials("me", "a@b/c"), NOBODY)),
        ("redis://me:a@b:c/d@h", Address((("h", 6379),), None, 0, False, Credentials("me", "a@b:c/d"), NOBODY)),
        (
            "redis+sentinel://one,two:5,[::1]/tasker",
            Address((("one", 26379), ("two", 5), ("::1", 26379)), "tasker", 0, False, NOBODY, NOBODY),
        ),
        (
            "valkeys+sentinel://me:word@one/my%20tasker/2?sentinel_username=s&sentinel_password=p%26q",
            Address((("one", 26379),), "my tasker", 2, True, Credentials("me", "word"), Credentials("s", "p&q")),
        ),
    ],
)
def test_what_a_url_says(url, address):
    """Hosts, service, database, TLS, and who we are; what is not said has its default."""
    assert address_of(url) == address


_BAD = [
    *("redis://", "redis:///0", "redis://h:0", "redis://h:65536", "redis://h:x", "redis://h/x", "redis://h/-1"),
    *("redis://h/0/1", "redis://h,i", "redis://h?ssl_cert_reqs=none", "redis://h#x", "redis://h h"),
    *("redis://me@h", "redis://[::1", "redis://h/\u0661", "redis://h:\u0661", "redis://:%ff@h", "redis://h\n"),
    *("redis+sentinel://h", "redis+sentinel://h/", "redis+sentinel:///s", "redis+sentinel://h,/s"),
    *("redis+sentinel://h/s/x", "redis+sentinel://h/s/0/1", "redis+sentinel://h/s?password=x"),
    *("redis+sentinel://h/s?sentinel_username=x", "redis+sentinel://h/s?sentinel_password=a&sentinel_password=b"),
    *("http://h", "redis+cluster://h", "unix:///tmp/redis", "redis", ""),
]


@pytest.mark.parametrize("url", _BAD)
def test_what_is_none_is_refused_in_one_line(url):
    """With the key, the scheme alone, and what is allowed."""
    with pytest.raises(SettingsError) as raised:
        address_of(url)
    words = str(raised.value)
    scheme = url.partition("://")[0]
    assert words.startswith("cache.url = ")
    assert "\n" not in words
    assert scheme in words or "redis://" in words


@pytest.mark.parametrize(
    "form", ["redis://me:{}@h:x", "redis://{}@h", "{}://h", "redis+sentinel://h/s?password={}", "{}"]
)
def test_the_refusal_holds_no_secret(form):
    """Wherever in the URL it stands, even in the place of the scheme."""
    with pytest.raises(SettingsError) as raised:
        address_of(form.format(canary.secret("url")))
    canary.look("a refusal", str(raised.value), repr(raised.value), repr(raised.value.__context__))
    assert "canary" not in str(raised.value)


def test_an_address_hides_its_passwords():
    """What a debugger shows of it holds none."""
    url = f"redis+sentinel://me:{canary.secret('cache')}@h/s?sentinel_password={canary.secret('sentinel')}"
    assert "canary" not in repr(address_of(url))
