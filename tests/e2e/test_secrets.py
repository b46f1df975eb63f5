"""Every secret that the settings can hold, in a server that works and in one that cannot: none comes out anywhere.

What is asked and printed here is searched by the plugin `canary`, which fails the session for whatever it finds.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys

import httpx
import pytest

import canary
from certificates import Authority
from served import served
from server import free_port
from tasker_health.access.hashing import PasswordHash, new_token, stored_token
from tasker_health.health import Health
from tasker_health.loading import load_settings

TOKEN, METRICS_TOKEN = canary.watch(new_token()), canary.secret("metrics")
PASSWORD, KEY = canary.secret("basic"), canary.secret("jwt-key-of-at-least-32-bytes")
STORED_TOKEN, STORED_PASSWORD = stored_token(TOKEN), PasswordHash.of(PASSWORD).stored
HASHES = [canary.watch(STORED_TOKEN.partition(":")[2]), canary.watch(STORED_PASSWORD.rpartition(":")[2])]
PATHS = (
    *("health", "health/live", "health/ready", "health/ready/database", "health/startup", "health/status", "metrics"),
    *("openapi.json", "health/nothing", "health//status", "health/status/"),
)
ACCEPTS = ("*/*", "text/html", "application/health+json", "application/vnd.spring-boot.actuator.v3+json")


def url_of(name):
    """Return the URL of a database that nobody serves, with a password of its own."""
    return f"postgresql://prober:{canary.secret(name)}@127.0.0.1:{free_port()}/nowhere"


def environment():
    """Return settings with every secret that there is."""
    return {
        "TASKER_DATABASE__URL": url_of("database-url"),
        "TASKER_SOURCES__SHOP__KIND": "tasker",
        "TASKER_SOURCES__SHOP__URL": url_of("source-url"),
        "TASKER_MIGRATIONS__KIND": "dbos",
        "TASKER_MIGRATIONS__URL": url_of("migrations-url"),
        "TASKER_CACHE__SIGNING_KEY": canary.secret("signing-key"),
        "TASKER_EXPORTERS__PROMETHEUS__ACCESS": "token",
        "TASKER_EXPORTERS__PROMETHEUS__TOKEN": METRICS_TOKEN,
        "TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION": "true",
        "TASKER_AUTH__AUTHENTICATION_ENABLED": "true",
        "TASKER_AUTH__AUTHENTICATOR_CLASS": "tokens,basic,jwt",
        "TASKER_AUTH__AUTHORIZATION_ENABLED": "true",
        "TASKER_AUTH__AUTHORIZATION_COORDINATOR_CLASS": "roles",
        "TASKER_AUTH__FAILURES_PER_MINUTE": "100000",
        "TASKER_AUTH__TIMEOUT_SECONDS": "60",  # a password costs what it costs, on a busy machine too
        "TASKER_AUTH__ROLES__BOSS__ADMIN": "true",
        "TASKER_AUTH__TOKENS__CI__HASH": STORED_TOKEN,
        "TASKER_AUTH__TOKENS__CI__ROLES": "boss",
        "TASKER_AUTH__USERS__ADA__PASSWORD_HASH": STORED_PASSWORD,
        "TASKER_AUTH__USERS__ADA__ROLES": "boss",
        "TASKER_AUTH__JWT__ALGORITHMS": "HS256",
        "TASKER_AUTH__JWT__KEY": KEY,
    }


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_server_that_cannot_reach_anything_says_no_secret(log_format, tmp_path):
    """With debug logs of every probe: every path, format and kind of credentials, good and bad."""
    credentials = [
        {},
        {"authorization": f"Bearer {TOKEN}"},
        {"x-api-key": TOKEN},
        {"authorization": f"Bearer {TOKEN}x"},
        {"authorization": f"Bearer {METRICS_TOKEN}"},
        {"authorization": f"Bearer a.{KEY}.c"},
        {"authorization": TOKEN},
        {TOKEN: "a header's name"},
        {"cookie": f"session={TOKEN}", "user-agent": TOKEN, "referer": f"http://{TOKEN}/"},
    ]
    with served(
        **environment(),
        TASKER_LOG__LEVEL="debug",
        TASKER_LOG__FORMAT=log_format,
        TASKER_LOG__PROBES="true",
    ) as server:
        root = server.url.removesuffix("/health")
        with httpx.Client(timeout=60) as client:
            for path, accept, headers in itertools.product(PATHS, ACCEPTS, credentials):
                answer = client.get(f"{root}/{path}", headers={"accept": accept, **headers})
                assert answer.status_code in {200, 401, 403, 404, 503}, (path, headers)
            answer = client.get(f"{root}/health/status", auth=("ada", PASSWORD))
            assert answer.status_code == 503
            assert "details" in answer.json()
            assert client.get(f"{root}/health/status", auth=("ada", f"{PASSWORD}x")).status_code == 401
        assert "authentication failed" in server.log


@pytest.mark.parametrize("command", [["check"], ["check", "--json"], ["doctor", "access", "--token", TOKEN]])
def test_commands_say_no_secret(command):
    """What they find of the same settings, in text and in JSON."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    done = subprocess.run(
        [sys.executable, "-m", "tasker_health", *command],
        env={**clean, **environment()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in {0, 1}, done.stderr
    assert "Traceback" not in done.stderr


BROKEN = {
    "TASKER_DATABASE__URL": "no url {}",
    "TASKER_SOURCES__SHOP__URL": "mysql://user:{}@127.0.0.1/name",
    "TASKER_MIGRATIONS__URL": "{}",
    "TASKER_CACHE__URL": "redis://:{}@127.0.0.1:port/0",
    "TASKER_AUTH__TOKENS__CI__HASH": "sha256:{}",
    "TASKER_AUTH__USERS__ADA__PASSWORD_HASH": "scrypt:{}",
    "TASKER_AUTH__JWT__KEY": "-----BEGIN PUBLIC KEY-----{}",
    "TASKER_AUTH__JWT__JWKS_URL": "http://user:{}@127.0.0.1/",
    "TASKER_AUTH__TOKENS": "{}",
    "TASKER_EXPORTERS__PROMETHEUS": "{}",
    "TASKER_SERVER__TLS_KEY_PASSWORD": "{}",
    "TASKER_DATABASE__PASSWORD": "{}",
}


@pytest.mark.parametrize("variable", BROKEN)
def test_settings_that_do_not_work_are_named_and_their_secrets_are_not(variable):
    """One line, exit code 2, the name of the setting, and stars."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    done = subprocess.run(
        [sys.executable, "-m", "tasker_health", "serve"],
        env={**clean, **environment(), variable: BROKEN[variable].format(canary.secret("broken"))},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_key_of_tls_with_a_password_is_served(tmp_path):
    """And the password is in no line of the log."""
    password = canary.secret("tls-key")
    certificate, key = Authority().pair(password=password).write(tmp_path)
    with served(
        TASKER_SERVER__TLS_CERTIFICATE_FILE=certificate,
        TASKER_SERVER__TLS_KEY_FILE=key,
        TASKER_SERVER__TLS_KEY_PASSWORD=password,
        TASKER_LOG__LEVEL="debug",
    ) as server:
        assert server.url.startswith("https://")


def test_no_repr_has_a_secret():
    """Of the settings, of each group in them, of everything that is made of them, and of what is in those."""
    settings = load_settings(environ=environment())
    health = Health(settings)
    gate = health._gate
    things = [settings, *(getattr(settings, name) for name in type(settings).model_fields), health, gate]
    things += [*gate.authenticators, *settings.auth.tokens.values(), *settings.auth.users.values()]
    things += [value for each in gate.authenticators for value in vars(each).values()]
    things += [*health._databases, *health._sources.values(), *health._checks.values()]
    for thing in things:
        canary.look(f"the repr of a {type(thing).__name__}", repr(thing), str(thing))
