"""The cache that the settings name: each scheme has its back end, and what cannot be is said in one line."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest
from pydantic import ValidationError

import canary
from fakes import FakeSource, facts_of, settings_of
from loop import in_loop
from tasker_health import Health, load_settings
from tasker_health.cache.chosen import chosen_cache, shared_cache
from tasker_health.cache.memory import MemoryCache
from tasker_health.clock import SystemClock
from tasker_health.errors import ConfigurationError, SettingsError
from tasker_health.settings import Settings
from tasker_health.settings.database import CACHE_SCHEMES

URLS = {
    "memory": ("memory://", "memory"),
    "sql": ("sql://", "sql"),
    "memcached": ("memcached://127.0.0.1:11211", "memcached"),
    **{scheme: (f"{scheme}://127.0.0.1:1/0", "redis") for scheme in ("redis", "rediss", "valkey", "valkeys")},
    **{
        f"{scheme}+sentinel": (f"{scheme}+sentinel://127.0.0.1:1,127.0.0.1:2/mine", "redis")
        for scheme in ("redis", "rediss", "valkey", "valkeys")
    },
}


def chosen(url: str, **changes: object):
    """Return the cache at *url*."""
    database = {} if changes.pop("without_database", False) else {"url": "sqlite:///:memory:"}
    return chosen_cache(settings_of(cache={"url": url, **changes}, database=database), SystemClock())


def test_every_scheme_is_tried_here():
    """None is allowed that has no back end."""
    assert set(URLS) == set(CACHE_SCHEMES)


@pytest.mark.parametrize("scheme", URLS)
@in_loop
async def test_every_scheme_gives_its_back_end(scheme):
    """Nothing is asked before the first question: there is nobody at these ports."""
    url, name = URLS[scheme]
    cache = chosen(url)
    assert cache.name == name
    await cache.close()


def test_memory_is_the_default():
    """Each process its own."""
    assert isinstance(chosen_cache(settings_of(), SystemClock()), MemoryCache)


def test_sql_needs_a_database():
    """It is a table in `database.url`."""
    with pytest.raises(SettingsError) as raised:
        chosen("sql://", without_database=True)
    assert str(raised.value) == "database.url = not set: set it, or choose another cache.url than sql://"


def lines_of(error: BaseException) -> list[str]:
    """Return what *error* says, which holds no secret, nor does its traceback."""
    canary.look("an error of the settings of the cache", str(error), repr(error))
    canary.look("its traceback", "".join(traceback.format_exception(error)))
    return str(error).splitlines()


SECRET = canary.secret("cache")
WRONG = [
    f"http://me:{SECRET}@cache:80",
    f"redis:me:{SECRET}@cache",
    f"Redis://me:{SECRET}@cache",
    f"me:{SECRET}@cache:6379",
    SECRET,
    "",
    f"memory://{SECRET}",
    f"sql://me:{SECRET}@database/app",
    f"redis://me:{SECRET}@",
    f"redis://me:{SECRET}@cache:port/0",
    f"redis://me:{SECRET}@cache:99999/0",
    f"redis://me:{SECRET}@cache:6379/zero",
    f"redis://me:{SECRET}@cache:6379/0/1",
    f"redis://me:{SECRET}@cache:6379/0?password={SECRET}",
    f"redis://me:{SECRET}@one:1,two:2/0",
    f"redis://me:{SECRET}@cache\n:6379/0",
    f"redis+sentinel://me:{SECRET}@cache:26379",
    f"redis+sentinel://me:{SECRET}@cache:26379/name/0?sentinel_passwort={SECRET}",
    f"memcached://me:{SECRET}@cache:port",
    f"memcached://{SECRET} @cache:1",
]


@pytest.mark.parametrize("url", WRONG, ids=lambda url: url.replace(SECRET, "***"))
def test_a_url_that_is_none_is_refused_in_one_line_without_its_secrets(url, monkeypatch, tmp_path):
    """By its key, with what is allowed; also as it is read from the environment, and before anything is asked."""
    monkeypatch.setenv("TASKER_CACHE__URL", url)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError) as raised:
        Health(load_settings())
    (line,) = lines_of(raised.value)
    assert "cache" in line.lower()
    assert ": " in line
    with pytest.raises((ConfigurationError, ValidationError)) as raised:
        chosen(url)
    canary.look("an error of the settings of the cache", "".join(traceback.format_exception(raised.value)))


def test_a_file_of_certificates_that_is_none_is_refused(tmp_path: Path):
    """Missing, a folder, or something else."""
    (tmp_path / "words.pem").write_text("words")
    for name in ("missing.pem", ".", "words.pem"):
        with pytest.raises(SettingsError, match=r"^cache\.tls_ca_file = ") as raised:
            chosen("rediss://127.0.0.1:1", tls_ca_file=str(tmp_path / name))
        assert len(lines_of(raised.value)) == 1


@pytest.mark.parametrize("scheme", sorted(set(URLS) - {"rediss", "valkeys", "rediss+sentinel", "valkeys+sentinel"}))
def test_certificates_without_tls_are_refused(scheme):
    """They look as if they protected something; the line says how to ask over TLS."""
    with pytest.raises(SettingsError, match=r"cache.tls_ca_file = 'ca.pem': .*rediss://"):
        chosen(URLS[scheme][0], tls_ca_file="ca.pem")


def test_what_the_cache_knows_of_secrets_is_in_no_repr():
    """Of the settings, of each back end, of what the fleet sees of it."""
    key = canary.secret("signing")
    for url in (
        f"redis://me:{SECRET}@127.0.0.1:1/0",
        f"rediss+sentinel://me:{SECRET}@127.0.0.1:1/name/0?sentinel_password={SECRET}",
        f"memcached://me:{SECRET}@127.0.0.1:1",
    ):
        settings = Settings.model_validate({"cache": {"url": url, "signing_key": key}})
        things = [settings, settings.cache, settings.model_dump()]
        try:
            cache = chosen_cache(settings, SystemClock())
        except ConfigurationError as error:
            things.append(error)
        else:
            shared = shared_cache(settings, cache, SystemClock())
            things += [cache, shared]
        for thing in things:
            assert SECRET not in f"{thing} {thing!r}"
            assert key not in f"{thing} {thing!r}"


@in_loop
async def test_a_cache_that_is_away_is_said_without_its_password(caplog):
    """In the log and in every answer, also for those who may see detail: the figures come from the source."""
    caplog.set_level(logging.DEBUG)
    url, key = f"redis://me:{SECRET}@127.0.0.1:1/0", canary.secret("signing")
    health = Health(settings_of(cache={"url": url, "signing_key": key}))
    health.add_source(FakeSource(facts_of(completed=77)))
    report = await health.status()
    ready = await health.ready()
    detailed = health.monitor.detailed(report)
    await health.stop()
    assert report.system_health.completed_tasks == 77
    assert ready.checks["cache"].reason == "refused"
    assert "cache redis: get (refused)" in caplog.text
    for text in (caplog.text, repr(report), repr(ready), repr(detailed), repr(health.settings)):
        assert SECRET not in text
        assert key not in text


def test_a_signing_key_that_is_short_is_refused_without_saying_it(monkeypatch, tmp_path):
    """Sixteen characters at least."""
    short = canary.watch("fifteen-signs-k")
    monkeypatch.setenv("TASKER_CACHE__SIGNING_KEY", short)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError) as raised:
        load_settings()
    (line,) = lines_of(raised.value)
    assert "SIGNING_KEY" in line.upper()
    assert short not in line
