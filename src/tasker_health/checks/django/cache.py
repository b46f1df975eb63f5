"""The checks `cache_<alias>`: does each cache of the project keep what is put into it? None decides readiness."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Any

from tasker_health.deadline import in_thread, leave_to_parent
from tasker_health.errors import CheckDegraded, ConfigurationError
from tasker_health.model import Reason
from tasker_health.reasons import reason_of, words_of

_KEPT_SECONDS = 60


def keeps_for_others(settings: Mapping[str, Any]) -> bool:
    """Whether the cache of *settings*, a row of CACHES, is anything but memory of this process, or nothing."""
    from django.core.cache.backends.dummy import DummyCache
    from django.core.cache.backends.locmem import LocMemCache

    return not issubclass(_backend(settings), DummyCache | LocMemCache)


class CacheAliasCheck:
    """Puts a key of ours into one cache of CACHES, reads it back and deletes it, over a client of its own.

    The client blocks: the check has a thread, and the client the deadline as a limit of its own where one can be set.

    Args:
        name: Of the check.
        settings: The row of CACHES.
        patience_seconds: Longest wait for one answer.
    """

    critical = False
    timed = True
    timeout_seconds: float | None = None

    def __init__(self, name: str, settings: Mapping[str, Any], *, patience_seconds: float) -> None:
        self.name = name
        self._backend = _backend(settings)
        own = {key: value for key, value in settings.items() if key not in {"BACKEND", "LOCATION"}}
        self._location = settings.get("LOCATION", "")
        self._parameters = {**own, "OPTIONS": _limited(self._backend, own.get("OPTIONS") or {}, patience_seconds)}
        self._cache: Any = None
        self._pid = 0

    def __call__(self) -> None:
        """Look once.

        Raises:
            CheckDegraded: It is away, refuses, or does not keep what it is given.
        """
        from django.db import connections

        cache, key, value = self._client(), f"tasker_health.{os.getpid()}", secrets.token_hex(8)
        try:
            cache.set(key, value, _KEPT_SECONDS)
            kept = cache.get(key) == value
            cache.delete(key)
        except Exception as error:  # noqa: BLE001 -- every client has its own
            self._cache = None  # the next look begins anew
            raise CheckDegraded(_reason(error), words_of(error)) from None
        finally:
            connections.close_all()  # those of this thread, which ends now: a cache in a database has opened one
        if not kept:
            raise CheckDegraded(Reason.MISSING, "what was written could not be read back")

    async def close(self) -> None:
        """Close the client; the next look makes a new one."""
        cache, self._cache = self._cache, None
        if cache is not None and self._pid == os.getpid():
            await in_thread(cache.close, "cache-close")

    def _client(self) -> Any:
        if self._pid != os.getpid():
            leave_to_parent(self._cache)
            self._cache, self._pid = None, os.getpid()
        if self._cache is None:
            self._cache = self._backend(self._location, dict(self._parameters))
        return self._cache


def _backend(settings: Mapping[str, Any]) -> type[Any]:
    from django.utils.module_loading import import_string

    path = settings.get("BACKEND", "")
    try:
        backend: type[Any] = import_string(path)
    except ImportError as error:
        raise ConfigurationError(f"CACHES: BACKEND = {path!r}: {words_of(error)}; correct it") from None
    return backend


def _limited(backend: type[Any], options: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Return *options* of *backend* with limits of time that end a call before the asker's patience does."""
    kinds = {kind.__module__ for kind in backend.__mro__}
    own: dict[str, Any] = {}
    if "django.core.cache.backends.redis" in kinds:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        own = {"socket_timeout": seconds, "socket_connect_timeout": seconds, "retry": Retry(NoBackoff(), 0)}
    elif "django_redis.cache" in kinds:
        own = {"SOCKET_TIMEOUT": seconds, "SOCKET_CONNECT_TIMEOUT": seconds, "IGNORE_EXCEPTIONS": False}
    elif backend.__name__ == "PyMemcacheCache":
        own = {"timeout": seconds, "connect_timeout": seconds}
    return {**options, **own}


def _reason(error: Exception) -> Reason:
    if type(error).__module__.startswith("redis."):
        from tasker_health.cache.redis_faults import fault_of

        return fault_of(error, ()).reason
    return reason_of(error)
