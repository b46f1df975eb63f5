"""The cache that the settings name, and how the fleet shares it. A back end is imported only when it is named."""

from __future__ import annotations

from tasker_health.cache import Cache
from tasker_health.cache.memory import MemoryCache
from tasker_health.cache.sealing import Sealer
from tasker_health.cache.shared import SharedCache
from tasker_health.clock import Clock
from tasker_health.errors import SettingsError
from tasker_health.settings import Settings
from tasker_health.settings.database import TLS_SCHEMES


def chosen_cache(settings: Settings, clock: Clock) -> Cache:
    """Return the cache that *settings* name.

    Raises:
        ConfigurationError: Its URL is not one, a file or its client is missing, or the database cannot be one.
    """
    wanted = settings.cache
    url = wanted.url.get_secret_value()
    scheme = url.partition("://")[0]
    if wanted.tls_ca_file is not None and scheme.partition("+")[0] not in TLS_SCHEMES:
        remedy = "the cache is asked without TLS, so it protects nothing; write cache.url as rediss:// or valkeys://"
        raise SettingsError("cache.tls_ca_file", repr(wanted.tls_ca_file), remedy)
    if scheme == "memory":
        return MemoryCache(clock.monotonic)
    if scheme == "sql":
        if settings.database.url is None:
            raise SettingsError("database.url", "not set", "set it, or choose another cache.url than sql://")
        from tasker_health.cache.sql import SqlCache
        from tasker_health.database import Database

        database = Database.of(settings.database, settings.database.url.get_secret_value())
        return SqlCache(database, timeout_seconds=wanted.timeout_seconds)
    if scheme == "memcached":
        from tasker_health.cache.memcached import memcached_cache

        return memcached_cache(url, timeout_seconds=wanted.timeout_seconds)
    from tasker_health.cache.redis import redis_cache

    return redis_cache(url, timeout_seconds=wanted.timeout_seconds, ca_file=wanted.tls_ca_file)


def shared_cache(settings: Settings, cache: Cache, clock: Clock) -> SharedCache:
    """Return *cache* as the fleet of the service that *settings* name shares it."""
    return SharedCache(cache, sealer_of(settings), timeout_seconds=settings.cache.timeout_seconds, clock=clock)


def sealer_of(settings: Settings) -> Sealer:
    """Return what makes and opens the entries of the service that *settings* name."""
    key = settings.cache.signing_key
    secret = None if key is None else key.get_secret_value()
    return Sealer(settings.cache.namespace, settings.health.service_name, secret)
