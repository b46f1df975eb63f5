"""The checks of dependencies that the settings name. A kind is imported only when it is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tasker_health.checks.dependencies import Dependency, Terms
from tasker_health.errors import SettingsError
from tasker_health.settings import Settings
from tasker_health.settings.checks import CheckSettings


def dependency_checks(settings: Settings) -> list[Dependency]:
    """Return the checks of `[checks.<name>]`, each with a connection of its own.

    Raises:
        ConfigurationError: Something is missing, or is not what it should be.
    """
    return [_check(settings, name, wanted) for name, wanted in settings.checks.items()]


def _check(settings: Settings, name: str, wanted: CheckSettings) -> Dependency:
    terms: Terms = {
        "critical": wanted.critical,
        "timeout_seconds": wanted.timeout_seconds,
        "groups": wanted.groups,
        "fail_after": wanted.fail_after,
        "recover_after": wanted.recover_after,
    }
    return MAKERS[wanted.kind](settings, name, wanted, terms)


def _redis(_: Settings, name: str, wanted: CheckSettings, terms: Terms) -> Dependency:
    from tasker_health.checks.dependencies.redis import RedisCheck

    return RedisCheck(
        name, _url(name, wanted), require_writable=wanted.require_writable, ca_file=wanted.ca_file, **terms
    )


def _rabbitmq(_: Settings, name: str, wanted: CheckSettings, terms: Terms) -> Dependency:
    from tasker_health.checks.dependencies.rabbitmq import RabbitMqCheck

    return RabbitMqCheck(name, _url(name, wanted), queue=wanted.queue, ca_file=wanted.ca_file, **terms)


def _kafka(_: Settings, name: str, wanted: CheckSettings, terms: Terms) -> Dependency:
    from tasker_health.checks.dependencies.kafka import KafkaCheck

    return KafkaCheck(
        name,
        _url(name, wanted),
        topic=wanted.topic,
        mechanism=wanted.mechanism or "PLAIN",
        ca_file=wanted.ca_file,
        **terms,
    )


def _s3(_: Settings, name: str, wanted: CheckSettings, terms: Terms) -> Dependency:
    from tasker_health.checks.dependencies.s3 import S3Check

    if wanted.bucket is None:
        raise SettingsError(f"checks.{name}.bucket", "not set", "set it to the name of the bucket")
    return S3Check(
        name,
        wanted.bucket,
        endpoint=_secret(wanted.url),
        region=wanted.region,
        access_key_id=wanted.access_key_id,
        secret_access_key=_secret(wanted.secret_access_key),
        ca_file=wanted.ca_file,
        **terms,
    )


def _http(_: Settings, name: str, wanted: CheckSettings, terms: Terms) -> Dependency:
    from tasker_health.checks.dependencies.http import HttpCheck

    return HttpCheck(
        name,
        _url(name, wanted),
        method=wanted.method or "GET",
        expected_status=wanted.expected_status,
        headers={header: value.get_secret_value() for header, value in wanted.headers.items()},
        proxy=_secret(wanted.proxy),
        ca_file=wanted.ca_file,
        **terms,
    )


def _database(settings: Settings, name: str, wanted: CheckSettings, terms: Terms) -> Dependency:
    from tasker_health.checks.dependencies.sqlalchemy import SqlAlchemyCheck

    return SqlAlchemyCheck(
        name,
        _url(name, wanted),
        require_writable=wanted.require_writable,
        settings=settings.database,
        **terms,
    )


MAKERS: dict[str, Callable[[Settings, str, CheckSettings, Terms], Dependency]] = {
    "database": _database,
    "redis": _redis,
    "rabbitmq": _rabbitmq,
    "kafka": _kafka,
    "s3": _s3,
    "http": _http,
}


def _url(name: str, wanted: CheckSettings) -> str:
    if wanted.url is None:
        raise SettingsError(f"checks.{name}.url", "not set", "set it to where that is")
    return wanted.url.get_secret_value()


def _secret(value: Any) -> str | None:
    return None if value is None else str(value.get_secret_value())
