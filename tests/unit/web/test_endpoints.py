"""Every decision about a request: one table of method, path, code, headers and body."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from fakes import FakeClock, FakeSource, settings_of
from tasker_health.access import BaseCoordinator
from tasker_health.errors import AuthenticationError, CheckFailed
from tasker_health.health import Health
from tasker_health.model import Reason

NOT_FOUND = {"error": "Not Found", "message": "There is no such endpoint or check"}


def health_of(**settings):
    """Return a health with one source, a check that is well and an optional one that is not."""
    health = Health(settings_of(**settings), clock=FakeClock())
    health.add_source(FakeSource())
    health.check("well")(lambda: None)

    @health.check("away", critical=False)
    async def away():
        raise CheckFailed(Reason.REFUSED, "canary")

    return health


async def ask(health, method, path, headers=None, app=None):
    """Return the response of *health* to one request."""
    transport = httpx.ASGITransport(health.asgi(app))
    async with httpx.AsyncClient(transport=transport, base_url="http://probe") as client:
        return await client.request(method, path, headers=headers)


def answer(health, method, path, headers=None):
    """Return the response of *health* to one request, in a loop of its own."""
    return asyncio.run(ask(health, method, path, headers))


def test_live_answers_as_the_contract_says():
    """The body of live, byte for byte."""
    response = answer(health_of(), "GET", "/tasker/health/live")
    assert response.status_code == 200
    assert response.text == '{"alive":true,"timestamp":"2025-06-18T15:30:00Z","service":"tasker"}'


def test_ready_answers_as_the_contract_says():
    """Checks in order, integers of milliseconds, reasons of the closed list, no text of an exception."""
    response = answer(health_of(), "GET", "/tasker/health/ready")
    assert response.status_code == 200
    assert response.json() == {
        "ready": True,
        "degraded_checks": ["away"],
        "checks": {
            "configuration": {"status": "ok"},
            "well": {"status": "ok", "response_time_ms": 0},
            "away": {"status": "error", "response_time_ms": 0, "reason": "refused"},
        },
        "timestamp": "2025-06-18T15:30:00Z",
    }


def test_a_failed_critical_check_is_503_with_all_checks():
    """`ready` false, `failed_checks`, and still every check."""
    health = health_of()

    @health.check("broken")
    def broken():
        raise CheckFailed(Reason.MISSING)

    response = answer(health, "GET", "/tasker/health/ready")
    assert response.status_code == 503
    body = response.json()
    assert (body["ready"], body["failed_checks"], body["degraded_checks"]) == (False, ["broken"], ["away"])
    assert list(body["checks"]) == ["configuration", "well", "away", "broken"]


def test_one_check_can_be_asked_for():
    """`/ready/<check>`: the same form with one check, 503 also for an optional one, 404 for none such."""
    health = health_of()
    assert answer(health, "GET", "/tasker/health/ready/well").json()["checks"].keys() == {"well"}
    away = answer(health_of(), "GET", "/tasker/health/ready/away")
    assert (away.status_code, away.json()["failed_checks"]) == (503, ["away"])
    nothing = answer(health_of(), "GET", "/tasker/health/ready/nothing")
    assert (nothing.status_code, nothing.json()) == (404, NOT_FOUND)


def test_startup_is_503_until_what_was_declared_is_done():
    """`waiting_for` names it."""
    health = health_of()
    done = health.wait_for("warm_up")
    waiting = answer(health, "GET", "/tasker/health/startup")
    assert (waiting.status_code, waiting.json()["waiting_for"]) == (503, ["warm_up"])
    done()
    started = answer(health, "GET", "/tasker/health/startup")
    assert (started.status_code, started.json()) == (200, {"started": True, "timestamp": "2025-06-18T15:30:00Z"})


def test_status_answers_as_the_contract_says():
    """Every key of the contract's example is there, with its figure."""
    body = answer(health_of(), "GET", "/tasker/health/status").json()
    expected = {
        "overall_status": "healthy",
        "total_tasks": 1250,
        "pending_tasks": 45,
        "running_tasks": 12,
        "completed_tasks": 1180,
        "failed_tasks": 13,
        "blocked_tasks": 0,
        "retry_queue_size": 3,
    }
    assert expected.items() <= body["system_health"].items()
    figures = {"avg_task_completion_time_ms": 2340, "avg_step_completion_time_ms": 450, "retry_success_rate": 0.87}
    assert figures.items() <= body["performance_metrics"].items()
    assert body["cache_info"] == {"cached": False, "cache_expires_at": "2025-06-18T15:30:15Z", "age_seconds": 0}
    assert (body["status"], body["reasons"], body["timestamp"]) == ("healthy", [], "2025-06-18T15:30:00Z")
    assert body["database"] == {"active_connections": 5, "maximum_connections": 100, "connection_ratio": 0.05}


def test_an_unhealthy_status_is_503_and_a_degraded_one_200():
    """The code follows the contract's table."""
    health = Health(settings_of(), clock=FakeClock())
    assert answer(health, "GET", "/tasker/health/status").status_code == 200
    assert answer(health, "GET", "/tasker/health").json()["status"] == "degraded"
    source = FakeSource()
    source.fault = Reason.TIMEOUT
    unreadable = Health(settings_of(), clock=FakeClock())
    unreadable.add_source(source)
    response = answer(unreadable, "GET", "/tasker/health/status")
    assert response.status_code == 503
    assert "secret detail" not in response.text
    assert response.json()["system_health"]["total_tasks"] is None


PATHS = [
    "/tasker/health/live",
    "/tasker/health/ready",
    "/tasker/health/ready/well",
    "/tasker/health/startup",
    "/tasker/health/status",
    "/tasker/health",
    "/tasker/openapi.json",
]


@pytest.mark.parametrize("path", PATHS)
def test_head_has_the_headers_of_get_and_no_body(path):
    """HEAD has GET's headers and its Content-Length."""
    health = health_of()
    get, head = answer(health, "GET", path), answer(health, "HEAD", path)
    assert head.status_code == get.status_code
    assert head.content == b""
    assert dict(head.headers) == {**get.headers, "content-length": head.headers["content-length"]}
    assert int(get.headers["content-length"]) == len(get.content)
    assert abs(int(head.headers["content-length"]) - len(get.content)) <= 1  # cached: false became true


@pytest.mark.parametrize("path", PATHS)
def test_every_answer_has_the_headers_of_the_contract(path):
    """Not cached anywhere, plain JSON whatever is accepted, no cookie."""
    response = answer(health_of(), "GET", path, {"Accept": "image/png", "Host": "evil.example"})
    assert response.headers["cache-control"] == "no-cache, no-store, must-revalidate"
    assert response.headers["content-type"] == "application/json"
    assert "set-cookie" not in response.headers
    assert response.status_code == 200


@pytest.mark.parametrize("path", [*PATHS])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"])
def test_other_methods_are_405_with_allow(path, method):
    """405 names the allowed methods in `Allow`, as JSON."""
    response = answer(health_of(), method, path)
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")
    assert response.json()["error"] == "Method Not Allowed"


@pytest.mark.parametrize(
    "path",
    [
        "/tasker/health/live/",
        "/tasker//health/live",
        "//tasker/health/live",
        "/tasker/health/./live",
        "/tasker/health/x/../live",
        "/tasker/health/LIVE",
        "/Tasker/health/live",
        "/tasker/health/live;a=b",
        "/tasker/health/live%2F",
        "/tasker/health/ready/",
        "/tasker/health/ready/well/",
        "/tasker/health/ready/../live",
        "/tasker/health/",
        "/tasker/health/none",
        "/tasker/healthy",
        "/tasker",
        "/",
        "/health/live",
        "/tasker/openapi.json/",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_path_that_is_only_nearly_right_is_404_and_never_a_redirect(path, method):
    """Trailing slash, double slash, dot segments and other case are not found."""

    async def scene():
        sent = []
        scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b"", "root_path": ""}

        async def send(message):
            sent.append(message)

        await health_of().asgi()(scope, None, send)
        return sent

    start, body = asyncio.run(scene())
    assert start["status"] == 404
    assert json.loads(body["body"]) == NOT_FOUND


def test_an_unknown_path_of_the_application_stays_the_application_s():
    """Only what lies under the prefix is ours; a spelling of ours never reaches the application."""
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["path"])
        await send({"type": "http.response.start", "status": 418, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def scene():
        health = health_of()
        ours = ["/tasker/health/LIVE", "/tasker//health/live", "/tasker/health/x", "/tasker/health/live"]
        theirs = ["/", "/tasker", "/tasker/healthy", "/tasker/other", "/health/live"]
        return [[(await ask(health, "GET", path, app=app)).status_code for path in group] for group in (ours, theirs)]

    ours, theirs = asyncio.run(scene())
    assert ours == [404, 404, 404, 200]
    assert theirs == [418] * 5
    assert seen == ["/", "/tasker", "/tasker/healthy", "/tasker/other", "/health/live"]


@pytest.mark.parametrize("prefix", ["/", "/x/y"])
def test_the_prefix_can_be_chosen(prefix):
    """All paths stand under the configured prefix, also under none."""
    health = health_of(server={"prefix": prefix})
    assert answer(health, "GET", f"{prefix.rstrip('/')}/health/live").status_code == 200
    assert answer(health, "GET", "/tasker/health/live").status_code == 404


class Known:
    """Somebody without any permission."""

    def tasker_admin(self):
        """Return whether this is an admin."""
        return False

    def has_tasker_permission(self, permission):
        """Return whether this user has *permission*."""
        return False


class Token:
    """Knows `good`, breaks on `break`."""

    async def authenticate(self, request):
        """Return the user of the token."""
        token = request.header("authorization")
        if token == "break":
            raise RuntimeError("canary")
        if token not in (None, "good"):
            raise AuthenticationError("canary")
        return token and Known()


class Refusing(BaseCoordinator):
    """Refuses everybody."""


@pytest.mark.parametrize(
    ("coordinator", "token", "code", "body"),
    [
        (None, None, 401, {"error": "Unauthorized"}),
        (None, "bad", 401, {"error": "Unauthorized"}),
        (None, "good", 200, {}),
        (None, "break", 500, {"error": "Authentication Configuration Error"}),
        (Refusing, "good", 403, {"error": "Forbidden", "message": "Not authorized to index on tasker.health_status"}),
    ],
)
def test_who_may_not_read_the_status_is_told_so_and_nothing_else(coordinator, token, code, body):
    """401 names a scheme, 403 the permission, 500 what broke; live and ready never ask."""
    settings = settings_of(
        health={"status_requires_authentication": True},
        auth={"authentication_enabled": True, "authorization_enabled": coordinator is not None},
    )
    health = Health(settings, authenticator=Token(), coordinator_class=coordinator, clock=FakeClock())
    health.add_source(FakeSource())
    headers = {"Authorization": token} if token else {}
    for path in ("/tasker/health/status", "/tasker/health"):
        response = answer(health, "GET", path, headers)
        assert response.status_code == code
        assert body.items() <= response.json().items()
        assert "canary" not in response.text
        assert ("www-authenticate" in response.headers) == (code == 401)
    assert answer(health, "GET", "/tasker/health/live", headers).status_code == 200
    ready = answer(health, "GET", "/tasker/health/ready", headers)
    assert ready.status_code == (503 if token == "break" else 200)
    if token == "break":
        assert ready.json()["checks"]["configuration"] == {"status": "error", "reason": "invalid"}


def test_a_fault_of_ours_is_a_500_that_tells_nothing(monkeypatch, caplog):
    """What went wrong is in the log, with its traceback, and not in the answer."""
    health = health_of()

    def breaks():
        raise RuntimeError("canary")

    monkeypatch.setattr(health.monitor, "startup", breaks)
    response = answer(health, "GET", "/tasker/health/startup")
    assert response.status_code == 500
    assert response.json().keys() == {"error", "message"}
    assert "canary" not in response.text
    assert "canary" in caplog.text


def test_the_answers_fit_the_openapi_document():
    """Every answer of every endpoint is valid against the document that is served."""
    document = answer(health_of(), "GET", "/tasker/openapi.json").json()
    source = FakeSource()
    source.fault = Reason.TIMEOUT
    unreadable = Health(settings_of(), clock=FakeClock())
    unreadable.add_source(source)
    unreadable.check("broken")(lambda: False)
    unreadable.wait_for("warm_up")
    seen = set()
    for health in (health_of(), unreadable):
        for path in PATHS[:-1]:
            response = answer(health, "GET", path.replace("well", "well" if health is not unreadable else "broken"))
            template = "/tasker/health/ready/{check}" if path.endswith("/well") else path
            code = str(response.status_code)
            content = document["paths"][template]["get"]["responses"][code]["content"]["application/json"]["schema"]
            Draft202012Validator({**document, **content}).validate(response.json())
            seen.add((template, code))
    assert len(seen) == 11  # live has no 503 without a guard


@given(path=st.text(), method=st.sampled_from(["GET", "HEAD", "POST", ""]))
def test_no_path_makes_a_fault(path, method):
    """Whatever is asked, the answer is one of the contract's codes."""

    async def scene():
        sent = []
        scope = {"type": "http", "method": method, "path": path, "headers": [], "root_path": ""}

        async def send(message):
            sent.append(message)

        await HEALTH.asgi()(scope, None, send)
        return sent[0]["status"]

    assert asyncio.run(scene()) in {200, 404, 405, 503}


HEALTH = Health(settings_of(), clock=FakeClock())
