"""The unit: what it says, that systemd understands it, and what it refuses to be made from."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import canary
from command import run
from fakes import settings_of
from server import missing_part
from tasker_health.deploy.plan import plan_of
from tasker_health.deploy.systemd import render
from tasker_health.errors import ConfigurationError

PAGE = Path(__file__).parents[3] / "docs" / "deploy" / "systemd.md"
MOST_EXPOSED = 15
"""Tenths, of 100: the exposure that `systemd-analyze security` may find."""


def unit_of(settings=None, **options):
    """Return name and lines of the unit for *settings*."""
    settings = settings or settings_of()
    [(name, text)] = render(plan_of(settings), settings, **options).items()
    return name, text


def value(text, name):
    """Return the one value of *name*."""
    [found] = re.findall(rf"^{name}=(.*)$", text, re.MULTILINE)
    return found


@pytest.fixture
def analyze():
    """A function that runs systemd-analyze."""
    program = shutil.which("systemd-analyze")
    if program is None:
        missing_part("systemd-analyze is not here: systemd")
    return lambda *words: subprocess.run(
        [program, *words], capture_output=True, text=True, timeout=60, check=False, env={"PATH": "/usr/bin:/bin"}
    )


def test_its_figures_agree_with_the_settings():
    """The watchdog waits longer than a stall, and a stop longer than the drain, which it hands to the service."""
    settings = settings_of(health={"liveness_stall_seconds": 50}, server={"drain_seconds": 33}, guard={"port": 9000})
    name, text = unit_of(settings)
    assert name == "tasker-health.service"
    assert value(text, "Type") == "notify"
    assert int(value(text, "WatchdogSec")) == 60
    assert int(value(text, "TimeoutStopSec")) == 43
    for told in ("SERVER__DRAIN_SECONDS=33", "HEALTH__LIVENESS_STALL_SECONDS=50", "GUARD__PORT=9000"):
        assert f'Environment="TASKER_{told}"' in text


def test_an_application_is_served_by_uvicorn_with_a_guard():
    """Its own exit codes mean nothing to us, and its code may need memory that is executable."""
    name, text = unit_of(app="orders.main:app", programs="/srv/orders/bin")
    assert name == "tasker.service"
    assert value(text, "ExecStart") == "/srv/orders/bin/uvicorn --host 127.0.0.1 --port 8080 orders.main:app"
    assert 'Environment="TASKER_GUARD__ENABLED=true"' in text
    assert "RestartPreventExitStatus" not in text
    assert "MemoryDenyWriteExecute" not in text


def test_without_a_guard_the_watchdog_is_fed_all_the_same():
    """The application feeds it."""
    text = unit_of(settings_of(guard={"enabled": False}))[1]
    assert 'Environment="TASKER_GUARD__ENABLED=false"' in text
    assert "GUARD__PORT" not in text
    assert int(value(text, "WatchdogSec")) == 40


def test_a_low_port_costs_one_right():
    """And no other; without one there is none at all."""
    assert value(unit_of()[1], "CapabilityBoundingSet") == ""
    text = unit_of(settings_of(server={"port": 443}))[1]
    assert value(text, "CapabilityBoundingSet") == value(text, "AmbientCapabilities") == "CAP_NET_BIND_SERVICE"
    text = unit_of(settings_of(grpc={"enabled": True, "port": 443}))[1]
    assert value(text, "CapabilityBoundingSet") == "CAP_NET_BIND_SERVICE"
    assert "PrivateUsers" not in text  # a right in a user namespace of its own opens no port of the machine


def test_settings_are_taken_over_and_secrets_named(tmp_path):
    """Wherever they came from: plain ones as variables, a secret one as a credential, whose value is not told."""
    config = tmp_path / "health.toml"
    config.write_text(
        f'[database]\nurl = "postgresql://a:{canary.secret("file")}@db/a"\n[health]\nstuck_after_seconds = 77\n'
    )
    secrets = {
        "TASKER_CACHE__URL": f"redis://:{canary.secret('cache')}@cache",
        "TASKER_SOURCES__SHOP__KIND": "dbos",
        "TASKER_SOURCES__SHOP__URL": f"postgresql://a:{canary.secret('source')}@db/b",
    }
    done = run("deploy", "systemd", "--config", str(config), TASKER_GUARD__PORT="8081", **secrets)
    assert (done.returncode, done.stderr) == (0, "")
    canary.look("a unit", done.stdout)
    assert "@db" not in done.stdout
    assert 'Environment="TASKER_HEALTH__STUCK_AFTER_SECONDS=77"' in done.stdout
    for name in ("cache__url", "database__url", "sources__shop__url"):
        lines = f'={name}:/etc/tasker/credentials/{name}\nEnvironment="TASKER_{name.upper()}_FILE=%d/{name}"\n'
        assert f"LoadCredential{lines}" in done.stdout


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"app": "orders.main"}, "--app 'orders.main': a module and a name in it, such as orders.main:app"),
        ({"app": "a:b\nExecStartPre=/bin/x"}, "--app"),
        ({"programs": "bin"}, "--programs 'bin': the path of a folder, such as /opt/orders/bin"),
        ({"programs": "/opt/a b; c"}, "--programs"),
    ],
)
def test_what_is_no_application_and_no_folder_is_refused(options, words):
    """In one line; nothing of it reaches a unit."""
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        unit_of(**options)


def test_what_a_unit_would_read_otherwise_is_quoted():
    """Specifiers and quotes of systemd in a value stay that value; a line break is refused."""
    assert 'NAME=ord%%n \\"a\\""' in unit_of(settings_of(health={"service_name": 'ord%n "a"'}))[1]
    with pytest.raises(ConfigurationError, match="a unit cannot say another one"):
        unit_of(settings_of(health={"service_name": "orders\nExecStartPre=/bin/x"}))


@pytest.mark.parametrize("host", ["0.0.0.0 --app-dir /tmp", "a ; /bin/x", "--reload", "a'", 'a"', "a\nb", "${A}"])
def test_a_host_is_one_word_of_the_command(host):
    """What follows a blank would be an option of uvicorn."""
    with pytest.raises(ConfigurationError, match=r"server\.host = .*: an address or a name"):
        unit_of(settings_of(server={"host": host}), app="orders.main:app")
    text = unit_of(settings_of(server={"host": "fe80::1%eth0"}), app="orders.main:app")[1]
    assert "--host fe80::1%%eth0 --port 8080 " in text


def test_a_variable_that_systemd_would_leave_out_is_refused():
    """It ignores those with a hyphen: the service would run without its check."""
    with pytest.raises(ConfigurationError, match=r"CHECKS__MY-REDIS__KIND = set: a name without a hyphen"):
        unit_of(settings_of(checks={"my-redis": {"kind": "redis"}}))


@pytest.mark.parametrize("kind", ["serve", "app", "secret"])
def test_systemd_understands_it_and_finds_little_exposed(analyze, tmp_path, kind):
    """`systemd-analyze verify` has nothing to say, and `security` finds as little as it can."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for each in ("tasker-health", "uvicorn"):
        (programs / each).write_text("#!/bin/sh\n")
        (programs / each).chmod(0o755)
    options = {
        "serve": {},
        "app": {"app": "orders.main:app"},
        "secret": {
            "settings": settings_of(cache={"url": "redis://cache", "signing_key": canary.secret("signing key")})
        },
    }[kind]
    name, text = unit_of(programs=str(programs), **options)
    (tmp_path / name).write_text(text)
    done = analyze("verify", str(tmp_path / name))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    done = analyze("security", "--offline=true", f"--threshold={MOST_EXPOSED}", str(tmp_path / name))
    assert done.returncode == 0, done.stdout


def test_a_bad_line_would_be_noticed(analyze, tmp_path):
    """systemd-analyze, as it is called here, does complain."""
    (tmp_path / "a.service").write_text("[Service]\nExecStart=/bin/true\nWatchdogSecond=1\n")
    assert "WatchdogSecond" in analyze("verify", str(tmp_path / "a.service")).stderr


def test_the_page_shows_what_the_command_prints():
    """For the default settings, to the letter."""
    done = run("deploy", "systemd", TASKER_GUARD__PORT="8081")
    assert done.returncode == 0, done.stderr
    assert f"```ini\n{done.stdout}```\n" in PAGE.read_text()
