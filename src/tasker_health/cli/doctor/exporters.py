"""`tasker-health doctor exporters`: who is told, whether they can be reached, what waits, and a test on request."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable

from tasker_health.alerts import Action, Channel, Event, Severity
from tasker_health.alerts.channels.chosen import chosen_channels, tls_of
from tasker_health.cli.doctor.exporters_ledger import kept
from tasker_health.cli.doctor.exporters_reach import off, place_of, reached, reached_agent
from tasker_health.cli.doctor.findings import Finding, note, tell, warning
from tasker_health.cli.doctor.walk import Visit
from tasker_health.cli.logs import set_up_logging
from tasker_health.counters import AccessCounts
from tasker_health.deadline import within
from tasker_health.errors import DeliveryError
from tasker_health.exporters import PushExporter, Snapshot, take_snapshot
from tasker_health.exporters.chosen import metrics_exporter, push_exporters
from tasker_health.health import Health
from tasker_health.reasons import reason_of
from tasker_health.settings import PrometheusSettings, Settings
from tasker_health.settings.alerts import AlertSettings
from tasker_health.settings.exporters import ExporterSettings

_KEY_LENGTH = 32
"""Of an integration key ("Send an Alert Event", PagerDuty's developer documentation)."""

_PUSH_SECONDS = 15.0


def examine_exporters(settings: Settings, *, as_json: bool, send_test: bool) -> int:
    """Print what was found; return 1 when something is to be changed.

    Raises:
        ConfigurationError: The settings cannot work.
    """
    set_up_logging(settings.log)
    return tell(asyncio.run(examined(settings, send_test=send_test)), as_json=as_json)


async def look(visit: Visit) -> list[Finding]:
    """Return what is found of all who are told something; nobody is told anything.

    Raises:
        ConfigurationError: The settings cannot work.
    """
    return await examined(visit.settings, send_test=False)


async def examined(settings: Settings, *, send_test: bool) -> list[Finding]:
    """Return what is found of all who are told something.

    Raises:
        ConfigurationError: The settings cannot work.
    """
    channels, exporters = chosen_channels(settings), push_exporters(settings)
    telling = {each.name for each in exporters}
    found = [_prometheus(settings), await _datadog(settings, telling), await _opentelemetry(settings, telling)]
    found += [await _pagerduty(settings), *_routing_key(settings)]
    found += [await _webhook(settings, name) for name in settings.alerts.webhooks]
    if settings.alerts.are_wanted:
        found += await kept(settings)
    if send_test:
        found += await _pushed(settings, exporters)
        found += await asyncio.gather(*(_tested(settings, channel) for channel in channels))
    return found


def _prometheus(settings: Settings) -> Finding:
    if metrics_exporter(settings) is None:
        return off("prometheus")
    where = f"{settings.server.prefix}/metrics, access {settings.exporters.prometheus.access}"
    return note("prometheus", f"asks for {where}", "whether it does is told by its page of targets")


async def _datadog(settings: Settings, telling: set[str]) -> Finding:
    what, wanted = "datadog", settings.exporters.datadog
    if not wanted.enabled:
        return off(what)
    return await reached_agent(what, wanted) if what in telling else _forbidden(what, "DD_DOGSTATSD_DISABLE")


def _forbidden(what: str, variable: str) -> Finding:
    return note(what, f"on, but {variable} is set: nothing is told", f"unset {variable} where it is to be told")


async def _opentelemetry(settings: Settings, telling: set[str]) -> Finding:
    what, wanted = "opentelemetry", settings.exporters.opentelemetry
    if not wanted.enabled:
        return off(what)
    if what not in telling:
        return _forbidden(what, "OTEL_SDK_DISABLED")
    from tasker_health.exporters.otlp import address_variable  # it is installed: something is told by it

    key, url = "exporters.opentelemetry.endpoint", wanted.endpoint
    if url is None:
        key = address_variable()
        url = os.environ.get(key) or None
    if url is None:
        return note(what, "on: what the application's meter provider is told", "where that goes is the application's")
    return await reached(what, place_of(url, tls_of("exporters.opentelemetry", None)), key)


async def _pagerduty(settings: Settings) -> Finding:
    wanted = settings.alerts.pagerduty
    if wanted.routing_key is None:
        return off("pagerduty")
    tls = tls_of("alerts.pagerduty", wanted.ca_file)
    return await reached("pagerduty", place_of(wanted.url, tls), "alerts.pagerduty.url")


def _routing_key(settings: Settings) -> list[Finding]:
    key = settings.alerts.pagerduty.routing_key
    if key is None or len(key.get_secret_value()) == _KEY_LENGTH:
        return []
    remedy = f"set alerts.pagerduty.routing_key to an integration key of {_KEY_LENGTH} characters, of Events API v2"
    return [warning("pagerduty key", f"has {len(key.get_secret_value())} characters", remedy)]


async def _webhook(settings: Settings, name: str) -> Finding:
    wanted, key = settings.alerts.webhooks[name], f"alerts.webhooks.{name}"
    place = place_of(wanted.url.get_secret_value(), tls_of(key, wanted.ca_file))
    return await reached(f"webhook {name}", place, f"{key}.url")


async def _pushed(settings: Settings, exporters: list[PushExporter]) -> list[Finding]:
    """Return what came of telling *exporters* once what is true now."""
    if not exporters:
        return []
    nobody = ExporterSettings(prometheus=PrometheusSettings(enabled=False))
    health = Health(settings.model_copy(update={"alerts": AlertSettings(), "exporters": nobody}))
    try:
        snapshot = await take_snapshot(health.monitor, AccessCounts())
        return [await _tried(f"{each.name} test", _push(each, snapshot), "what is true now") for each in exporters]
    finally:
        await health.stop()


def _push(exporter: PushExporter, snapshot: Snapshot) -> Callable[[], Awaitable[None]]:
    async def push() -> None:
        try:
            await within(exporter.push(snapshot), _PUSH_SECONDS)
        finally:
            await exporter.close()

    return push


async def _tested(settings: Settings, channel: Channel) -> Finding:
    """Return what came of a test alert, which is resolved at once."""
    key = f"tasker-health/{settings.health.service_name}/doctor-{secrets.token_hex(4)}"[-255:]

    async def send() -> None:
        for action in (Action.TRIGGER, Action.RESOLVE):
            await within(channel.send(_event(settings, action, key)), settings.alerts.timeout_seconds + 1)

    return await _tried(f"{channel.name} test", send, f"a test alert and its end, {key}")


async def _tried(what: str, send: Callable[[], Awaitable[None]], sent: str) -> Finding:
    began = time.monotonic()
    try:
        await send()
    except DeliveryError as error:
        return warning(what, f"not taken: {error}", "see above, and the log of whoever is told")
    except Exception as error:  # noqa: BLE001 -- of a client library; its words may hold an address or a key
        return warning(what, f"not taken: {reason_of(error)} ({type(error).__name__})", "see above")
    took = (time.monotonic() - began) * 1000
    return Finding(what=what, measured=f"taken in {took:.0f} ms: {sent}", figures={"send_ms": round(took, 3)})


def _event(settings: Settings, action: Action, key: str) -> Event:
    now = time.time()
    return Event(
        id=secrets.token_hex(16),
        action=action,
        dedup_key=key,
        rule="doctor",
        severity=Severity.INFO,
        summary="A test by tasker-health doctor exporters: nothing is wrong",
        details={},
        service=settings.health.service_name,
        at=now,
        since=now,
        links=settings.alerts.links,
    )
