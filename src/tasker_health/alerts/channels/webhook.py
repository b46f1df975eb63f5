"""A webhook of our own form, signed as Standard Webhooks has it (standardwebhooks.com, specification 1.0.0)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import Any

import msgspec

from tasker_health.alerts import Event
from tasker_health.alerts.channels.details import bounded, details_of, moment
from tasker_health.alerts.channels.endpoint import Endpoint
from tasker_health.clock import Clock

_PREFIX = "whsec_"
_MOST_SUMMARY = 1024
_NO_ID = re.compile(r"[^A-Za-z0-9_-]")


class WebhookChannel:
    """Tells whoever listens at an address, once a new event is there.

    Args:
        name: Of the webhook.
        endpoint: Where it is.
        signing_key: What bodies are signed with: `whsec_` and base64, or any text.
        clock: What time it is: a signature is of the moment of sending.
    """

    def __init__(self, name: str, endpoint: Endpoint, signing_key: str, clock: Clock) -> None:
        self.name = name
        self._endpoint = endpoint
        self._key = key_of(signing_key)
        self._clock = clock

    async def send(self, event: Event) -> None:
        """Bring *event* there.

        Raises:
            DeliveryError: It was not taken.
        """
        body = msgspec.json.encode(told(event))
        # What is signed is joined with full stops, so an id has none ("Signature scheme").
        headers = signed(_NO_ID.sub("_", event.id), round(self._clock.now()), body, self._key)
        await self._endpoint.post(body, {"content-type": "application/json", **headers})

    async def close(self) -> None:
        """Have nothing to give up: each event has a connection of its own."""


def key_of(signing_key: str) -> bytes:
    """Return the bytes that *signing_key* stands for: those of base64 after `whsec_`, else those of the text."""
    if signing_key.startswith(_PREFIX):
        try:
            return base64.b64decode(signing_key.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            pass  # a text that happens to begin so
    return signing_key.encode()


def signed(identifier: str, at: int, body: bytes, key: bytes) -> dict[str, str]:
    """Return the headers that say who sent *body*, and when: an HMAC-SHA256 of `id.timestamp.body`."""
    digest = hmac.digest(key, f"{identifier}.{at}.".encode() + body, hashlib.sha256)
    return {
        "webhook-id": identifier,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def told(event: Event) -> dict[str, Any]:
    """Return what a webhook says of *event*; docs/alerts/webhooks.md has the form."""
    return {
        "type": f"alert.{event.action.value}",
        "timestamp": moment(event.at),
        "data": {
            "id": event.id,
            "dedup_key": event.dedup_key,
            "rule": event.rule,
            "severity": event.severity.value,
            "summary": bounded(event.summary, _MOST_SUMMARY),
            "service": event.service,
            "since": moment(event.since),
            "details": details_of(event),
            "links": list(event.links),
        },
    }
