"""Where settings come from, and the one line that a bad one gets."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from settings_page import page
from tasker_health.errors import ConfigurationError, SettingsError
from tasker_health.loading import load_settings, load_with_origins
from tasker_health.redaction import redacted


def test_without_anything_the_defaults_of_the_contract_hold():
    """The defaults are those of the contract's table."""
    settings = load_settings(environ={})
    assert (settings.server.host, settings.server.port, settings.server.prefix) == ("127.0.0.1", 8080, "/tasker")
    assert settings.server.drain_seconds == 10
    health = settings.health
    assert (health.cache_duration_seconds, health.metrics_window_seconds) == (15, 3600)
    assert (health.readiness_timeout_seconds, health.readiness_max_age_seconds) == (0.8, 1)
    assert (health.status_max_stale_seconds, health.stuck_after_seconds) == (60, 900)
    assert (health.degraded_failure_ratio, health.degraded_min_settled_tasks) == (0.05, 20)
    assert (health.degraded_connection_ratio, health.degraded_blocked_tasks) == (0.9, 1)
    assert (health.liveness_stall_seconds, health.liveness_policy, health.heartbeat_seconds) == (30, "all", 0.25)
    assert (health.loop_lag_warning_seconds, health.migrations_ahead) == (0.5, "degraded")
    assert not health.status_requires_authentication
    assert (settings.guard.enabled, settings.guard.port) == (None, 8081)
    assert (settings.cache.url.get_secret_value(), settings.cache.namespace) == ("memory://", "tasker_health")
    assert (settings.log.level, settings.log.format, settings.log.probes) == ("info", "text", False)


def test_the_environment_goes_before_the_file_and_the_file_before_the_default(tmp_path):
    """Each value comes from the nearest place that names it, and the loader can say which."""
    file = tmp_path / "health.toml"
    file.write_text('[server]\nport = 9000\nhost = "::1"\n[sources.shop]\nkind = "dbos"\n')
    settings, origins = load_with_origins(file, {"TASKER_SERVER__PORT": "9001", "TASKER_SOURCES__SHOP__SCHEMA": "x"})
    assert (settings.server.port, settings.server.host, settings.server.prefix) == (9001, "::1", "/tasker")
    assert settings.sources["shop"].schema_name == "x"
    assert origins["server", "port"] == "TASKER_SERVER__PORT"
    assert origins["server", "host"] == "server.host (health.toml)"


def test_a_value_may_stand_in_a_file_that_the_variable_names(tmp_path):
    """`..._FILE` reads the value from a file and drops the line's end."""
    secret = tmp_path / "url"
    secret.write_text("postgresql://app:canary@db/app\n")
    settings = load_settings(environ={"TASKER_DATABASE__URL_FILE": str(secret)})
    assert settings.database.url is not None
    assert settings.database.url.get_secret_value() == "postgresql://app:canary@db/app"
    assert "canary" not in repr(settings)


def test_who_may_read_the_status_can_be_said_in_variables_alone(tmp_path):
    """Names of roles, tokens and users are in the variable's name; a hash may stand in a file; lists are words."""
    file = tmp_path / "hash"
    file.write_text("sha256:canary\n")
    auth = load_settings(
        environ={
            "TASKER_AUTH__AUTHENTICATOR_CLASS": "tokens, basic",
            "TASKER_AUTH__ROLES__READER__PERMISSIONS": "a,b",
            "TASKER_AUTH__ROLES__CHIEF__ADMIN": "true",
            "TASKER_AUTH__TOKENS__GRAFANA__HASH_FILE": str(file),
            "TASKER_AUTH__TOKENS__GRAFANA__ROLES": "reader,chief",
            "TASKER_AUTH__TOKENS__GRAFANA__EXPIRES": "2027-01-31T00:00:00Z",
            "TASKER_AUTH__TOKENS__MY_APP__HASH": "sha256:canary2",
            "TASKER_AUTH__USERS__ADA__PASSWORD_HASH": "scrypt:canary",
            "TASKER_AUTH__MTLS__CALLERS__LB__SUBJECT": "CN=lb",
            "TASKER_AUTH__JWT__LEEWAY_SECONDS": "5",
            "TASKER_AUTH__JWT__AUDIENCE": "status",
        }
    ).auth
    assert auth.authenticator_class == ("tokens", "basic")
    assert (auth.roles["reader"].permissions, auth.roles["chief"].admin) == (("a", "b"), True)
    assert auth.tokens["grafana"].hash.get_secret_value() == "sha256:canary"
    assert auth.tokens["grafana"].roles == ("reader", "chief")
    assert str(auth.tokens["grafana"].expires) == "2027-01-31 00:00:00+00:00"
    assert auth.tokens["my_app"].expires is None
    assert auth.users["ada"].password_hash.get_secret_value() == "scrypt:canary"
    assert auth.mtls.callers["lb"].subject == "CN=lb"
    assert (auth.jwt.leeway_seconds, auth.jwt.audience) == (5, ("status",))
    assert "canary" not in repr(auth)


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ('"2027-01-31"', "2027-01-31 00:00:00+00:00"),
        ("2027-01-31", "2027-01-31 00:00:00+00:00"),
        ("2027-01-31T10:00:00", "2027-01-31 10:00:00+00:00"),
        ("2027-01-31T10:00:00+02:00", "2027-01-31 10:00:00+02:00"),
        ('"20270131"', None),  # which would be seconds since 1970
        ("20270131", None),
        ('"tomorrow"', None),
        ("true", None),
    ],
)
def test_a_moment_is_a_date_and_without_an_offset_utc(tmp_path, written, moment):
    """As TOML writes it or as a text; a number is none, because nobody means seconds since 1970."""
    file = tmp_path / "health.toml"
    file.write_text(f'[auth.tokens.a]\nhash = "x"\nexpires = {written}\n')
    if moment is None:
        with pytest.raises(SettingsError, match=r"auth\.tokens\.a\.expires.*2027-01-31T00:00:00Z"):
            load_settings(file, environ={})
    else:
        assert str(load_settings(file, environ={}).auth.tokens["a"].expires) == moment


@pytest.mark.parametrize(
    "variables",
    [
        {"TASKER_PORT": "tcp://10.0.0.1:8080", "TASKER_SERVICE_HOST": "10.0.0.1", "TASKER_SERVICE_PORT": "8080"},
        {"TASKER_PORT_8080_TCP": "tcp://10.0.0.1:8080", "TASKER_PORT_8080_TCP_ADDR": "10.0.0.1"},
        {"TASKER_SERVER": "{", "TASKER_SERVER_PORT": "tcp://10.0.0.1:80", "TASKER_LOG": "x"},
        {"TASKER_UNKNOWN__NAME": "1", "OTHER_SERVER__PORT": "1"},
    ],
)
def test_what_kubernetes_injects_for_a_service_called_tasker_changes_nothing(variables):
    """Only names with a known group and `__` are ours."""
    assert load_settings(environ=variables) == load_settings(environ={})


BAD = [
    ({"TASKER_SERVER__PROT": "80"}, ["TASKER_SERVER__PROT", "'80'", "did you mean port?"]),
    ({"TASKER_SERVER__PORT": "http"}, ["TASKER_SERVER__PORT", "'http'", "integer"]),
    ({"TASKER_SERVER__PORT": "70000"}, ["TASKER_SERVER__PORT", "65535"]),
    ({"TASKER_SERVER__PREFIX": "tasker/"}, ["TASKER_SERVER__PREFIX", "'tasker/'", "/tasker"]),
    ({"TASKER_HEALTH__CACHE_DURATION_SECONDS": "-1"}, ["TASKER_HEALTH__CACHE_DURATION_SECONDS", "'-1'", "0"]),
    ({"TASKER_HEALTH__CACHE_DURATION_SECONDS": "nan"}, ["'nan'", "allowed"]),
    ({"TASKER_HEALTH__LIVENESS_STALL_SECONDS": "4"}, ["'4'", "5"]),
    ({"TASKER_HEALTH__LIVENESS_POLICY": "most"}, ["'most'", "'all' or 'any'"]),
    ({"TASKER_HEALTH__DEGRADED_FAILURE_RATIO": "5"}, ["'5'", "1"]),
    ({"TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION": "maybe"}, ["'maybe'", "boolean"]),
    ({"TASKER_SOURCES__SHOP__URL": "sqlite:///x"}, ["sources.shop.kind", "not set"]),
    ({"TASKER_SOURCES__SHOP__KIND": "dbox"}, ["TASKER_SOURCES__SHOP__KIND", "'dbox'", "'dbos'"]),
    ({"TASKER_SOURCES__1ST__KIND": "dbos"}, ["1st", "beginning with a letter"]),
    ({"TASKER_CACHE__URL": "memory://:canary@h"}, ["TASKER_CACHE__URL", "memory://"]),
    ({"TASKER_DATABASE__URL_FILE": "/dev/zero"}, ["TASKER_DATABASE__URL_FILE", "/dev/zero", "at most", "file"]),
    ({"TASKER_DATABASE__URL_FILE": "/does/not/exist"}, ["TASKER_DATABASE__URL_FILE", "/does/not/exist", "file"]),
    ({"TASKER_SERVER__PORT": "1", "TASKER_SERVER__PORT_FILE": "/dev/null"}, ["TASKER_SERVER__PORT_FILE", "keep one"]),
    ({"TASKER_SOURCES__SHOP": "dbos", "TASKER_SOURCES__SHOP__KIND": "dbos"}, ["TASKER_SOURCES__SHOP", "__KIND"]),
    ({"TASKER_EXPORTERS__NOPE": "1"}, ["TASKER_EXPORTERS__NOPE", "unknown name"]),
    (
        {"TASKER_AUTH__TOKENS__GRAFANA": "canary"},
        ["TASKER_AUTH__TOKENS__GRAFANA = set", "TASKER_AUTH__TOKENS__GRAFANA__HASH"],
    ),
    (
        {"TASKER_AUTH__TOKENS__A": "canary", "TASKER_AUTH__TOKENS__A__HASH": "x"},
        ["TASKER_AUTH__TOKENS__A = set", "TASKER_AUTH__TOKENS__A__HASH"],
    ),
    (
        {"TASKER_AUTH__TOKENS__A_FILE": "/dev/null"},
        ["TASKER_AUTH__TOKENS__A_FILE = set", "TASKER_AUTH__TOKENS__A__HASH"],
    ),
    ({"TASKER_AUTH__TOKENS": "canary"}, ["TASKER_AUTH__TOKENS = set", "TASKER_AUTH__TOKENS__<NAME>__HASH"]),
    ({"TASKER_AUTH__JWT": "canary"}, ["TASKER_AUTH__JWT = set", "TASKER_AUTH__JWT__KEY"]),
    ({"TASKER_AUTH__TOKENS__A__TOKEN": "canary"}, ["TASKER_AUTH__TOKENS__A__TOKEN = '***'", "known here:", "hash"]),
    ({"TASKER_AUTH__TOKENS__A__HASHES": "canary"}, ["'***'", "did you mean hash?"]),
    ({"TASKER_AUTH__TOKENS__A__ROLES": "r"}, ["auth.tokens.a.hash", "not set"]),
    ({"TASKER_AUTH__TOKENS__A-B__HASH_": "canary"}, ["TASKER_AUTH__TOKENS__A-B__HASH_", "did you mean hash?"]),
    ({"TASKER_AUTH__TOKENS__1ST__HASH": "canary"}, ["1st", "beginning with a letter"]),
    ({"TASKER_AUTH__USERS__A__PASSWORD": "canary"}, ["TASKER_AUTH__USERS__A__PASSWORD = '***'", "password_hash"]),
    ({"TASKER_AUTH__JWT__KEYS": "canary"}, ["TASKER_AUTH__JWT__KEYS = '***'", "did you mean key?"]),
    ({"TASKER_AUTH__JWT__LEEWAY_SECONDS": "301"}, ["TASKER_AUTH__JWT__LEEWAY_SECONDS = '301'", "300"]),
    ({"TASKER_AUTH__MTLS__CALLERS__LB__SUBJEKT": "x"}, ["did you mean subject?"]),
    ({"TASKER_AUTH__ROLES__READER__ADMIN": "perhaps"}, ["TASKER_AUTH__ROLES__READER__ADMIN = 'perhaps'", "boolean"]),
]


@pytest.mark.parametrize(("variables", "words"), BAD, ids=lambda value: str(value)[:40])
def test_a_bad_setting_is_one_line_that_names_key_value_and_remedy(variables, words):
    """The message is one line, names what is wrong as the user wrote it, and never shows a secret."""
    with pytest.raises(SettingsError) as caught:
        load_settings(environ=variables)
    message = str(caught.value)
    assert "\n" not in message
    assert "canary" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nporrt = 1\n", ["server.porrt (bad.toml)", "did you mean port?"]),
        ("[sever]\nport = 1\n", ["sever", "unknown name", "server"]),
        ("[database]\nurl = 7\n", ["database.url (bad.toml)", "'***'"]),
        ("server = 3\n", ["server", "3"]),
        ("[server\n", ["bad.toml", "not TOML"]),
    ],
)
def test_a_bad_file_is_one_line_that_names_the_place(tmp_path, text, words):
    """A fault in the TOML file is told by file, key and value."""
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(file, environ={})
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    "variables",
    [
        {"TASKER_DATABASE__PASSWORD": "hunter2"},
        {"TASKER_SOURCES__A__PASSWORD": "hunter2", "TASKER_SOURCES__A__KIND": "dbos"},
        {"TASKER_SERVER__PASSWORD": "hunter2"},
        {"TASKER_DATABASE__PASSWORD_FILE": "{file}"},
        {"TASKER_SERVER__NAME_FILE": "{file}"},
        {"TASKER_SERVER__PORT_FILE": "{file}"},
        {"TASKER_DATABASE__URL_FILE": "postgresql://u:hunter2@h/db"},
        {"TASKER_EXPORTERS__PROMETHEUS__TOKEN_FILE": "hunter2"},
        {"TASKER_AUTH__JWT__KEY_FILE": "hunter2"},
        {"TASKER_CACHE__URL": "postgresql://me@corp:hunter2@h:notaport/db"},
        {"TASKER_LOG__LEVEL": "postgresql://me@corp:hunter2@h:notaport/db"},
    ],
    ids=str,
)
def test_no_error_shows_a_secret_that_stands_in_the_wrong_place(tmp_path, variables):
    """Unknown names, files read by mistake, a value in place of a file's name: stars."""
    file = tmp_path / "secret"
    file.write_text("hunter2\n")
    with pytest.raises(SettingsError) as caught:
        load_settings(environ={name: value.format(file=file) for name, value in variables.items()})
    assert "hunter2" not in str(caught.value)
    assert next(iter(variables)).removesuffix("_FILE") in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        '[databse]\npassword = "hunter2"\n',
        '[database.url]\npassword = "hunter2"\n',
        '[database]\nurl = ["postgresql://h/db", "hunter2"]\n',
        'database = "postgresql://me@corp:hunter2@h/db"\n',
        '[auth]\ntokens = "hunter2"\n',
        '[auth.tokens]\ngrafana = "hunter2"\n',
        '[auth]\njwt = "hunter2"\n',
        '[auth.users.ada]\npassword_hash = ["hunter2"]\n',
    ],
)
def test_no_error_about_a_file_shows_a_secret(tmp_path, text):
    """Whatever type stands where a secret should."""
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_settings(file, environ={})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "[server]\nport = true\n",
        "[health]\ncache_duration_seconds = true\n",
        "[health]\ncache_duration_seconds = 1e12\n",
        '[server]\nhost = ""\n',
    ],
)
def test_values_that_only_look_right_are_refused(tmp_path, text):
    """A boolean for a number, a duration beyond any date, an empty host (which would be every address)."""
    file = tmp_path / "bad.toml"
    file.write_text(text)
    with pytest.raises(SettingsError, match="allowed"):
        load_settings(file, environ={})


def test_a_file_that_cannot_be_read_is_said_so(tmp_path):
    """`--config` of a file that is not there names it."""
    with pytest.raises(ConfigurationError, match=r"none\.toml: No such file"):
        load_settings(tmp_path / "none.toml", environ={})


def test_settings_cannot_be_changed():
    """One frozen object is made at the edge and passed in."""
    settings = load_settings(environ={})
    with pytest.raises(ValueError, match="frozen"):
        settings.server.port = 1


@given(
    user=st.text(string.ascii_letters + string.digits, min_size=1),
    password=st.text(string.ascii_letters + string.digits + "@:/?#%&=+", min_size=1),
)
def test_a_password_in_a_url_is_never_shown(user, password):
    """Whatever a password is made of, `redacted` hides it, also in a query string."""
    marked = f"canary{password}canary"
    assert marked not in redacted(f"postgresql://{user}:{marked}@host:5432/name")
    assert "canary" not in redacted(f"postgresql://host/name?password={marked.replace('&', '')}")


def test_every_setting_has_a_help_text():
    """The one table is what help and documentation are made of, so no row is empty, however deep it stands."""
    assert "| None |" not in page()
    assert "| Names of roles in auth.roles. |" in page()
