"""`doctor cache` on real caches: what is well is said with figures, what is not with a remedy, and none in long."""

from __future__ import annotations

import json
import time

import pytest

import canary
from caches import RedisServer, ValkeyServer
from command import run
from fakes import settings_of
from loop import in_loop
from server import free_port
from tasker_health.cache.chosen import chosen_cache
from tasker_health.cli.doctor.cache import examined
from tasker_health.cli.doctor.findings import Verdict
from tasker_health.clock import SystemClock

MOST_SECONDS = 30
"""Of a whole command on a busy machine; the promise is half of it, on one that is not."""

MEASURED = ["connect", "write", "read back", "largest", "age", "lease", "expiry"]
KEY = canary.secret("signing")


def settings_for(url, **groups):
    """Return settings of a signed cache at *url*, whose answers may take as long as this machine is busy."""
    cache = {"url": url, "signing_key": KEY, "timeout_seconds": 60, **groups.pop("cache", {})}
    return settings_of(cache=cache, **groups)


async def found_of(settings):
    """Return what is found, by what was looked at."""
    findings = await examined(settings, lambda: chosen_cache(settings, SystemClock()))
    return {finding.what: finding for finding in findings}


def assert_well(found):
    """Everything was measured, and nothing is to be changed."""
    assert [what for what in found if what in MEASURED] == MEASURED
    wrong = {what: finding.measured for what, finding in found.items() if finding.verdict is Verdict.WARNING}
    assert not wrong
    assert found["write"].figures["p99_ms"] >= found["write"].figures["p50_ms"] > 0


@in_loop
async def test_redis_is_well_and_left_as_it_was(redis_server):
    """What was there stays, and of ours nothing does but what ends by itself."""
    redis_server.ask("SET", "theirs", "x")
    assert_well(await found_of(settings_for(redis_server.url)))
    keys = [key.decode() for key in redis_server.ask("KEYS", "*")]
    assert {key for key in keys if ":doctor:" not in key} == {"theirs"}
    left = {redis_server.ask("PTTL", key) for key in keys if key != "theirs"}
    left.discard(-2)  # has ended meanwhile
    assert all(0 <= milliseconds <= 30_000 for milliseconds in left)


@in_loop
async def test_valkey_is_well():
    """By its own scheme."""
    server = ValkeyServer()
    try:
        assert_well(await found_of(settings_for(server.url)))
    finally:
        server.end()


@in_loop
async def test_sentinels_lead_to_a_cache_that_is_well(sentinel_set):
    """Passwords and all; nothing of them is told."""
    assert_well(await found_of(settings_for(sentinel_set.url)))


@in_loop
async def test_tls_is_told(secure_redis):
    """And verified."""
    settings = settings_for(secure_redis.url, cache={"tls_ca_file": secure_redis.ca_file})
    found = await found_of(settings)
    assert_well(found)
    assert found["transport"].measured.startswith("TLS")


@in_loop
async def test_memcached_is_well_but_for_its_clock(memcached_server):
    """Its seconds are told, and forbid a short time to live only."""
    assert_well(await found_of(settings_for(memcached_server.url)))
    found = await found_of(settings_for(memcached_server.url, health={"cache_duration_seconds": 2}))
    assert [what for what, finding in found.items() if finding.verdict is Verdict.WARNING] == ["time to live"]


@in_loop
async def test_the_database_at_hand_is_well(postgres_database):
    """Its table is made by the first write, as the service would."""
    assert_well(await found_of(settings_for("sql://", database={"url": postgres_database})))


@in_loop
async def test_a_full_cache_says_so():
    """Redis with `noeviction` answers that it has no memory: it is asked on, and each row says so."""
    server = RedisServer(maxmemory="1kb")
    try:
        found = await found_of(settings_for(server.url))
    finally:
        server.end()
    assert found["write"].verdict is Verdict.WARNING
    assert "maxmemory" in found["write"].measured
    assert "full" in found["write"].remedy


def examine(url, *words, **variables):
    """Return the finished command, which took not too long."""
    began = time.monotonic()
    done = run("doctor", "cache", *words, TASKER_CACHE__URL=url, **variables)
    assert time.monotonic() - began < MOST_SECONDS
    return done


def test_the_command_tells_in_json_and_as_a_table(redis_server, tmp_path):
    """0 where all is well; 1, with the remedy, where entries are not signed; settings come from a file as well."""
    patient = {"TASKER_CACHE__TIMEOUT_SECONDS": "60"}
    done = examine(redis_server.url, "--json", TASKER_CACHE__SIGNING_KEY=KEY, **patient)
    found = {finding["what"]: finding for finding in json.loads(done.stdout)}
    assert (done.returncode, found["lease"]["verdict"]) == (0, "ok")
    (tmp_path / "health.toml").write_text(f'[cache]\nurl = "{redis_server.url}"\n')
    done = run("doctor", "cache", "--config", str(tmp_path / "health.toml"), **patient)
    assert (done.returncode, "cache.signing_key" in done.stdout) == (1, True)
    assert run("doctor", "cache").returncode == 0  # memory


def assert_not_asked(done, reason):
    """It ended with 2 and one line with the reason."""
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"cannot be asked: {reason}: " in done.stderr


def test_a_paused_server_costs_seconds(redis_server):
    """And is said to hang."""
    redis_server.pause()
    assert_not_asked(examine(redis_server.url), "timeout")
    redis_server.resume()


def test_a_wrong_password_is_named_and_not_told(secure_redis):
    """Neither the wrong one nor the right one."""
    url = secure_redis.url.replace(secure_redis.password, canary.secret("wrong"))
    done = examine(url, TASKER_CACHE__TLS_CA_FILE=secure_redis.ca_file)
    assert_not_asked(done, "authentication_failed")


@pytest.mark.parametrize("scheme", ["redis", "memcached", "valkey+sentinel"])
def test_a_port_where_nothing_listens_is_refused(scheme):
    """With what to do about it."""
    path = "/main" if "sentinel" in scheme else ""
    assert_not_asked(examine(f"{scheme}://127.0.0.1:{free_port()}{path}"), "refused")


def test_settings_that_cannot_work_are_named():
    """2, and one line."""
    done = examine("sql://")
    assert (done.returncode, done.stderr.count("\n"), "database.url" in done.stderr) == (2, 1, True)
