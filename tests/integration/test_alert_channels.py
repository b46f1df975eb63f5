"""Alerts on their way to a real HTTPS receiver: every event is taken, whatever the receiver does meanwhile."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import logging
import random
import socket
import ssl
import struct
import threading
from pathlib import Path

import msgspec
import pytest

import canary
from alert_events import event_of, pending_of
from events_receiver import Answer, Behaviour, EventsReceiver
from server import wait_until
from tasker_health.alerts.channels.cut_transport import CutTransport
from tasker_health.alerts.channels.endpoint import Endpoint
from tasker_health.alerts.channels.pagerduty import PagerDutyChannel
from tasker_health.alerts.channels.slack import SlackChannel
from tasker_health.alerts.channels.webhook import WebhookChannel
from tasker_health.alerts.dispatch import Dispatch
from tasker_health.clock import SystemClock
from tasker_health.counters import DeliveryCounts
from tasker_health.errors import DeliveryError
from tasker_health.settings.alerts import AlertSettings

SECONDS = 0.75
"""Time-out of each event here: what hangs costs so much."""

FAULTS = (
    *(behaviour for behaviour in Behaviour if behaviour is not Behaviour.ANSWER),
    *(Answer(429, {"Retry-After": "0"}), Answer(429), Answer(500), Answer(503, {"Retry-After": "soon"}), Answer(502)),
)
QUICK = tuple(each for each in FAULTS if each not in (Behaviour.HANG_BEFORE_TLS, Behaviour.HANG, Behaviour.DRIP))
KINDS = ("pagerduty", "signed", "slack")


class NoRest(random.Random):
    """Chance that takes the shortest rest."""

    def uniform(self, a, b):
        """Return *a*."""
        return a


@pytest.fixture
def receiver():
    """A receiver of this test."""
    with EventsReceiver() as one:
        yield one


def channel_of(kind, receiver, *, seconds=SECONDS, routing_key=None, trusted=True):
    """Return a channel to *receiver*."""
    tls = ssl.create_default_context(cafile=receiver.ca_file if trusted else None)
    if kind == "pagerduty":
        return PagerDutyChannel(routing_key or receiver.routing_key, receiver.url, tls, seconds)
    endpoint = Endpoint(f"{receiver.url}/services/{canary.secret('hook')}", "alerts.webhooks.x.url", tls, seconds)
    if kind == "slack":
        return SlackChannel("slack", endpoint)
    return WebhookChannel("signed", endpoint, canary.secret("signing"), SystemClock())


def dispatch_of(channel, counts=None):
    """Return what delivers to *channel* and does not rest."""
    settings = AlertSettings(timeout_seconds=2 * SECONDS)
    return Dispatch(channel, counts or DeliveryCounts(), settings, SystemClock(), NoRest())


async def settle(dispatch, pending, *, turns=200):
    """Deliver until nothing waits; return ids of what was dropped."""
    dropped, began = {}, SystemClock().monotonic()
    waiting = [msgspec.structs.replace(each, first_at=began) for each in pending]
    for _ in range(turns):
        outcome = await dispatch.deliver(waiting)
        dropped |= outcome.dropped
        settled = outcome.done | outcome.dropped.keys()
        waiting = [
            msgspec.structs.replace(each, attempts=each.attempts + (each.event.id in outcome.attempted))
            for each in waiting
            if each.event.id not in settled
        ]
        if not waiting:
            return dropped
        await asyncio.sleep(outcome.rest_seconds)
    raise AssertionError("events still wait")


def pagers():
    """Return our threads that wait for PagerDuty."""
    return [each for each in threading.enumerate() if each.name == "tasker-health-pagerduty"]


def test_an_incident_from_its_beginning_to_its_end(receiver):
    """An update adds to the open alert and does not undo an acknowledgement; after the end another incident begins."""
    channel, key = channel_of("pagerduty", receiver, seconds=30), event_of().dedup_key

    async def life():
        await channel.send(event_of())
        await channel.send(event_of("update"))
        receiver.acknowledge(key)
        await channel.send(event_of("update"))
        assert [each.state for each in receiver.incidents] == ["acknowledged"]
        await channel.send(event_of("resolve"))
        await channel.send(event_of("resolve"))
        await channel.send(event_of())

    asyncio.run(life())
    assert [each.state for each in receiver.incidents] == ["resolved", "triggered"]
    assert len(receiver.incidents[0].events) == 4
    assert receiver.refused == []
    assert all(request.headers["content-type"] == "application/json" for request in receiver.requests)


def test_twenty_senders_are_one_incident(receiver):
    """Whoever of a fleet sends, and be it all of them at once: the dedup key makes one incident of it."""

    async def send_all(action):
        channels = [channel_of("pagerduty", receiver, seconds=30) for _ in range(10)]
        await asyncio.gather(*(channel.send(event_of(action)) for channel in channels for _ in range(2)))

    asyncio.run(send_all("trigger"))
    asyncio.run(send_all("resolve"))
    assert [each.state for each in receiver.incidents] == ["resolved"]
    assert receiver.refused == []


def test_a_signed_webhook_is_what_its_receiver_can_verify(receiver):
    """By the signature of Standard Webhooks over the bytes that came."""
    secret = canary.secret("signing")
    endpoint = Endpoint(f"{receiver.url}/hook", "k", ssl.create_default_context(cafile=receiver.ca_file), 30)
    event = event_of()
    asyncio.run(WebhookChannel("signed", endpoint, secret, SystemClock()).send(event))
    [hook] = receiver.hooks
    content = f"{hook.headers['webhook-id']}.{hook.headers['webhook-timestamp']}.".encode() + hook.body
    digest = base64.b64encode(hmac.digest(secret.encode(), content, hashlib.sha256)).decode()
    assert hook.headers["webhook-signature"] == f"v1,{digest}"
    assert (hook.method, hook.json["data"]["id"]) == ("POST", event.id)


def test_nothing_is_lost_whatever_the_receiver_does(caplog):
    """Through every fault, at the begin and at the end of an incident, of each kind of channel: one incident, resolved.

    No secret is in any log, of the client libraries at DEBUG either; no thread and no connection is left.
    """
    caplog.set_level(logging.DEBUG)
    caplog.handler.setLevel(logging.DEBUG)
    receivers = {kind: EventsReceiver() for kind in KINDS}
    counts = {kind: DeliveryCounts() for kind in KINDS}

    async def one(kind):
        receivers[kind].misbehave(*FAULTS, Behaviour.ANSWER, *QUICK)
        pending = [pending_of(), pending_of("update"), pending_of("resolve")]
        return await settle(dispatch_of(channel_of(kind, receivers[kind]), counts[kind]), pending)

    async def every():
        return await asyncio.gather(*map(one, KINDS))

    try:
        assert asyncio.run(every()) == [{}, {}, {}]
        assert [each.state for each in receivers["pagerduty"].incidents] == ["resolved"]
        for kind in KINDS:
            taken = receivers[kind].events or receivers[kind].hooks
            assert len(taken) >= 3
            assert (counts[kind].pending, counts[kind].dropped, counts[kind].error) == (0, {}, None)
            assert counts[kind].results["sent"] == 3
            assert counts[kind].results["failed"] >= 10
            wait_until(lambda one=receivers[kind]: one.held == 0, "every connection is closed")
        wait_until(lambda: not pagers(), "every thread has ended")
        secrets = [receivers["pagerduty"].routing_key, "canary-"]
        assert not any(secret in record.getMessage() for record in caplog.records for secret in secrets)
    finally:
        for each in receivers.values():
            each.close()


def test_a_socket_whose_peer_is_gone_before_the_handshake_is_closed():
    """It is refused as any other, and leaves no file open: the one that TLS had taken over is closed at once."""
    tls = ssl.create_default_context()
    transport = CutTransport(tls)
    with socket.create_server(("127.0.0.1", 0)) as server:
        line = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        wait_until(lambda: _is_reset(line), "the reset has come")
        files = len([*Path("/proc/self/fd").iterdir()])
        with pytest.raises(ConnectionResetError) as raised:
            tls.wrap_socket(line, server_hostname="localhost")
        assert len([*Path("/proc/self/fd").iterdir()]) == files - 1, raised
    transport.close()


def _is_reset(line):
    try:
        line.getpeername()
    except OSError:
        return True
    return False


@pytest.mark.parametrize("kind", KINDS)
def test_a_receiver_that_is_away_gets_it_when_it_is_back(receiver, kind):
    """A closed port costs nothing but the rest, and what waited arrives."""
    channel, counts = channel_of(kind, receiver, seconds=30), DeliveryCounts()
    dispatch, pending = dispatch_of(channel, counts), [pending_of(first_at=SystemClock().monotonic())]
    receiver.stop()
    outcome = asyncio.run(dispatch.deliver(pending))
    assert (outcome.done, outcome.dropped, counts.results) == (set(), {}, {"failed": 1})
    assert counts.error == "refused (ConnectError)"
    receiver.start()
    assert asyncio.run(settle(dispatch, pending)) == {}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("status", [429, 500, 503])
def test_one_attempt_is_one_request(receiver, kind, status):
    """No client tries again by itself, nor sleeps: what was answered comes back, with what the other side asks for."""
    receiver.misbehave(Answer(status, {"Retry-After": "7"}))
    with pytest.raises(DeliveryError, match=f"answered {status}") as raised:
        asyncio.run(channel_of(kind, receiver, seconds=30).send(event_of()))
    assert (raised.value.again, raised.value.after_seconds) == (True, 7)
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_without_end_is_not_read_to_its_end(receiver, kind):
    """The beginning is enough: a status of success is one for a webhook, and PagerDuty would say it otherwise."""
    receiver.misbehave(Behaviour.HUGE)
    refused = "answered 202, but not as PagerDuty does"
    expected = pytest.raises(DeliveryError, match=refused) if kind == "pagerduty" else contextlib.nullcontext()
    with expected:
        asyncio.run(channel_of(kind, receiver, seconds=60).send(event_of()))
    wait_until(lambda: receiver.held == 0, "the connection is closed")
    assert receiver.sent_bytes < 50_000_000


@pytest.mark.parametrize("kind", ["signed", "slack"])
def test_an_answer_that_ends_after_its_status(receiver, kind):
    """The status has told that it was taken: were the body waited for, it would be sent again and again."""
    receiver.misbehave(Answer(200, {"Content-Length": "10"}))
    asyncio.run(channel_of(kind, receiver, seconds=30).send(event_of()))
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_redirect_is_not_followed(receiver, kind):
    """It would carry the key, or the figures, to wherever an answer points: the address is to be put right."""
    receiver.misbehave(Answer(307, {"Location": f"{receiver.url}/elsewhere"}))
    with pytest.raises(DeliveryError, match="put alerts") as raised:
        asyncio.run(channel_of(kind, receiver, seconds=30).send(event_of()))
    assert raised.value.again
    assert [request.path for request in receiver.requests] != ["/elsewhere"]
    assert len(receiver.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_certificate_that_nobody_trusts(receiver, kind):
    """Nothing is said to who cannot show who it is."""
    with pytest.raises(DeliveryError, match="ConnectError"):
        asyncio.run(channel_of(kind, receiver, seconds=30, trusted=False).send(event_of()))
    assert receiver.requests == []


@pytest.mark.parametrize("kind", KINDS)
def test_proxies_of_the_environment_are_not_used(receiver, kind, monkeypatch):
    """Whom we tell stands in the settings."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/none")
    asyncio.run(channel_of(kind, receiver, seconds=30).send(event_of()))
    assert len(receiver.requests) == 1


def test_a_wrong_key_loses_nothing(receiver, caplog):
    """Events wait until an operator has put the key right; the log says which setting it is."""
    wrong, counts = channel_of("pagerduty", receiver, seconds=30, routing_key="f" * 32), DeliveryCounts()
    pending = [pending_of(first_at=SystemClock().monotonic())]
    outcome = asyncio.run(dispatch_of(wrong, counts).deliver(pending))
    assert (outcome.dropped, outcome.done) == ({}, set())
    assert outcome.rest_seconds > 200
    assert "put alerts.pagerduty.routing_key right" in caplog.text
    assert asyncio.run(settle(dispatch_of(channel_of("pagerduty", receiver, seconds=30)), pending)) == {}
    assert len(receiver.open_incidents) == 1


def test_an_event_that_is_refused_is_dropped_and_the_next_is_taken(receiver):
    """400 says that the same event will never be taken: it is counted, and holds up nobody."""
    receiver.misbehave(Answer(400, {}, b'{"errors": ["\'payload.summary\' is missing or blank"]}'))
    first, second = pending_of(rule="one"), pending_of(rule="two")
    counts = DeliveryCounts()
    dropped = asyncio.run(settle(dispatch_of(channel_of("pagerduty", receiver, seconds=30), counts), [first, second]))
    assert dropped == {first.event.id: "refused"}
    assert (counts.dropped, counts.results) == ({"refused": 1}, {"refused": 1, "sent": 1})


def test_a_cancelled_delivery_leaves_nothing(receiver):
    """Stopped while the receiver hangs, a channel ends at once, and so does its thread."""
    receiver.always = Behaviour.HANG

    async def stop():
        tasks = [asyncio.create_task(channel_of(kind, receiver, seconds=60).send(event_of())) for kind in KINDS]
        while len(receiver.requests) < len(KINDS):
            await asyncio.sleep(0.01)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=30)
        assert all(task.cancelled() for task in tasks)

    asyncio.run(stop())
    wait_until(lambda: not pagers(), "the thread has ended")
    wait_until(lambda: receiver.held == 0, "the connections are closed")
