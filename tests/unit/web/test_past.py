"""The endpoint of the history: who may read it, and what it answers."""

from __future__ import annotations

import asyncio

import pytest
from jsonschema import Draft202012Validator

from fakes import FakeClock, FakeSource, settings_of
from scraping import ask
from tasker_health.access import PERMISSION, BaseCoordinator
from tasker_health.access.principal import Principal
from tasker_health.errors import AuthenticationError
from tasker_health.health import Health
from tasker_health.model import Reason

PATH, STATUS = "/tasker/health/history", "/tasker/health/status"
CALLERS = (None, "wrong", "good", "permitted", "break")


class Authenticator:
    """Knows `good` and `permitted`, breaks on `break`."""

    async def authenticate(self, request):
        """Return the user of the token."""
        token = (request.header("authorization") or "").removeprefix("Bearer ")
        if token == "break":
            raise RuntimeError("canary")
        if token not in ("", "good", "permitted"):
            raise AuthenticationError("canary")
        return {"good": Principal("good"), "permitted": Principal("permitted", permissions=[PERMISSION])}.get(token)


class Permissions(BaseCoordinator):
    """Permits who has the permission."""

    def authorized(self, resource, action, context):
        """Return whether the user may."""
        return self.user is not None and self.user.has_tasker_permission(f"{resource}:{action}")


def health_of(**settings):
    """Return a health with one source."""
    health = Health(settings_of(**settings), clock=FakeClock())
    health.add_source(FakeSource())
    return health


def answers(health, *asked):
    """Return what is answered to each of *asked*, method and path, in one loop."""

    async def scene():
        return [await ask(health, method, path=path) for method, path in asked]

    return asyncio.run(scene())


def test_what_was_told_is_told_again():
    """The status and the run of the checks that anybody has asked for, in the slot of now; before, nothing is known."""
    before, _, _, after, head = answers(
        health_of(), ("GET", PATH), ("GET", STATUS), ("GET", "/tasker/health/ready"), ("GET", PATH), ("HEAD", PATH)
    )
    assert before.status_code == after.status_code == head.status_code == 200
    assert set(before.json()["status"]) == {None}
    assert before.json()["checks"] == {}
    body = after.json()
    assert body["status"] == [None] * 119 + ["healthy"]
    assert body["tasks"]["completed"][-2:] == [None, 1180]
    assert body["checks"]["configuration"]["status"] == [None] * 119 + ["ok"]
    assert (body["slot_seconds"], body["is_shared"], body["replicas"]) == (30, False, 1)
    assert body["timestamp"] == "2025-06-18T15:30:30Z"
    assert head.headers["content-length"] == after.headers["content-length"]
    assert after.headers["cache-control"] == "no-cache, no-store, must-revalidate"


def test_an_unhealthy_system_has_a_history_too():
    """It is 200: the question was how it was, and not whether it is well."""
    health = Health(settings_of(), clock=FakeClock())
    source = FakeSource()
    source.fault = Reason.TIMEOUT
    health.add_source(source)
    status, history = answers(health, ("GET", STATUS), ("GET", PATH))
    assert (status.status_code, history.status_code) == (503, 200)
    assert history.json()["status"][-1] == "unhealthy"
    assert "secret detail" not in history.text


def test_it_costs_no_question():
    """Whoever asks for it as often as they like: no source is read and no check is run for it."""
    health = Health(settings_of(), clock=FakeClock())
    source = FakeSource()
    health.add_source(source)
    runs = []
    health.check("counted")(lambda: runs.append(1))
    answers(health, *[("GET", PATH)] * 5)
    assert (source.reads, runs) == (0, [])


def test_it_can_be_turned_off():
    """Then it is 404, in no list of paths, in no document, and nothing looks at what is answered."""
    health = health_of(history={"enabled": False})
    history, status = answers(health, ("GET", PATH), ("GET", STATUS))
    assert (history.status_code, status.status_code) == (404, 200)
    assert PATH not in health.endpoints.paths
    assert PATH in health_of().endpoints.paths
    document = answers(health, ("GET", "/tasker/openapi.json"))[0].json()
    assert PATH not in document["paths"]


def test_only_reading_is_allowed():
    """POST is 405, a path that is nearly right 404."""
    posted, slash = answers(health_of(), ("POST", PATH), ("GET", f"{PATH}/"))
    assert (posted.status_code, posted.headers["allow"]) == (405, "GET, HEAD")
    assert slash.status_code == 404


def test_the_document_describes_it():
    """What is answered fits the schema, which knows every key."""
    health = health_of()
    _, _, answered, document = answers(
        health, ("GET", STATUS), ("GET", "/tasker/health/ready"), ("GET", PATH), ("GET", "/tasker/openapi.json")
    )
    described = document.json()
    operation = described["paths"][PATH]["get"]
    assert set(operation["responses"]) == {"200", "401", "403", "500"}
    schema = described["components"]["schemas"]["History"]
    assert set(schema["required"]) == set(answered.json())
    resolved = {**schema, "components": described["components"]}
    Draft202012Validator(resolved).validate(answered.json())


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    ("authentication", "authorization", "codes"),
    [
        (False, False, (200, 401, 200, 200, 500)),
        (True, False, (401, 401, 200, 200, 500)),
        (True, True, (401, 401, 403, 200, 500)),
        (False, True, (403, 401, 403, 200, 500)),
    ],
)
def test_who_may_read_it(authentication, authorization, codes, method):
    """Exactly those who may read the status; the others see nothing of it."""
    settings = settings_of(
        health={"status_requires_authentication": authentication},
        auth={"authentication_enabled": authentication, "authorization_enabled": authorization},
    )
    health = Health(settings, authenticator=Authenticator(), coordinator_class=Permissions, clock=FakeClock())
    health.add_source(FakeSource())

    async def scene():
        return [
            await ask(health, method, {"Authorization": f"Bearer {caller}"} if caller else {}, path)
            for path in (PATH, STATUS)
            for caller in CALLERS
        ]

    responses = asyncio.run(scene())
    assert tuple(response.status_code for response in responses) == codes * 2
    for response in responses[: len(CALLERS)]:
        assert ("www-authenticate" in response.headers) == (response.status_code == 401)
        assert "canary" not in response.text
        if response.status_code != 200:
            assert "slot_seconds" not in response.text
