"""Settings come out of a container's environment as they went in, and no secret is among what is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

import canary
from tasker_health.deploy.environment import environment_of
from tasker_health.deploy.plan import plan_of
from tasker_health.errors import SettingsError
from tasker_health.loading import load_settings
from tasker_health.settings import Settings


def came_back(settings, folder, secrets):
    """Return what a container loads that is told what *settings* say, with the files of *secrets*."""
    told = environment_of(settings, plan_of(settings))
    files = {}
    for variable, name in told.secrets.items():
        (folder / name).write_text(secrets[name] + "\n")
        files[variable] = str(folder / name)
    return load_settings(environ={**told.variables, **files})


def dumped(settings):
    """Return what *settings* say, without what a deployment decides."""
    values = settings.model_dump()
    for group in ("server", "guard", "grpc"):
        del values[group]["host"]
    del values["guard"]["enabled"], values["server"]["drain_seconds"]
    return values


def test_every_kind_of_value_comes_back(tmp_path):
    """Switches, figures, words, networks, times, groups by name, a role that may nothing, and secrets."""
    url, key, header, hashed = (canary.secret(name) for name in ("url", "signing", "header", "hash"))
    secrets = {
        "database.url": f"postgresql://health:{url}@db/orders",
        "cache.signing_key": key,
        "checks.pay-api.headers.x-api-key": header,
        "checks.pay-api.url": "https://pay.internal/",
        "auth.tokens.grafana.hash": f"sha256:{hashed}",
    }
    settings = Settings.model_validate(
        {
            "server": {"port": 9000, "prefix": "/", "host": "192.0.2.1"},
            "guard": {"agent_port": 9009},
            "health": {"service_name": "Order $(SHOP)", "metrics_window_seconds": 1e-3, "cache_duration_seconds": 7},
            "database": {"url": secrets["database.url"], "prepared_statements": False, "keepalive_seconds": 0.5},
            "cache": {"signing_key": key},
            "sources": {"shop": {"kind": "tasker", "schema": "Flows"}},
            "checks": {
                "pay-api": {
                    "kind": "http",
                    "url": secrets["checks.pay-api.url"],
                    "expected_status": [200, 204],
                    "headers": {"X_API_Key": header},
                    "groups": ["outside", "paid"],
                }
            },
            "auth": {
                "roles": {"viewer": {}},
                "tokens": {
                    "grafana": {
                        "hash": secrets["auth.tokens.grafana.hash"],
                        "expires": "2027-01-31T00:00:00Z",
                        "roles": ["viewer"],
                    }
                },
                "jwt": {},
                "trusted_proxies": ["10.0.0.0/8", "2001:db8::/32"],
            },
        }
    )
    told = environment_of(settings, plan_of(settings))
    assert set(told.secrets.values()) == set(secrets)
    assert not any(secret in str(told) for secret in (url, key, header, hashed))
    back = came_back(settings, tmp_path, secrets)
    assert dumped(back) == dumped(settings)
    assert (back.guard.enabled, back.server.drain_seconds) == (True, 20)


def test_only_what_was_set_is_handed_over():
    """With what those who probe rely on; where it listens is the target's."""
    settings = load_settings(environ={"TASKER_SERVER__HOST": "127.0.0.1", "TASKER_GUARD__ENABLED": "false"})
    told = environment_of(settings, plan_of(settings))
    assert told.variables == {
        "TASKER_SERVER__PORT": "8080",
        "TASKER_SERVER__PREFIX": "/tasker",
        "TASKER_SERVER__DRAIN_SECONDS": "20",
        "TASKER_HEALTH__READINESS_TIMEOUT_SECONDS": "0.8",
        "TASKER_GUARD__ENABLED": "false",
    }
    assert told.secrets == {}


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"checks": {"a__b": {"kind": "redis", "critical": True}}},
            "checks.a__b.kind = set: two underscores in a name cannot be said by a variable",
        ),
        (
            {"checks": {"a_": {"kind": "redis"}}},
            "checks.a_.kind = set: two underscores in a name cannot be said by a variable",
        ),
        (
            {"auth": {"authenticator_class": ["a,b"]}},
            "auth.authenticator_class = set: a word with a comma in it cannot be said by a variable",
        ),
        (
            {"health": {"service_name": "a\0b"}},
            "health.service_name = set: a character of no text in it cannot be said by a variable",
        ),
        (
            {"auth": {"jwt": {"jwks_url": f"https://a:{canary.secret('jwks')}@issuer/keys"}}},
            "auth.jwt.jwks_url = set: an address without a user: it would stand there for all to read",
        ),
    ],
)
def test_what_a_variable_cannot_say_is_refused(values, line):
    """One line that names the setting."""
    settings = Settings.model_validate(values)
    with pytest.raises(SettingsError) as raised:
        environment_of(settings, plan_of(settings))
    assert str(raised.value) == line


def test_a_header_is_said_without_a_hyphen(tmp_path):
    """Neither systemd nor a shell takes a variable with one; read, a header's underscore is a hyphen."""
    secret = canary.secret("header")
    settings = Settings.model_validate({"checks": {"a": {"kind": "http", "headers": {"x-api-file": secret}}}})
    told = environment_of(settings, plan_of(settings))
    assert list(told.secrets) == ["TASKER_CHECKS__A__HEADERS__X_API_FILE_FILE"]
    back = came_back(settings, tmp_path, {"checks.a.headers.x-api-file": secret})
    assert back.checks["a"].headers["x-api-file"].get_secret_value() == secret


@examples(max_examples=50)
@given(
    stuck=st.floats(1e-9, 3e8),
    width=st.integers(1, 10**15),
    ready=st.floats(0.001, 2.99),
    drain=st.floats(15.5, 1e6),
    service=st.from_regex(r"[a-z][ -~]{0,40}", fullmatch=True),
)
def test_figures_come_back_to_the_last_digit(stuck, width, ready, drain, service):
    """However small or large."""
    health = {"stuck_after_seconds": stuck, "degraded_blocked_tasks": width, "service_name": service}
    settings = Settings.model_validate(
        {"health": {**health, "readiness_timeout_seconds": ready}, "server": {"drain_seconds": drain}}
    )
    told = environment_of(settings, plan_of(settings))
    back = load_settings(environ=told.variables)
    assert back.health == settings.health
    assert back.server.drain_seconds == drain
