"""The troubles of caches: how each begins and ends on a scene, and what `/ready` says of the cache meanwhile.

Not possible, and so not here: a full disk under PostgreSQL, which cannot be had cheaply; Memcached read-only, or with a
password; a file of SQLite that refuses, resets, trickles or hangs but for its lock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from faults.cache_scene import CacheScene
from faults.cache_server_scene import MemcachedScene, RedisScene, SentinelScene, ValkeyScene
from faults.cache_sql_scene import PostgresScene, SqliteScene
from faults.cache_stranger import HTTP, NOISE

Act = Callable[[Any], object]

OLDER_ENTRY = b"tasker-health/0 -\n{}"


@dataclass(frozen=True)
class Trouble:
    """One row.

    Attributes:
        name: What is wrong.
        begin: Makes it so.
        end: Makes it well again.
        reasons: What `/ready` may say of the cache meanwhile; it must say one of them.
        is_proxied: Whether a proxy stands before the cache.
        is_away: Whether the cache does not answer: it is left alone then.
        is_over_at_once: Whether it begins and ends at the same moment; what it leaves behind is what matters.
        flickers: Whether the cache works now and then, so that the check may be well in between.
        may_be_unseen: Whether it can pass without a question that fails.
        options: What the scene is made with.
        refusals: Why entries are not believed meanwhile.
        more_reasons: What a question may end with besides, for a moment: `/ready` may say it too.
    """

    name: str
    begin: Act
    end: Act
    reasons: tuple[str, ...]
    is_proxied: bool = False
    is_away: bool = False
    is_over_at_once: bool = False
    flickers: bool = False
    may_be_unseen: bool = False
    options: Mapping[str, Any] | None = None
    refusals: tuple[str, ...] = ()
    more_reasons: tuple[str, ...] = ()


def _nothing(_scene: CacheScene) -> None:
    """Do nothing."""


def _by_proxy(name: str, mode: Any, *reasons: str, delay_seconds: float = 0.2, **more: Any) -> Trouble:
    def begin(scene: CacheScene) -> None:
        scene.proxy.set(mode, delay_seconds=delay_seconds)

    return Trouble(name, begin, lambda scene: scene.proxy.set("pass"), reasons, is_proxied=True, is_away=True, **more)


def _stranger(name: str, words: bytes, *reasons: str, speaks_first: bool, is_away: bool = False) -> Trouble:
    def begin(scene: CacheScene) -> None:
        scene.let_stranger_answer(words, speaks_first=speaks_first)

    return Trouble(name, begin, lambda scene: scene.dismiss_stranger(), reasons, is_proxied=True, is_away=is_away)


def _entry(name: str, value: bytes, reason: str, refusal: str) -> Trouble:
    def begin(scene: CacheScene) -> None:
        scene.put_always(scene.key, value)

    return Trouble(name, begin, lambda scene: scene.cease(), (reason,), flickers=True, refusals=(refusal,))


DOWN = Trouble(
    *("down", lambda s: s.server.stop(), lambda s: s.server.start(), ("refused", "unreachable")), is_away=True
)
HUNG = Trouble("hung", lambda s: s.server.pause(), lambda s: s.server.resume(), ("timeout",), is_away=True)
RESTARTED = Trouble(
    *("restarted empty", lambda s: s.restart(), _nothing, ("missing", "refused", "unreachable")), is_over_at_once=True
)
VANISHING = Trouble("what is put vanishes", lambda s: s.repeat(s.empty), lambda s: s.cease(), ("missing",))
OLDER = _entry("entry of an older version", OLDER_ENTRY, "unknown_version", "version")
HAND_MADE = _entry("entry of noise", NOISE, "invalid", "invalid")
CONTENT = (VANISHING, OLDER, HAND_MADE)
ON_THE_WAY = (
    _by_proxy("refused", "refuse", "refused", "unreachable"),
    _by_proxy("black hole", "blackhole", "timeout"),
    _by_proxy("slow", "slow", "timeout", delay_seconds=0.4),
    _by_proxy("trickling", "trickle", "timeout", delay_seconds=0.2),
    _by_proxy("reset in mid answer", "cut", "unreachable", "invalid"),
    _by_proxy("reset", "reset", "unreachable"),
)
OTHERS = (
    _stranger("answered by a web server", HTTP, "invalid", "unreachable", "error", speaks_first=False),
    _stranger("answered by noise", NOISE, "invalid", "unreachable", "error", speaks_first=True),
)
COMMON = (DOWN, HUNG, RESTARTED, *CONTENT, *ON_THE_WAY, *OTHERS)

REDIS = (
    *COMMON,
    Trouble("full", RedisScene.fill, RedisScene.relieve, ("error",)),
    Trouble("evicting", RedisScene.overwork, RedisScene.rest, ("missing",), more_reasons=("error",)),
    Trouble("read-only", RedisScene.demote, RedisScene.promote, ("read_only",)),
    Trouble(
        *("password changed", RedisScene.change_password, RedisScene.restore_password, ("authentication_failed",)),
        is_away=True,
        more_reasons=("unreachable",),
    ),
)
STAYS = {"down_after_seconds": 600}
SENTINEL = (
    Trouble("master hung", HUNG.begin, HUNG.end, HUNG.reasons, is_away=True, options=STAYS),
    Trouble("master down", DOWN.begin, DOWN.end, DOWN.reasons, is_away=True, options=STAYS),
    Trouble(
        *("failover of a dead master", SentinelScene.lose_master, SentinelScene.await_election, DOWN.reasons),
        is_away=True,
        flickers=True,  # it is over as soon as the first sentinel knows
        more_reasons=("read_only", "missing"),
    ),
    Trouble(
        *("failover of a hung master", SentinelScene.hang_master, SentinelScene.await_election, HUNG.reasons),
        is_away=True,
        flickers=True,  # it is over as soon as the first sentinel knows
        more_reasons=("read_only", "missing"),
    ),
    Trouble(
        *("switchover", SentinelScene.switch, SentinelScene.await_election, ("read_only", "unreachable", "missing")),
        is_over_at_once=True,
        may_be_unseen=True,
    ),
)
MEMCACHED = (
    *COMMON,
    Trouble(
        *("full", MemcachedScene.fill, MemcachedScene.rest, ("error",)),
        options={"evicts": False},
        more_reasons=("missing",),  # what it refuses to replace it forgets
    ),
    Trouble("evicting", MemcachedScene.overwork, MemcachedScene.rest, ("missing",)),
)
POSTGRESQL = (
    *COMMON,
    Trouble("rows of noise", PostgresScene.alter_rows, lambda s: s.cease(), ("invalid",), flickers=True),
    Trouble(
        *("read-only", PostgresScene.forbid_writing, PostgresScene.allow_writing, ("read_only",)),
        more_reasons=("unreachable", "refused"),  # the connections are ended, as old ones may still write
    ),
    Trouble(
        *("password changed", PostgresScene.change_password, PostgresScene.restore_password),
        ("authentication_failed",),
        is_away=True,
        more_reasons=("unreachable", "refused"),
    ),
)
_EMPTY = ("missing",)
SQLITE = (
    *CONTENT,
    Trouble("locked", SqliteScene.lock, SqliteScene.unlock, ("timeout",), is_away=True),
    Trouble("gone", SqliteScene.take_away, SqliteScene.bring_back, ("missing",)),
    Trouble("replaced by an empty file", lambda s: s.restart(), _nothing, _EMPTY, is_over_at_once=True),
    Trouble("replaced by noise", SqliteScene.spoil, SqliteScene.release, ("invalid",), more_reasons=_EMPTY),
    Trouble(
        "full", lambda s: s.constrain("PRAGMA max_page_count = 1"), SqliteScene.release, ("error",), more_reasons=_EMPTY
    ),
    Trouble(
        *("read-only", lambda s: s.constrain("PRAGMA query_only = ON"), SqliteScene.release, ("read_only",)),
        more_reasons=_EMPTY,
    ),
)

SCENES: dict[str, Callable[..., CacheScene]] = {
    "redis": RedisScene,
    "valkey": ValkeyScene,
    "sentinel": SentinelScene,
    "memcached": MemcachedScene,
    "postgresql": PostgresScene,
    "sqlite": SqliteScene,
}
TROUBLES: dict[str, tuple[Trouble, ...]] = {
    "redis": REDIS,
    "valkey": REDIS,
    "sentinel": SENTINEL,
    "memcached": MEMCACHED,
    "postgresql": POSTGRESQL,
    "sqlite": SQLITE,
}
"""What can be wrong with each back end."""
