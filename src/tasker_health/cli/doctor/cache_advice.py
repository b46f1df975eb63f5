"""What the settings of a cache mean for it: who can read and write it on the way, and how old a status may be."""

from __future__ import annotations

import ipaddress

from tasker_health.cache import Cache
from tasker_health.cli.doctor.findings import Finding, note, warning
from tasker_health.settings import Settings
from tasker_health.settings.database import TLS_SCHEMES

_COARSE_SECONDS = 1.0
_LEAST_WITH_COARSE_SECONDS = 15
"""Ages that are rounded up by some seconds make entries of a shorter life old before they are read."""

_SHARED = "one refresh serves all who use it"


def advice(settings: Settings, cache: Cache) -> list[Finding]:
    """Return what *settings* mean for *cache*."""
    if cache.name == "memory":
        words = "memory://: each process keeps its own, and reads the sources for itself"
        return [note("kind", words, "several processes: set cache.url to one that they share"), _life(settings, cache)]
    kind = Finding(what="kind", measured=f"{cache.name}: {_SHARED}")
    return [kind, _signature(settings), _transport(settings), _life(settings, cache)]


def _signature(settings: Settings) -> Finding:
    if settings.cache.signing_key is not None:
        return Finding(what="signature", measured="entries are signed, and others are refused")
    words = "entries are not signed: whoever can write to the cache can make up a status"
    return warning("signature", words, "set cache.signing_key, the same for all processes (TASKER_CACHE__SIGNING_KEY)")


def _transport(settings: Settings) -> Finding:
    url = settings.cache.url.get_secret_value()
    scheme, _, place = url.partition("://")
    if scheme == "sql":
        return note("transport", "as that to database.url", "see tasker-health doctor database")
    if scheme.partition("+")[0] in TLS_SCHEMES:
        return Finding(what="transport", measured="TLS, its certificate verified")
    user, _, hosts = place.rpartition("@")
    if all(_is_here(host) for host in hosts.partition("/")[0].partition("?")[0].split(",")):
        return Finding(what="transport", measured="plain, and does not leave this machine")
    if scheme == "memcached":
        words = "plain: there is no TLS here, and no password"
        return note("transport", words, "let nobody else reach it: a network of its own, or a tunnel")
    words = "plain: whoever is on the way reads the facts" + (", and the password" if user else "")
    return warning("transport", words, f"use {'valkeys' if scheme.startswith('valkey') else 'rediss'}:// (TLS)")


def _is_here(host: str) -> bool:
    """Return whether *host*, perhaps with a port, is this machine."""
    name = host.partition("]")[0].removeprefix("[") if host.startswith("[") else host.partition(":")[0]
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _life(settings: Settings, cache: Cache) -> Finding:
    seconds = settings.health.cache_duration_seconds
    words = f"health.cache_duration_seconds = {seconds:g}"
    if not seconds:
        remedy = "health.cache_duration_seconds = 15 is usual: without it each asker costs the sources a reading"
        return warning("time to live", f"{words}: every status is read anew, and the cache is not asked", remedy)
    if cache.coarse_seconds >= _COARSE_SECONDS and seconds < _LEAST_WITH_COARSE_SECONDS:
        words += f", and its ages are up to {cache.coarse_seconds:g} s above the truth"
        remedy = (
            f"set it to {_LEAST_WITH_COARSE_SECONDS} or more, or use a cache with a finer clock: Redis, Valkey, SQL"
        )
        return warning("time to live", words, remedy)
    return Finding(what="time to live", measured=words, figures={"seconds": seconds})
