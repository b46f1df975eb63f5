"""The contract's table of who may read the status, in every cell, on every way in."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest
from jwt import encode

import canary
from fakes import FakeSource, settings_of
from skins import SKINS
from tasker_health.access import PERMISSION
from tasker_health.access.hashing import PasswordHash, new_token, stored_token
from tasker_health.errors import ConfigurationError
from tasker_health.health import Health
from tasker_health.work import Cause, Findings, StuckTask

PLACES = {
    "status": ("/tasker/health/status", ()),
    "page": ("/tasker/health", (("Accept", "text/html"),)),
    "metrics": ("/tasker/metrics", ()),
    "stuck": ("/tasker/health/stuck", ()),
}
METHODS = ("GET", "HEAD")
CREDENTIALS = ("none", "malformed", "wrong", "expired", "without permission", "with permission", "admin")
KINDS = ("token", "api key", "basic", "jwt")
SWITCHES = [
    (required, authentication, authorization)
    for required, authentication, authorization in itertools.product((False, True), repeat=3)
    if authentication or not required
]

TOKENS = {name: canary.watch(new_token()) for name in ("guest", "reader", "boss", "former", "stranger")}
PASSWORD, KEY = canary.secret("password"), canary.secret("jwt-key-of-at-least-32-bytes")
ROLES = {"reader": {"permissions": [PERMISSION]}, "boss": {"admin": True}, "nothing": {}}
ROLE_OF = {"guest": "nothing", "reader": "reader", "boss": "boss", "former": "boss"}
WHO = {
    "without permission": "guest",
    "with permission": "reader",
    "admin": "boss",
    "expired": "former",
    "wrong": "stranger",
}
SALT = b"sixteen bytes of"
# The cheapest parameters that are accepted: thousands of cells are asked.
STORED_PASSWORD = PasswordHash(
    1 << 14, 8, 1, SALT, hashlib.scrypt(PASSWORD.encode(), salt=SALT, n=1 << 14, r=8, p=1, dklen=32)
).stored


def health_of(required, authentication, authorization, *, cached):
    """Return a health with all authenticators of ours, and the switches set."""
    health = Health(
        settings_of(
            health={
                "status_requires_authentication": required,
                "cache_duration_seconds": 3600 if cached else 0,
                "status_timeout_seconds": 60,
            },
            auth={
                "authentication_enabled": authentication,
                "authorization_enabled": authorization,
                "authenticator_class": "tokens,basic,jwt",
                "authorization_coordinator_class": "roles",
                "timeout_seconds": 60,
                "failures_per_minute": 1_000_000,
                "roles": ROLES,
                "tokens": {
                    name: {
                        "hash": stored_token(TOKENS[name]),
                        "roles": [role],
                        "expires": "2020-01-01T00:00:00Z" if name == "former" else None,
                    }
                    for name, role in ROLE_OF.items()
                },
                "users": {
                    name: {"password_hash": STORED_PASSWORD, "roles": [role]}
                    for name, role in ROLE_OF.items()
                    if name != "former"
                },
                "jwt": {"algorithms": ["HS256"], "key": KEY, "issuer": "tests"},
            },
        )
    )
    health.add_source(StandingSource())
    return health


class StandingSource(FakeSource):
    """One of its tasks stands still on a worker that has a name."""

    roster = None

    async def stuck(self, deadline_seconds, most):
        """Return it."""
        task = StuckTask(id="1180", cause=Cause.WORKER_DEAD, state="running", worker="worker@host")
        return Findings(tasks=(task,), causes={Cause.WORKER_DEAD: 1})


def jwt_of(who):
    """Return a token of *who*: of a stranger's making, or ended, or well."""
    ends_at = datetime.now(UTC) + timedelta(hours=-1 if who == "former" else 1)
    claims = {"iss": "tests", "sub": who, "exp": ends_at, "roles": [ROLE_OF.get(who, "boss")]}
    return canary.watch(encode(claims, KEY + "x" if who == "stranger" else KEY, "HS256"))


def headers_of(kind, credentials):
    """Return the headers of somebody with *credentials* of a *kind*; `None` where there are no such."""
    if credentials == "none":
        return ()
    if credentials == "malformed":
        return {
            "token": (("Authorization", "Bearer"),),
            "api key": (("X-API-Key", "no token"),),
            "basic": (("Authorization", "Basic ="),),
            "jwt": (("Authorization", "Bearer a.b.c"),),
        }[kind]
    who = WHO[credentials]
    if kind == "basic":
        if credentials == "expired":
            return None
        word = "nobody:nothing" if who == "stranger" else f"{who}:{PASSWORD}"
        return (("Authorization", f"Basic {base64.b64encode(word.encode()).decode()}"),)
    if kind == "api key":
        return (("X-API-Key", TOKENS[who]),)
    return (("Authorization", f"Bearer {TOKENS[who] if kind == 'token' else jwt_of(who)}"),)


def expected(required, authentication, authorization, credentials):
    """Return the code that the contract's table gives."""
    if credentials in {"malformed", "wrong", "expired"}:
        return 401  # credentials that are present are read wherever an authenticator is configured
    if credentials == "none":
        if required and authentication:
            return 401
        return 403 if authorization else 200  # the coordinator is asked about nobody, and refuses
    if credentials == "without permission":
        return 403 if authorization else 200
    return 200


def check_cell(place, method, code, found, credentials):
    """Hold one answer against all that is promised of it."""
    status, headers, body = found
    names = dict(headers)
    assert status == code
    assert names["cache-control"] == "no-cache, no-store, must-revalidate"
    if method == "HEAD":
        assert body == b""
        assert int(names["content-length"]) > 0
        return
    assert int(names["content-length"]) == len(body)
    assert ("www-authenticate" in names) == (code == 401)
    if code != 200 and place == "page":
        assert names["content-type"].startswith("text/html")
        assert {401: b"Not signed in", 403: b"Not permitted"}[code] in body
    elif code != 200:
        error = json.loads(body)
        assert error["error"] == {401: "Unauthorized", 403: "Forbidden"}[code]
        assert set(error) == {"error", "message"}
        if code == 403:
            assert error["message"] == "Not authorized to index on tasker.health_status"
    elif place == "page":
        assert names["content-type"].startswith("text/html")
        assert (b"Details" in body) == (credentials in {"with permission", "admin"})
    elif place == "stuck":
        assert (b"worker@host" in body) == (credentials in {"with permission", "admin"})
    elif place == "status":
        assert ("details" in json.loads(body)) == (credentials in {"with permission", "admin"})
    else:
        assert b"tasker_total_tasks" in body
    figure = b"1,180" in body or b"1180" in body
    assert figure == (code == 200)  # data for those who may, and for nobody else


@pytest.mark.parametrize("cached", [False, True], ids=["fresh", "cached"])
@pytest.mark.parametrize("skin", SKINS)
@pytest.mark.parametrize("switches", SWITCHES, ids=str)
def test_every_cell(switches, skin, cached):
    """Three switches, seven kinds of caller, four kinds of credentials, four places, GET and HEAD: each is as said."""
    driver = SKINS[skin](health_of(*switches, cached=cached))
    asked = 0
    try:
        if cached:
            driver.ask("GET", "/tasker/health/status", headers_of("token", "admin"))
        for credentials, kind in itertools.product(CREDENTIALS, KINDS):
            headers = headers_of(kind, credentials)
            if headers is None:
                continue
            code = expected(*switches, credentials)
            for (place, (path, more)), method in itertools.product(PLACES.items(), METHODS):
                found = driver.ask(method, path, (*headers, *more))
                check_cell(place, method, code, found, credentials)
                if place == "status" and method == "GET" and code == 200:
                    assert json.loads(found[2])["cache_info"]["cached"] is cached
                asked += 1
    finally:
        driver.end()
    assert asked == (len(CREDENTIALS) * len(KINDS) - 1) * len(PLACES) * len(METHODS)


def test_probes_never_ask():
    """With everything switched on, live, ready, startup and the document are open, whatever is sent along."""
    driver = SKINS["asgi"](health_of(True, True, True, cached=True))
    try:
        for path in ("health/live", "health/ready", "health/startup", "openapi.json"):
            for kind, credentials in itertools.product(KINDS, ("none", "malformed", "wrong")):
                assert driver.ask("GET", f"/tasker/{path}", headers_of(kind, credentials))[0] == 200
    finally:
        driver.end()


@pytest.mark.parametrize(
    "auth",
    [
        {"status_requires_authentication": True},
        {"authorization_enabled": True},
        {"authentication_enabled": True},
    ],
)
def test_combinations_that_cannot_work_do_not_start(auth):
    """A switch without what it needs is a configuration error, and no status that is open by mistake."""
    health = {name: value for name, value in auth.items() if name == "status_requires_authentication"}
    rest = {name: value for name, value in auth.items() if name not in health}
    with pytest.raises(ConfigurationError):
        Health(settings_of(health=health, auth=rest))
