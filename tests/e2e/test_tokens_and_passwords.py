"""Who may read the status of a server that runs: tokens and passwords as their callers send them."""

from __future__ import annotations

import base64

import httpx
import pytest

from canary import secret, watch
from served import served
from server import wait_until
from tasker_health.access.hashing import PasswordHash, new_token, stored_token

PATIENCE_SECONDS = 60
TOKENS = {name: watch(new_token()) for name in ("reader", "nobody", "admin", "old")}
PASSWORDS = {name: secret(f"password-of-{name}") for name in ("ada", "bob")}
SWITCHES = {
    "TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION": "true",
    "TASKER_AUTH__AUTHENTICATION_ENABLED": "true",
    "TASKER_AUTH__AUTHENTICATOR_CLASS": "tokens,basic",
    "TASKER_AUTH__AUTHORIZATION_ENABLED": "true",
    "TASKER_AUTH__AUTHORIZATION_COORDINATOR_CLASS": "roles",
    "TASKER_AUTH__FAILURES_PER_MINUTE": "1000",
    "TASKER_AUTH__TIMEOUT_SECONDS": "30",
    "TASKER_AUTH__ROLES__READER__PERMISSIONS": "tasker.health_status:index",
    "TASKER_AUTH__ROLES__CHIEF__ADMIN": "true",
    "TASKER_AUTH__TOKENS__READER__ROLES": "reader",
    "TASKER_AUTH__TOKENS__ADMIN__ROLES": "chief",
    "TASKER_AUTH__TOKENS__OLD__ROLES": "chief",
    "TASKER_AUTH__TOKENS__OLD__EXPIRES": "2020-01-01T00:00:00Z",
    "TASKER_AUTH__USERS__ADA__ROLES": "reader",
}
HASHES = {f"TASKER_AUTH__TOKENS__{name.upper()}__HASH": stored_token(token) for name, token in TOKENS.items()}
BASIC, BEARER = 'Basic realm="tasker_health", charset="UTF-8"', 'Bearer realm="tasker_health"'


@pytest.fixture(scope="module")
def server():
    """A server that knows `TOKENS` and `PASSWORDS`."""
    users = {
        f"TASKER_AUTH__USERS__{name.upper()}__PASSWORD_HASH": PasswordHash.of(password).stored
        for name, password in PASSWORDS.items()
    }
    with served(**SWITCHES, **HASHES, **users) as running:
        yield running


def bearer(token):
    """Return the header of *token*."""
    return {"Authorization": f"Bearer {token}"}


def basic(name, password):
    """Return the header of *name* and *password*."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


CALLERS = {
    "nobody at all": ({}, 401),
    "a wrong token": (bearer("tasker_" + "A" * 43), 401),
    "no token after Bearer": ({"Authorization": "Bearer"}, 401),
    "an expired token": (bearer(TOKENS["old"]), 401),
    "a token without permission": (bearer(TOKENS["nobody"]), 403),
    "a token with permission": (bearer(TOKENS["reader"]), 200),
    "an API key with permission": ({"X-API-Key": TOKENS["reader"]}, 200),
    "both of one caller": ({**bearer(TOKENS["reader"]), "X-API-Key": TOKENS["reader"]}, 200),
    "both of two callers": ({**bearer(TOKENS["reader"]), "X-API-Key": TOKENS["admin"]}, 401),
    "an admin": (bearer(TOKENS["admin"]), 200),
    "a wrong password": (basic("ada", "wrong"), 401),
    "an unknown name": (basic("eve", PASSWORDS["ada"]), 401),
    "no base64": ({"Authorization": "Basic !"}, 401),
    "a password without permission": (basic("bob", PASSWORDS["bob"]), 403),
    "a password with permission": (basic("ada", PASSWORDS["ada"]), 200),
    "a right password and a wrong key": ({**basic("ada", PASSWORDS["ada"]), "X-API-Key": "wrong"}, 401),
}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("caller", CALLERS)
def test_each_caller_gets_the_code_of_the_contract(server, caller, method):
    """200, 401 with every challenge, 403; HEAD as GET; the same again, from what is remembered."""
    headers, code = CALLERS[caller]
    for _ in range(2):
        answer = httpx.request(method, f"{server.url}/status", headers=headers, timeout=PATIENCE_SECONDS)
        assert answer.status_code == code
        challenge = answer.headers.get_list("www-authenticate")
        assert challenge == ([BEARER, BASIC] if code == 401 else [])
        if method == "GET":
            error = {200: None, 401: "Unauthorized", 403: "Forbidden"}[code]
            assert answer.json().get("error") == error
            assert ("system_health" in answer.json()) == (code == 200)


def test_what_never_asks_is_not_touched_by_credentials(server):
    """Live, ready and startup with wrong ones are as without."""
    for path in ("live", "ready", "startup"):
        answer = httpx.get(f"{server.url}/{path}", headers=bearer("wrong"), timeout=PATIENCE_SECONDS)
        assert answer.status_code == 200


def test_the_log_names_no_secret_and_says_which_token_expired(server):
    """Failures are told with the address; neither token, password nor hash is in it."""
    httpx.get(f"{server.url}/status", headers=bearer("tasker_wrong"), timeout=PATIENCE_SECONDS)
    wait_until(lambda: "authentication failed: GET" in server.log, "the failure is logged")
    assert "the token of old has expired" in server.log
    for each in ("tasker_wrong", "sha256:", "scrypt:", *TOKENS.values(), *PASSWORDS.values()):
        assert each not in server.log
