"""PagerDuty, by its Events API v2 and its official client.

The client only blocks, so it is called in a thread of ours, which ends at the time-out as its socket is shut down. It
would sleep and try again by itself, for ever at 429; here it tries once, and `dispatch` decides. Sources: "Events API
v2 Overview" and "Send an Alert Event" in PagerDuty's developer documentation.
"""

from __future__ import annotations

import logging
import ssl
from typing import Any

from httpx2 import Response
from pagerduty import Error, EventsApiV2Client

from tasker_health.alerts import Action, Event
from tasker_health.alerts.channels.cut_transport import CutTransport
from tasker_health.alerts.channels.details import bounded, details_of, moment
from tasker_health.alerts.channels.verdict import delivery_error, wrong_address
from tasker_health.deadline import in_thread, within
from tasker_health.errors import DeliveryError
from tasker_health.reasons import reason_of

KEY = "alerts.pagerduty.routing_key"

_MOST_SUMMARY = 1024
_MOST_DEDUP_KEY = 255
_MOST_LINKS = 20
_BAD_REQUEST = 400


class PagerDutyChannel:
    """Pages a service of PagerDuty.

    An incident that goes on is told by another trigger under its key: PagerDuty adds it to the open alert, and "while
    an incident is acknowledged, it won't generate any additional notifications, even if it receives new trigger
    events" ("Event Action Behavior"). A resolve without an open alert is dropped there. So everything may be sent
    twice, but a trigger after the resolve of its incident would begin another one: order is kept by `dispatch`.

    Args:
        routing_key: Integration key of the service.
        url: Where the API is, without a path.
        tls: How its certificate is verified.
        timeout_seconds: Longest time of one event.
    """

    name = "pagerduty"

    def __init__(self, routing_key: str, url: str, tls: ssl.SSLContext, timeout_seconds: float) -> None:
        self._routing_key = routing_key
        self._url = url
        self._tls = tls
        self._timeout_seconds = timeout_seconds

    async def send(self, event: Event) -> None:
        """Bring *event* there.

        Raises:
            DeliveryError: It was not taken.
        """
        transport = CutTransport(self._tls)
        try:
            await within(in_thread(lambda: self._call(transport, event), "pagerduty"), self._timeout_seconds)
        except TimeoutError:
            raise DeliveryError(f"no answer within {self._timeout_seconds:g} s") from None
        finally:
            transport.cut()

    async def close(self) -> None:
        """Have nothing to give up: each event has a connection of its own."""

    def _call(self, transport: CutTransport, event: Event) -> None:
        try:
            with self._client(transport) as client:
                client.send_event(*_action_and_key(event), **_properties(event))
        except Error as error:  # its words may hold the end of the key, or what the other side sent
            if error.response is not None:
                raise _of_answer(error.response) from None
            cause = error.__cause__ or error
            raise DeliveryError(f"{reason_of(cause)} ({type(cause).__name__})") from None

    def _client(self, transport: CutTransport) -> EventsApiV2Client:
        client = EventsApiV2Client(
            self._routing_key, base_url=self._url, transport=transport, trust_env=False, headers=_HEADERS
        )
        client.timeout = self._timeout_seconds  # type: ignore[assignment]
        client.max_network_attempts = 0
        client.retry = {429: 1}  # without this it would go on for ever, and by this, as none is left, it answers
        client.max_http_attempts = -1
        # It would tell of what it does about failures; `dispatch` says what is really done.
        client.log = logging.Logger("pagerduty", logging.CRITICAL)  # noqa: LOG001 -- nobody else's level or handler
        return client


_HEADERS = {"Accept-Encoding": "identity", "Connection": "close"}
"""Nothing compressed: a short answer would be a long one."""


def _of_answer(response: Response) -> DeliveryError:
    """Return what *response* says of an event that it did not take."""
    status = response.status_code
    if response.is_success:
        return DeliveryError(f"answered {status}, but not as PagerDuty does")
    if status == _BAD_REQUEST and "routing" in response.text.lower():
        # No event would be taken under a key that is none, and it is not their fault.
        return wrong_address("answered 400 to the key", KEY)
    return delivery_error(status, response.headers, KEY)


def _action_and_key(event: Event) -> tuple[str, str]:
    return "resolve" if event.action is Action.RESOLVE else "trigger", event.dedup_key[:_MOST_DEDUP_KEY]


def _properties(event: Event) -> dict[str, Any]:
    """Return what a trigger has beside its key, in PagerDuty's Common Event Format; a resolve needs nothing."""
    if event.action is Action.RESOLVE:
        return {}
    service = bounded(event.service, _MOST_DEDUP_KEY) or "tasker-health"
    properties: dict[str, Any] = {
        "payload": {
            "summary": bounded(event.summary, _MOST_SUMMARY) or event.rule,
            "source": service,
            "severity": event.severity.value,
            "timestamp": moment(event.at),
            "component": service,
            "group": "tasker-health",
            "class": event.rule,
            "custom_details": {**details_of(event), "rule": event.rule, "since": moment(event.since)},
        },
        "client": "Tasker Health",
    }
    if event.links:
        properties["client_url"] = event.links[0]
        properties["links"] = [{"href": link, "text": link} for link in event.links[:_MOST_LINKS]]
    return properties
