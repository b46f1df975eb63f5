"""The formats: what each says of every situation, that no asker gets another one's, and that none tells too much."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec import to_builtins

from callers import ByHeader, as_user
from fakes import FakeClock, FakeSource, facts_of, settings_of
from tasker_health.errors import CheckFailed
from tasker_health.health import Health
from tasker_health.model import CheckResult, CheckStatus, CountingMethod, Liveness, Readiness, Reason, Startup
from tasker_health.request import Request
from tasker_health.web.formats import in_words_of
from tasker_health.web.negotiation import FORMATS

PREFIX = "/tasker/health"
PATHS = ["live", "ready", "ready/well", "ready/away", "startup", "status"]
TYPES = {
    "json": "application/json",
    "health": "application/health+json",
    "actuator": "application/vnd.spring-boot.actuator.v3+json",
    "microprofile": "application/json",
}
WORDS = {
    "json": {None},
    "health": {"pass", "warn", "fail"},
    "actuator": {"UP", "DOWN", "OUT_OF_SERVICE", "UNKNOWN"},
    "microprofile": {"UP", "DOWN"},
}
BAD = {"fail", "DOWN", "OUT_OF_SERVICE"}
CANARY = "secret detail of the fault"  # of the fake source
BY_NAME = {form.name: form for form in FORMATS}

_HEALTH_CHECK = {
    "type": "object",
    "properties": {
        "componentId": {"type": "string"},
        "componentType": {"enum": ["component", "datastore", "system"]},
        "observedUnit": {"type": "string"},
        "status": {"enum": ["pass", "warn", "fail"]},
        "time": {"type": "string", "pattern": "^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ$"},
        "output": {"type": "string"},
        "observedValue": {},
    },
    "required": ["componentType", "time"],
    "dependentRequired": {"observedUnit": ["observedValue"]},
    "additionalProperties": False,
}
_DATA = {"type": "object", "additionalProperties": {"type": ["string", "boolean", "number"]}}
_MICROPROFILE_CHECK = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "status": {"enum": ["UP", "DOWN"]}, "data": _DATA},
    "required": ["name", "status"],
}
SCHEMAS = {
    "json": {"type": "object", "required": ["timestamp"]},
    "health": {  # draft-inadarei-api-health-check-06 section 3 and 4
        "type": "object",
        "properties": {
            "status": {"enum": ["pass", "warn", "fail"]},
            "serviceId": {"type": "string"},
            "output": {"type": "string"},
            "checks": {
                "type": "object",
                "propertyNames": {"pattern": "^[^:]+(:[^:]+)?$"},
                "additionalProperties": {"type": "array", "minItems": 1, "items": _HEALTH_CHECK},
            },
        },
        "required": ["status"],
        "additionalProperties": False,
    },
    "actuator": {  # either components or details, as Spring Boot's descriptors have it
        "$ref": "#/$defs/health",
        "$defs": {
            "health": {
                "type": "object",
                "properties": {
                    "status": {"enum": ["UP", "DOWN", "OUT_OF_SERVICE", "UNKNOWN"]},
                    "components": {"type": "object", "additionalProperties": {"$ref": "#/$defs/health"}},
                    "details": {"type": "object"},
                },
                "required": ["status"],
                "additionalProperties": False,
                "not": {"required": ["components", "details"]},
            }
        },
    },
    "microprofile": {  # MicroProfile Health 4.0, appendix B
        "type": "object",
        "properties": {
            "status": {"enum": ["UP", "DOWN"]},
            "checks": {"type": "array", "items": _MICROPROFILE_CHECK},
        },
        "required": ["status", "checks"],
        "additionalProperties": False,
    },
}


def health_of(*, source=None, authenticator=None, clock=None, **options):
    """Return a health with a source, a check that is well and an optional one that is not."""
    health = Health(settings_of(**options), authenticator=authenticator, clock=clock or FakeClock())
    health.add_source(source or FakeSource())
    health.check("well")(lambda: None)

    @health.check("away", critical=False)
    async def away():
        raise CheckFailed(Reason.REFUSED, "canary of the check")

    return health


def well():
    """All is well, but for an optional check."""
    return health_of()


def degraded():
    """Tasks are blocked."""
    return health_of(source=FakeSource(facts_of(blocked=2, retry_queue=None)))


def unhealthy():
    """The only source cannot be read, a critical check fails, startup is not over."""
    source = FakeSource()
    source.fault = Reason.TIMEOUT
    health = health_of(source=source)
    health.check("broken")(lambda: False)
    health.wait_for("warm_up")
    return health


def of_tasker():
    """All that a source can tell: by state and by group, with its age, how it counted and whether that was right."""
    facts = facts_of(
        tasks_by_state={"complete": 1180, "error": 13},
        steps_by_state={"complete": 5, "in.backoff": 1},
        oldest_pending_seconds=7,
        groups={"shop": {"pending": 45, "failed": 13}},
        method=CountingMethod.TALLY,
        drift=0,
    )
    return health_of(source=FakeSource(facts))


def half_unreadable():
    """One of two sources cannot be read: degraded."""
    source = FakeSource(name="stock")
    source.fault = Reason.TIMEOUT
    health = health_of()
    health.add_source(source)
    return health


def draining():
    """About to stop."""
    health = health_of()
    health.monitor.drain()
    return health


SITUATIONS = [well, degraded, unhealthy, of_tasker, half_unreadable, draining]


def answers(health, *requests):
    """Return the responses of *health* to *requests*, in turn: path with query, and headers; GET unless said."""

    async def ask():
        transport = httpx.ASGITransport(health.asgi())
        async with httpx.AsyncClient(transport=transport, base_url="http://probe") as client:
            found = []
            for path, headers, *method in requests:
                found.append(await client.request(*(method or ["GET"]), f"{PREFIX}/{path}", headers=headers))
            await health.stop()
            return found

    return asyncio.run(ask())


def ways(name):
    """Return each way to ask for the format *name*: query and headers."""
    query = [(f"?format={name}", {}), (f"?format={name}", {"Accept": "text/html, image/png"})]
    if name == "json":
        return [*query, ("", {"Accept": "*/*"}), ("", {"Accept": "image/png"}), ("?format=none", {}), ("", {})]
    if name == "microprofile":
        return query
    return [*query, ("", {"Accept": TYPES[name]}), ("?a=b", {"Accept": f"{TYPES[name]}, */*;q=0.1"})]


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", TYPES)
def test_every_endpoint_answers_in_every_format(situation, path, name):
    """With the code of plain JSON, in the form of the format, `Vary: Accept`, and a status that goes with the code."""
    [plain] = answers(situation(), (path, {}))
    for query, headers in ways(name):
        [response] = answers(situation(), (path + query, headers))
        assert response.status_code == plain.status_code
        assert response.headers["content-type"] == TYPES[name]
        assert response.headers["vary"] == "Accept"
        assert response.headers["cache-control"] == plain.headers["cache-control"]
        document = response.json()
        Draft202012Validator(SCHEMAS[name]).validate(document)
        if name == "json":
            assert document == plain.json()
        else:
            assert document["status"] in WORDS[name]
            assert (document["status"] in BAD) == (response.status_code == 503)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", TYPES)
def test_head_has_the_headers_of_get(path, name):
    """In every format, by every way of asking for it; no body."""
    for query, headers in ways(name):
        health = health_of()
        _, get, head = answers(
            health, (path + query, headers), (path + query, headers), (path + query, headers, "HEAD")
        )
        assert (head.status_code, dict(head.headers)) == (get.status_code, dict(get.headers))
        assert head.content == b""


@pytest.mark.parametrize("situation", SITUATIONS)
def test_microprofile_is_down_exactly_when_a_check_is(situation):
    """Its readers are told to draw that conclusion."""
    for path in PATHS:
        [response] = answers(situation(), (f"{path}?format=microprofile", {}))
        document = response.json()
        assert (document["status"] == "DOWN") == any(check["status"] == "DOWN" for check in document["checks"])


@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_figure_of_the_status_is_in_every_format(situation):
    """By its name; one that cannot be known is said to be so, and never 0."""
    [plain] = answers(situation(), ("status", {}))
    report = plain.json()
    figures = {**report["system_health"], **report["performance_metrics"], **report["database"]}
    del figures["overall_status"]
    health, actuator, microprofile = (
        answers(situation(), (f"status?format={name}", {}))[0].json() for name in list(TYPES)[1:]
    )
    components = actuator["components"]
    data = {check["name"]: check["data"] for check in microprofile["checks"]}
    observed = {name.partition(":")[2]: checks[0].get("observedValue") for name, checks in health["checks"].items()}
    for name, value in figures.items():
        assert observed[name] == value
        assert {**components["tasks"]["details"], **components["database"]["details"]}[name] == value
        assert {**data["tasks"], **data["database"]}[name] == ("unknown" if value is None else value)
    assert components["sources"]["components"].keys() == report["sources"].keys()
    assert {f"source-{name}" for name in report["sources"]} <= data.keys()
    assert [each["componentId"] for each in health["checks"]["sources:status"]] == list(report["sources"])


def test_a_reason_is_marked_where_it_is():
    """In health+json the figure that is too high is `warn`, the others have no status."""
    [response] = answers(degraded(), ("status?format=health", {}))
    checks = response.json()["checks"]
    marked = {name for name, [first, *_] in checks.items() if "status" in first}
    assert marked == {"system_health:blocked_tasks", "sources:status"}
    assert checks["system_health:blocked_tasks"][0]["output"] == "blocked_tasks"


NOW = datetime(2025, 6, 18, 15, 30, tzinfo=UTC)
WEDGED = Liveness(alive=False, timestamp=NOW, service="shop", reason="event_loop_stalled", stalled_seconds=42.4)
UNKNOWN = CheckResult(status=CheckStatus.UNKNOWN, reason=Reason.NOT_RUN)
NOT_RUN = Readiness(
    ready=False, failed_checks=["a"], degraded_checks=["b"], checks={"a": UNKNOWN, "b": UNKNOWN}, timestamp=NOW
)
WAITING = Startup(started=False, waiting_for=["warm_up"], timestamp=NOW)


@pytest.mark.parametrize(
    ("name", "report", "words"),
    [
        (
            "health",
            WEDGED,
            {
                "status": "fail",
                "serviceId": "shop",
                "output": "event_loop_stalled",
                "checks": {
                    "process:stalled_seconds": [
                        {
                            "componentType": "system",
                            "observedValue": 42.4,
                            "observedUnit": "s",
                            "status": "fail",
                            "time": "2025-06-18T15:30:00Z",
                            "output": "event_loop_stalled",
                        }
                    ]
                },
            },
        ),
        (
            "actuator",
            WEDGED,
            {
                "status": "DOWN",
                "components": {
                    "livenessState": {
                        "status": "DOWN",
                        "details": {
                            "timestamp": "2025-06-18T15:30:00Z",
                            "service": "shop",
                            "reason": "event_loop_stalled",
                            "stalled_seconds": 42.4,
                        },
                    }
                },
            },
        ),
        (
            "actuator",
            NOT_RUN,
            {
                "status": "DOWN",
                "components": {
                    "a": {"status": "UNKNOWN", "details": {"status": "unknown", "reason": "not_run"}},
                    "b": {"status": "UNKNOWN", "details": {"status": "unknown", "reason": "not_run"}},
                    "readinessState": {
                        "status": "DOWN",
                        "details": {
                            "failed_checks": ["a"],
                            "degraded_checks": ["b"],
                            "timestamp": "2025-06-18T15:30:00Z",
                        },
                    },
                },
            },
        ),
        (
            "actuator",
            WAITING,
            {
                "status": "OUT_OF_SERVICE",
                "components": {
                    "startupState": {
                        "status": "OUT_OF_SERVICE",
                        "details": {"waiting_for": ["warm_up"], "timestamp": "2025-06-18T15:30:00Z"},
                    }
                },
            },
        ),
        (
            "microprofile",
            WAITING,
            {
                "status": "DOWN",
                "checks": [
                    {"name": "startupState", "status": "DOWN", "data": {"timestamp": "2025-06-18T15:30:00Z"}},
                    {"name": "warm_up", "status": "DOWN"},
                ],
            },
        ),
    ],
)
def test_what_seldom_happens_is_said_in_the_words_of_the_format(name, report, words):
    """A wedged process, checks that have not run, a startup that waits."""
    assert to_builtins(in_words_of(BY_NAME[name], report)) == words


def test_unknown_is_fail_in_health_json_only_where_it_decides():
    """The draft has no word for unknown."""
    checks = to_builtins(in_words_of(BY_NAME["health"], NOT_RUN))["checks"]
    assert [checks[f"{name}:responseTime"][0]["status"] for name in "ab"] == ["fail", "warn"]


def test_a_draining_process_is_out_of_service():
    """In Spring Boot's words, while nothing but the drain keeps it from serving."""
    health = health_of()

    async def play():
        ready = Request("GET", f"{PREFIX}/ready", [], query="format=actuator")
        before = await health.endpoints.answer(ready)
        health.monitor.drain()
        return [json.loads(each.body) for each in (before, await health.endpoints.answer(ready))]

    before, after = asyncio.run(play())
    assert (before["status"], after["status"]) == ("UP", "OUT_OF_SERVICE")
    assert after["components"]["server"] == {"status": "DOWN", "details": {"status": "error", "reason": "draining"}}


@pytest.mark.parametrize("name", list(TYPES)[1:])
@pytest.mark.parametrize("path", ["live", "ready", "status"])
@pytest.mark.parametrize("user", [None, "reader"])
def test_an_answer_is_encoded_once_for_all_who_get_the_same(name, path, user):
    """The very object is handed out again; once the report is another one, so is the answer."""
    clock = FakeClock()
    health = health_of(authenticator=ByHeader(), clock=clock)
    headers = [(b"x-user", user.encode())] if user else []

    async def ask():
        await health.endpoints.answer(Request("GET", f"{PREFIX}/{path}", headers))
        found = [
            await health.endpoints.answer(Request("GET", f"{PREFIX}/{path}", headers, query=f"format={name}"))
            for _ in range(2)
        ]
        clock.move(2)
        return [
            *found,
            await health.endpoints.answer(Request("GET", f"{PREFIX}/{path}", headers, query=f"format={name}")),
        ]

    first, second, later = asyncio.run(ask())
    assert second is first
    assert later is not first


@pytest.mark.parametrize("path", ["status", "ready"])
def test_a_broken_gate_or_a_refusal_is_plain_json_with_vary(path):
    """Whatever was asked for: the code of plain JSON, and its words."""
    options = {"health": {"status_requires_authentication": True}, "auth": {"authentication_enabled": True}}
    for user, code in ((None, 401), ("bad", 401), ("broken", 500), ("anybody", 200)):
        for name, media_type in TYPES.items():
            health = health_of(authenticator=ByHeader(), **options)
            [response] = answers(health, (f"{path}?format={name}", as_user(user)))
            if path == "ready":
                assert response.status_code == 200
                continue
            assert response.status_code == code
            assert response.headers["vary"] == "Accept"
            assert response.headers["content-type"] == (media_type if code == 200 else "application/json")
            assert ("www-authenticate" in response.headers) == (code == 401)


def told_by(health, user):
    """Return what *user* is told by every endpoint in every format, afresh and from the cache."""
    requests = [(f"{path}?format={name}", as_user(user)) for path in PATHS for name in TYPES]
    requests.append(("status", as_user(user, Accept=TYPES["health"])))
    return [response.text for response in answers(health, *requests, *requests)]


@pytest.mark.parametrize("cached", [True, False])
def test_no_format_tells_nobody_what_only_some_may_know(cached):
    """Text of a fault is for those who have the permission alone, though both get the same reading from the cache."""
    source = FakeSource()
    source.fault = Reason.TIMEOUT
    options = {"health": {"cache_duration_seconds": 15 if cached else 0}}
    for user, may in ((None, False), ("anybody", False), ("reader", True), ("admin", True)):
        told = told_by(health_of(source=source, authenticator=ByHeader(), **options), user)
        assert not any("canary" in text for text in told)
        assert any(CANARY in text for text in told) == may
        of_status = [text for text in told if "total_tasks" in text]
        assert all((CANARY in text) == may for text in of_status)
        assert all(("read_time_ms" in text) == may for text in of_status if "sources:status" not in text)


@pytest.mark.parametrize("name", ["json", "actuator", "microprofile"])
@pytest.mark.parametrize("users", [(None, "reader"), ("reader", None), ("anybody", "admin"), ("admin", "anybody")])
def test_who_asks_first_decides_nothing_for_who_asks_next(name, users):
    """Of one kept report, in one format: detail is for those who may see it, whoever came before."""
    requests = [(f"status?format={name}", as_user(user)) for user in (*users, *users, *users)]
    told = [response.text for response in answers(health_of(authenticator=ByHeader()), *requests)]
    assert ["read_time_ms" in text for text in told] == [user in {"reader", "admin"} for user in users] * 3


REQUESTS = st.tuples(
    st.sampled_from(["live", "ready", "ready/well", "startup", "status"]),
    st.sampled_from([(name, way) for name in TYPES for way in ways(name)]),
    st.sampled_from([None, "anybody", "reader"]),
    st.sampled_from(["GET", "HEAD"]),
    st.sampled_from([0.0, 0.3, 1.0, 20.0]),
)


def format_told(document):
    """Return which format *document* is in."""
    if isinstance(document.get("checks"), list):
        return "microprofile"
    if "components" in document:
        return "actuator"
    return "health" if document.get("status") in WORDS["health"] else "json"


@given(steps=st.lists(REQUESTS, min_size=2, max_size=12), guarded=st.booleans())
@settings(max_examples=150, deadline=None)
def test_nobody_gets_another_one_s_answer(steps, guarded):
    """In whatever order people ask, each gets the format asked for, and detail only who may see it."""
    clock = FakeClock()
    health = health_of(authenticator=ByHeader() if guarded else None, clock=clock)

    async def play():
        transport = httpx.ASGITransport(health.asgi())
        async with httpx.AsyncClient(transport=transport, base_url="http://probe") as client:
            for path, (name, (query, headers)), user, method, seconds in steps:
                clock.move(seconds)
                response = await client.request(method, f"{PREFIX}/{path}{query}", headers=as_user(user, **headers))
                assert response.headers["content-type"] == TYPES[name]
                if method == "HEAD":
                    continue
                assert format_told(response.json()) == name
                detail = guarded and user == "reader" and path == "status"
                seen = "read_time_ms" in response.text or '"details":{"shop"' in response.text
                assert seen == (detail and name != "health")
            await health.stop()

    asyncio.run(play())


def test_the_fast_path_is_for_those_who_accept_anything():
    """Plain JSON is handed out at once to nobody who has said more than `*/*`, or sent a query."""
    health = health_of()

    async def play():
        at_once = health.endpoints.at_once
        found = {}
        for path in (f"{PREFIX}/live", f"{PREFIX}/ready", f"{PREFIX}/status", PREFIX):
            for _ in range(2):
                plain = await health.endpoints.answer(Request("GET", path, []))
            found[path] = (
                at_once("GET", path, [], b"") is plain,
                at_once("GET", path, [(b"host", b"x"), (b"accept", b"*/*")], b"") is plain,
                at_once("GET", path, [(b"accept", b"*/*"), (b"accept", TYPES["health"].encode())], b""),
                at_once("GET", path, [(b"accept", b"text/html")], b""),
                at_once("GET", path, [(b"accept", b"")], b""),
                at_once("GET", path, [], b"format=health"),
                at_once("GET", path, [], "x"),
            )
        await health.stop()
        return found

    assert set(asyncio.run(play()).values()) == {(True, True, None, None, None, None, None)}


def test_json_is_what_it_says():
    """Each answer is one document of JSON in UTF-8."""
    for name in TYPES:
        [response] = answers(well(), (f"status?format={name}", {}))
        json.loads(response.content.decode("utf-8"))


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("name", TYPES)
@pytest.mark.parametrize("user", [None, "reader"])
def test_the_answers_fit_the_openapi_document(situation, name, user):
    """Each format is in the document, under its media type and its code; details are a report of their own there."""
    health = situation()
    health._gate._authenticators = [ByHeader()]
    paths = ["../openapi.json", *PATHS]
    document, *found = answers(health, *[(f"{path}?format={name}", as_user(user)) for path in paths])
    document = document.json()
    for path, response in zip(PATHS, found, strict=True):
        template = f"{PREFIX}/ready/{{check}}" if path.startswith("ready/") else f"{PREFIX}/{path}"
        described = document["paths"][template]["get"]["responses"][str(response.status_code)]["content"]
        schema = described[response.headers["content-type"]]["schema"]
        Draft202012Validator({**document, **schema}).validate(response.json())
    assert {"$ref": "#/components/schemas/DetailedStatusReport"} in described[TYPES["json"]]["schema"]["anyOf"]
