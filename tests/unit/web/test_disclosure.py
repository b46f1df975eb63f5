"""What leaves, and to whom: an allow-list by type for everybody, and detail for those who have the permission."""

from __future__ import annotations

import asyncio
import typing
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from types import NoneType, UnionType

import httpx
import msgspec
import pytest

from fakes import FakeClock, FakeSource, settings_of
from tasker_health.access import PERMISSION
from tasker_health.access.principal import Principal
from tasker_health.access.roles import RolesCoordinator
from tasker_health.errors import AuthenticationError
from tasker_health.health import Health
from tasker_health.model import (
    DetailedStatusReport,
    Liveness,
    Problem,
    Readiness,
    Reason,
    SourceReport,
    Startup,
    StatusReport,
    WorkerSummary,
)
from tasker_health.work import Blame, SloReport

CANARY = "secret detail of the fault"
PLAIN = {bool, int, float, datetime, NoneType, msgspec.UnsetType}
NAMES = {
    (Liveness, "service"): "the service, from the settings",
    (Liveness, "reason"): "event_loop_stalled or worker_stalled",
    (Readiness, "failed_checks"): "names of checks",
    (Readiness, "degraded_checks"): "names of checks",
    (Readiness, "checks"): "names of checks",
    (Startup, "waiting_for"): "names that the application declares",
    (StatusReport, "sources"): "names of sources",
    (StatusReport, "slos"): "names of objectives",
    (SloReport, "burn_rates"): "names of windows",
    (WorkerSummary, "by_engine"): "engines, of a closed list",
    (SourceReport, "tasks_by_state"): "words of ours for an engine's states",
    (SourceReport, "steps_by_state"): "words of ours for an engine's states",
    (SourceReport, "groups"): "names of tasks, where the settings ask for them; and states",
    (Problem, "error"): "words of ours",
    (Problem, "message"): "words of ours",
    (SourceReport, "queues"): "of queues, by whoever made the application",
    (Blame, "handler"): "of a function of the application",
    (Blame, "queue"): "of a queue of the application",
    (Blame, "version"): "of the application's version",
}
"""The only fields of anonymous answers that hold text: names from the settings or the code, and words of ours."""


def texts_of(struct):
    """Return the fields of *struct*, and of all that it holds, that may hold text."""
    found = set()
    hints = typing.get_type_hints(struct)
    for field in msgspec.structs.fields(struct):
        for leaf in leaves(hints[field.name]):
            if leaf is str:
                found.add((struct, field.name))
            elif isinstance(leaf, type) and issubclass(leaf, msgspec.Struct):
                found |= texts_of(leaf)
            else:
                assert leaf in PLAIN or issubclass(leaf, Enum), (struct, field.name, leaf)
    return found


def leaves(annotation):
    """Return the types in *annotation* that hold no others."""
    arguments = typing.get_args(annotation)
    if not arguments:
        return [annotation]
    assert isinstance(annotation, UnionType) or typing.get_origin(annotation) in {list, dict, Mapping, typing.Union}, (
        annotation
    )
    return [leaf for argument in arguments for leaf in leaves(argument)]


def test_anonymous_answers_can_hold_no_text_but_names():
    """By type: a new field that holds text fails here until somebody says why it may leave."""
    reports = (Liveness, Readiness, Startup, StatusReport, Problem)
    assert {text for report in reports for text in texts_of(report)} == set(NAMES)


def test_the_detail_is_in_the_detailed_report_alone():
    """So nothing has to be cut out of an anonymous answer, and nothing can be forgotten there."""
    fields = set(DetailedStatusReport.__struct_fields__) - set(StatusReport.__struct_fields__)
    assert fields == {"details"}


class ByHeader:
    """Knows callers by a header."""

    known: typing.ClassVar = {
        "anybody": Principal("anybody"),
        "reader": Principal("reader", permissions=[PERMISSION]),
        "admin": Principal("admin", admin=True),
    }

    async def authenticate(self, request):
        """Return who the header says."""
        name = request.header("x-user")
        if name is not None and name not in self.known:
            raise AuthenticationError
        return self.known.get(name)


def bodies(health, *users):
    """Return the bodies of status for each of *users*, in turn."""

    async def ask():
        transport = httpx.ASGITransport(health.asgi())
        async with httpx.AsyncClient(transport=transport, base_url="http://probe") as client:
            found = []
            for user in users:
                headers = {"x-user": user} if user else {}
                found.append((await client.get("/tasker/health/status", headers=headers)).json())
            await health.stop()
            return found

    return asyncio.run(ask())


@pytest.mark.parametrize("cached", [True, False])
def test_detail_is_shown_to_those_who_have_the_permission(cached):
    """To a reader and an admin; not to nobody, nor to somebody without it; from the cache as well as afresh."""
    health = Health(
        settings_of(health={"cache_duration_seconds": 15 if cached else 0}), authenticator=ByHeader(), clock=FakeClock()
    )
    source = FakeSource()
    health.add_source(source)
    [well] = bodies(health, "reader")
    assert well["details"]["shop"]["error"] is None
    source.fault = Reason.REFUSED
    health = Health(settings_of(), authenticator=ByHeader(), clock=FakeClock())
    health.add_source(source)
    seen = bodies(health, None, "anybody", "reader", "admin", None, "anybody")
    assert ["details" in body for body in seen] == [False, False, True, True, False, False]
    assert [CANARY in str(body) for body in seen] == [False, False, True, True, False, False]
    assert seen[2]["sources"]["shop"]["reason"] == "refused"


def test_detail_is_for_no_one_who_is_refused():
    """With both switches on, who lacks the permission gets no report at all."""
    health = Health(
        settings_of(
            health={"status_requires_authentication": True},
            auth={"authentication_enabled": True, "authorization_enabled": True},
        ),
        authenticator=ByHeader(),
        coordinator_class=RolesCoordinator,
        clock=FakeClock(),
    )
    health.add_source(FakeSource())
    nobody, anybody, bad, reader = bodies(health, None, "anybody", "bad", "reader")
    assert (nobody["error"], anybody["error"], bad["error"]) == ("Unauthorized", "Forbidden", "Unauthorized")
    assert "details" in reader


def test_in_python_too():
    """`health.status(user)` answers a detailed report to who has the permission."""

    async def ask(user):
        health = Health(settings_of(), clock=FakeClock())
        health.add_source(FakeSource())
        report = await health.status(user)
        await health.stop()
        return type(report)

    assert asyncio.run(ask(None)) is StatusReport
    assert asyncio.run(ask(Principal("x"))) is StatusReport
    assert asyncio.run(ask(Principal("x", admin=True))) is DetailedStatusReport
