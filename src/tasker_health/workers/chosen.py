"""The ledger that the settings name. A store is imported only when it is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasker_health.clock import Clock
from tasker_health.errors import SettingsError
from tasker_health.settings import Settings
from tasker_health.settings.workers import LEDGER_SCHEMES
from tasker_health.workers import Ledger

if TYPE_CHECKING:
    from tasker_health.workers.roster import LedgerRoster


def chosen_ledger(settings: Settings) -> Ledger | None:
    """Return where heartbeats are kept; `None`: neither `workers.url` nor `database.url` is set.

    Raises:
        ConfigurationError: The URL is not one, its driver is not installed, or heartbeats are not kept there.
    """
    wanted = settings.workers
    secret = wanted.url or settings.database.url
    if secret is None:
        return None
    url = secret.get_secret_value()
    if url.partition("://")[0] in LEDGER_SCHEMES:
        from tasker_health.cache.redis import redis_connection_at
        from tasker_health.workers.redis import RedisLedger

        return RedisLedger(
            redis_connection_at(url, timeout_seconds=wanted.timeout_seconds),
            namespace=settings.cache.namespace,
            forget_after_seconds=wanted.forget_after_seconds,
        )
    from tasker_health.database import Database
    from tasker_health.workers.sql import SqlLedger

    return SqlLedger(
        Database.of(settings.database, url),
        timeout_seconds=wanted.timeout_seconds,
        forget_after_seconds=wanted.forget_after_seconds,
        makes_table=wanted.make_table,
    )


def chosen_roster(settings: Settings, clock: Clock) -> LedgerRoster | None:
    """Return who reads the heartbeats for the status; `None`: nobody does.

    Raises:
        ConfigurationError: As `chosen_ledger`; heartbeats are to be read, and there is no URL.
    """
    wanted = settings.workers
    if wanted.watch is False:
        return None
    if wanted.watch is None and wanted.url is None and not (settings.sources and settings.database.url):
        return None
    ledger = chosen_ledger(settings)
    if ledger is None:
        raise SettingsError("workers.watch", "true", "there is no store to read; set workers.url, or database.url")
    from tasker_health.workers.roster import LedgerRoster

    return LedgerRoster(ledger, heartbeat_seconds=wanted.heartbeat_seconds, clock=clock)
