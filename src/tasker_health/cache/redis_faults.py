"""Which fault an error of redis-py is: servers say why in the first word of an error, or somewhere in a script's."""

from __future__ import annotations

import errno

from redis import exceptions as redis

from tasker_health.errors import CacheFault
from tasker_health.model import Reason
from tasker_health.reasons import reason_of, words_of

_BY_CLASS: tuple[tuple[type[Exception], Reason], ...] = (
    (redis.AuthenticationError, Reason.AUTHENTICATION_FAILED),
    (redis.NoPermissionError, Reason.AUTHENTICATION_FAILED),
    (redis.ReadOnlyError, Reason.READ_ONLY),
    (redis.BusyLoadingError, Reason.REFUSED),
    (redis.MasterDownError, Reason.REFUSED),
)
_BY_WORDS = (
    ("NOAUTH", Reason.AUTHENTICATION_FAILED),
    ("NOPERM", Reason.AUTHENTICATION_FAILED),
    ("invalid password", Reason.AUTHENTICATION_FAILED),
    ("READONLY", Reason.READ_ONLY),
    ("LOADING", Reason.REFUSED),
    ("MASTERDOWN", Reason.REFUSED),
    ("BUSY", Reason.REFUSED),
    ("DENIED", Reason.REFUSED),
    ("max number of clients", Reason.TOO_MANY_CONNECTIONS),
    ("invalid DB index", Reason.MISSING),
    ("DB index is out of range", Reason.MISSING),
    ("WRONGTYPE", Reason.INVALID),
    (f"[Errno {errno.ECONNREFUSED}]", Reason.REFUSED),
)
_GARBAGE = (redis.InvalidResponse, RecursionError, ValueError)
NOT_REDIS = "what it answers is not Redis' protocol"
_FULL = "it is full (maxmemory) and may not evict (maxmemory-policy): "
_LONGEST_DETAIL = 300


def fault_of(error: Exception, secrets: tuple[str, ...]) -> CacheFault:
    """Return the fault that *error* is, told without *secrets*."""
    if isinstance(error, CacheFault):
        return error
    if isinstance(error, TimeoutError):
        return CacheFault(Reason.TIMEOUT, "no answer in time")
    if isinstance(error, _GARBAGE):
        # Its words would show what was read, which may be anything: what we have sent, too.
        return CacheFault(Reason.INVALID, NOT_REDIS)
    return CacheFault(_reason(error), _detail(error, secrets))


def is_refusal(error: BaseException) -> bool:
    """Return whether *error* is an answer to one question, and no reason to leave the server.

    One who may not write is left: by the same name, or by the sentinels' word, another one may be found.
    """
    return isinstance(error, redis.ResponseError) and _reason(error) in {Reason.INVALID, Reason.ERROR}


def _reason(error: Exception) -> Reason:
    found = next((reason for kind, reason in _BY_CLASS if isinstance(error, kind)), None)
    if found is None:
        found = next((reason for words, reason in _BY_WORDS if words in str(error)), None)
    if found is None:
        found = reason_of(error)
    is_lost = found is Reason.ERROR and isinstance(error, redis.ConnectionError)
    return Reason.UNREACHABLE if is_lost else found


def _detail(error: Exception, secrets: tuple[str, ...]) -> str:
    # A server that does not know AUTH says with what arguments it was asked, and cuts them off.
    words = words_of(error).partition(", with args")[0]
    for secret in secrets:
        words = words.replace(secret, "***")
    if isinstance(error, redis.OutOfMemoryError) or "OOM " in words:
        words = f"{_FULL}{words}"
    return words[:_LONGEST_DETAIL]
