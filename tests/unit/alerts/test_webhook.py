"""What a webhook is sent, and how it is signed; what an answer's status means."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import math
import time
from email.utils import formatdate

import pytest

import canary
from alert_events import event_of
from tasker_health.alerts.channels.verdict import delivery_error, retry_after
from tasker_health.alerts.channels.webhook import WebhookChannel, key_of, signed, told
from tasker_health.testing import FakeClock


class Posted:
    """An endpoint that keeps what it is sent."""

    def __init__(self):
        self.posted = []

    async def post(self, body, headers):
        """Keep it."""
        self.posted.append((body, headers))


def test_the_form_is_the_documented_one():
    """`type`, `timestamp` and `data` as Standard Webhooks recommends; keys that never change their meaning."""
    event = event_of()
    assert told(event) == {
        "type": "alert.trigger",
        "timestamp": "2026-06-21T00:00:00.250Z",
        "data": {
            "id": event.id,
            "dedup_key": "tasker-health/orders/status",
            "rule": "status",
            "severity": "critical",
            "summary": "The status is unhealthy",
            "service": "orders",
            "since": "2026-06-20T23:59:00.250Z",
            "details": {"failed_tasks": 3, "total_tasks": 40},
            "links": ["https://runbooks.example/orders"],
        },
    }


def test_a_signature_is_that_of_the_specification():
    """The example of the specification's own libraries: this key, this body, this moment and this signature."""
    key = key_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', key)
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_what_is_signed_is_what_is_sent():
    """The receiver's way: an HMAC over id, timestamp and the very bytes that came, by the key that both know."""
    endpoint, clock, secret = Posted(), FakeClock(), canary.secret("signing")
    event = event_of(summary="caf\N{LATIN SMALL LETTER E WITH ACUTE}", id="with.full.stops\r\nand more")
    asyncio.run(WebhookChannel("hook", endpoint, secret, clock).send(event))
    [(body, headers)] = endpoint.posted
    assert json.loads(body) == told(event)
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == ("with_full_stops__and_more", str(int(clock.time)))
    content = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    digest = base64.b64encode(hmac.digest(secret.encode(), content, hashlib.sha256)).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"


def test_the_same_event_has_the_same_id_and_a_new_moment():
    """Sent again, an event is known again by its id, and its signature is of the new attempt."""
    endpoint, clock = Posted(), FakeClock()
    channel, event = WebhookChannel("hook", endpoint, canary.secret("signing"), clock), event_of()
    asyncio.run(channel.send(event))
    clock.move(60)
    asyncio.run(channel.send(event))
    (body, first), (again, second) = endpoint.posted
    assert body == again
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 60
    assert first["webhook-signature"] != second["webhook-signature"]


def test_a_key_that_only_looks_like_one_is_taken_as_text():
    """What stands behind `whsec_` is base64, or the whole is a text."""
    assert key_of("whsec_" + base64.b64encode(b"0123456789").decode()) == b"0123456789"
    assert key_of("whsec_no base64!") == b"whsec_no base64!"


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_never_taken(status):
    """Sending the same again would be answered the same."""
    assert delivery_error(status, {}, "key").again is False


@pytest.mark.parametrize("status", [301, 302, 307, 401, 403, 404, 405, 410, 100, 600])
def test_what_an_operator_must_put_right(status):
    """The event waits, the other side is left alone for minutes, and the setting is named."""
    error = delivery_error(status, {"retry-after": "1"}, "alerts.webhooks.hook.url")
    assert (error.again, error.after_seconds) == (True, 300)
    assert "put alerts.webhooks.hook.url right" in str(error)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
def test_what_passes(status):
    """The event is sent again, when the other side wants it."""
    error = delivery_error(status, {"retry-after": "17"}, "key")
    assert (error.again, error.after_seconds) == (True, 17)


@pytest.fixture(autouse=True)
def _somewhere_else(monkeypatch):
    """No time depends on where the machine is."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("9" * 400, math.inf),
        (formatdate(1060, usegmt=True), 60),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 784_110_777),
        ("Sun Nov  6 08:49:37 1994", 784_110_777),
        (None, None),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("\N{SUPERSCRIPT TWO}", None),
        ("soon", None),
        ("Thu, 01 Jan 99999 00:00:00 GMT", None),
    ],
)
def test_how_long_the_other_side_wants_to_be_left_alone(value, expected):
    """Seconds or a date (RFC 9110, section 10.2.3); what is neither says nothing."""
    assert retry_after(value, lambda: 1000.0) == expected
