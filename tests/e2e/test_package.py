"""What is published: a wheel and an sdist that hold what they should, no more, and work where nothing else is."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import tomllib
import zipfile
from pathlib import Path

import httpx
import pytest
from packaging.metadata import Metadata
from typer.main import get_command

from empty_environment import PATIENCE_SECONDS, ROOT, EmptyEnvironment, built, copied
from server import wait_until
from tasker_health import __version__
from tasker_health.cli.commands import app

OTHER_PYTHONS = ("3.12", "3.13")
EXTRAS = sorted(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
_URL = "postgresql://app@db/app"
WITHOUT = {
    "sql": {"TASKER_DATABASE__URL": _URL},
    "sqlite": {"TASKER_DATABASE__URL": "sqlite:///a.sqlite"},
    "postgresql": {"TASKER_DATABASE__URL": _URL},
    "mysql": {"TASKER_DATABASE__URL": "mysql://app@db/app"},
    "alembic": {"TASKER_DATABASE__URL": _URL, "TASKER_MIGRATIONS__KIND": "alembic"},
    "django": {"TASKER_AUTH__AUTHENTICATION_ENABLED": "true", "TASKER_AUTH__AUTHENTICATOR_CLASS": "django"},
    "prometheus": {"TASKER_EXPORTERS__PROMETHEUS__ENABLED": "true"},
    "datadog": {"TASKER_EXPORTERS__DATADOG__ENABLED": "true"},
    "opentelemetry": {"TASKER_EXPORTERS__OPENTELEMETRY__ENABLED": "true"},
    "pagerduty": {"TASKER_ALERTS__PAGERDUTY__ROUTING_KEY": "0" * 32},
    "webhook": {"TASKER_ALERTS__WEBHOOKS__CHAT__URL": "https://chat/x", "TASKER_ALERTS__WEBHOOKS__CHAT__KIND": "slack"},
    "redis": {"TASKER_CACHE__URL": "redis://cache"},
    "http": {"TASKER_CHECKS__SHOP__KIND": "http", "TASKER_CHECKS__SHOP__URL": "http://shop"},
    "rabbitmq": {"TASKER_CHECKS__SHOP__KIND": "rabbitmq", "TASKER_CHECKS__SHOP__URL": "amqp://shop"},
    "kafka": {"TASKER_CHECKS__SHOP__KIND": "kafka", "TASKER_CHECKS__SHOP__URL": "kafka://shop"},
    "s3": {"TASKER_CHECKS__SHOP__KIND": "s3", "TASKER_CHECKS__SHOP__BUCKET": "shop"},
    "jwt": {
        "TASKER_AUTH__AUTHENTICATION_ENABLED": "true",
        "TASKER_AUTH__AUTHENTICATOR_CLASS": "jwt",
        "TASKER_AUTH__JWT__ISSUER": "https://issuer",
        "TASKER_AUTH__JWT__AUDIENCE": "shop",
        "TASKER_AUTH__JWT__ALGORITHMS": "RS256",
        "TASKER_AUTH__JWT__JWKS_URL": "https://issuer/keys",
    },
}
"""What asks for an extra, by its name, as settings."""

ELSEWHERE = {
    "workers": "of others alone",
    "cli": "test_without_the_cli_the_command_says_so",
    "server": "test_what_commands_need_is_said_in_one_line",
    "load-test": "test_what_commands_need_is_said_in_one_line",
    "deploy": "test_what_commands_need_is_said_in_one_line",
    "demo": "test_what_commands_need_is_said_in_one_line",
    "top": "tests/unit/cli/top: --once needs none of it",
    "grpc": "test_grpc_is_said_to_be_missing_when_it_starts",
    "testing": "pytest itself loads it",
    "alerts": "of others alone",
    "standalone": "of others alone",
}
"""Where else an extra's absence is looked at, or why it is not."""

MEET = """
import json, sys
from tasker_health import ConfigurationError, Health, load_settings
met = {}
for extra, settings in json.load(sys.stdin).items():
    try:
        Health(load_settings(environ=settings))
    except ConfigurationError as error:
        met[extra] = str(error)
print(json.dumps(met))
"""

IN_PROCESS = """
import asyncio, json, sys
from tasker_health import Health

health = Health()

@health.check("stock")
async def stock():
    pass

async def ask(path):
    sent = []
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}
    async def send(message):
        sent.append(message)
    scope = {"type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
             "headers": [], "http_version": "1.1", "scheme": "http", "client": None, "server": None, "root_path": ""}
    await health.asgi()(scope, receive, send)
    return sent[0]["status"], json.loads(sent[1]["body"])

async def main():
    answers = [await ask("/tasker/health/" + name) for name in ("live", "ready")]
    await health.stop()
    print(json.dumps(answers))

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """The sdist, and the wheel that is built from it, of the code as it is now."""
    folder = tmp_path_factory.mktemp("release")
    source = copied(folder / "source")
    for stray in ("docs/README.md", "examples/src/app.py", "tests/LICENSE", ".env", "src/notes.txt"):
        (source / stray).parent.mkdir(parents=True, exist_ok=True)
        (source / stray).write_text("not to be published")
    return built(source, folder / "dist")


@pytest.fixture(scope="module")
def bare(release, tmp_path_factory):
    """An environment with the wheel and what it cannot be without."""
    made = EmptyEnvironment(tmp_path_factory.mktemp("bare") / "environment")
    made.install(release[1], "tasker-health")
    return made


@pytest.fixture(scope="module")
def with_cli(release, tmp_path_factory):
    """An environment with the wheel and its extra `cli`."""
    made = EmptyEnvironment(tmp_path_factory.mktemp("cli") / "environment")
    made.install(release[1], "tasker-health[cli]")
    return made


@pytest.fixture(scope="module")
def standalone(release, tmp_path_factory):
    """An environment with the wheel and its extra `standalone`."""
    made = EmptyEnvironment(tmp_path_factory.mktemp("standalone") / "environment")
    made.install(release[1], "tasker-health[standalone]")
    return made


def files_of_the_package():
    """Return every file of the package in this checkout, as the wheel names it."""
    source = ROOT / "src"
    return {
        str(each.relative_to(source))
        for each in (source / "tasker_health").rglob("*")
        if each.is_file() and "__pycache__" not in each.parts
    }


def metadata_of(wheel):
    """Return the metadata in *wheel*, which must be valid."""
    with zipfile.ZipFile(wheel) as archive:
        [name] = [each for each in archive.namelist() if each.endswith(".dist-info/METADATA")]
        return Metadata.from_email(archive.read(name), validate=True)


def test_the_wheel_holds_the_package_and_nothing_else(release):
    """Every module and every template, page and marker of the checkout; no test, no example, no cache."""
    with zipfile.ZipFile(release[1]) as archive:
        names = {each for each in archive.namelist() if ".dist-info/" not in each}
    assert names == files_of_the_package()
    assert {Path(each).suffix for each in names} >= {".py", ".typed", ".html", ".css", ".yaml", ".tpl", ".cfg"}


def test_the_sdist_holds_what_a_release_is_made_of(release):
    """And nothing beside it: READMEs of other folders were once in it."""
    with tarfile.open(release[0]) as archive:
        names = {each.partition("/")[2] for each in archive.getnames()}
    beside = {"README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "PKG-INFO"}
    assert names - {".gitignore"} == beside | {f"src/{each}" for each in files_of_the_package()}


def test_no_path_or_key_of_this_machine_is_published(release):
    """Neither the checkout's folder nor anything that looks like a private key or a token of ours."""
    telling = re.compile(rb"BEGIN (?:RSA |EC )?PRIVATE KEY-----\n\w|tasker_[\w-]{43}|" + re.escape(str(ROOT).encode()))
    with zipfile.ZipFile(release[1]) as archive:
        told = {name: telling.search(archive.read(name)) for name in archive.namelist()}
    assert not {name: found.group() for name, found in told.items() if found}


def test_the_metadata_is_valid_and_says_what_it_should(release):
    """By the rules of core metadata; with the licence's text, a readme that says what it is, and one version."""
    said = metadata_of(release[1])
    assert str(said.version) == __version__
    assert (said.license_expression, said.license_files) == ("MIT", ["LICENSE"])
    assert said.description_content_type == "text/markdown"
    assert said.description == (ROOT / "README.md").read_text()
    assert sorted(said.provides_extra) == EXTRAS
    assert str(said.requires_python) == ">=3.11"
    with zipfile.ZipFile(release[1]) as archive:
        licence = archive.read(f"tasker_health-{__version__}.dist-info/licenses/LICENSE")
    assert licence == (ROOT / "LICENSE").read_bytes()


def test_it_is_built_with_hatchling_alone():
    """Whoever builds it in isolation fetches one package."""
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"] == ["hatchling"]


def test_two_builds_are_the_same_bytes(release, tmp_path):
    """Of the same code and the same SOURCE_DATE_EPOCH: what is built again, from the sdist's own tree."""
    sdist, wheel = release
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    again, from_tree = built(tmp_path / sdist.name.removesuffix(".tar.gz"), tmp_path / "again", "--sdist", "--wheel")
    assert wheel.read_bytes() == from_tree.read_bytes()
    assert sdist.read_bytes() == again.read_bytes()


def test_without_extras_the_probes_are_answered(bare):
    """Import, a check, live and ready over ASGI: with msgspec and pydantic alone."""
    done = bare.run("python", "-W", "error", "-c", IN_PROCESS)
    assert done.returncode == 0, done.stderr
    (live, alive), (ready, body) = json.loads(done.stdout)
    assert (live, alive["alive"]) == (200, True)
    assert (ready, body["ready"], body["checks"]["stock"]["status"]) == (200, True, "ok")
    bare.check()


def test_without_the_cli_the_command_says_so(bare):
    """One line with the command to install it, and 2; `probe` works all the same."""
    done = bare.run("tasker-health", "serve")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r"tasker-health: typer is not installed: pip install 'tasker-health\[standalone\]'\n", done.stderr
    )
    probe = bare.run("tasker-health", "probe", "http://127.0.0.1:1/tasker/health/live")
    assert (probe.returncode, probe.stderr.count("\n")) == (2, 1)
    assert "Connection refused" in probe.stderr


def test_every_extra_that_is_missing_is_one_clear_line(bare):
    """Whoever sets something that needs an extra is told which, when the service is made."""
    done = subprocess.run(
        [str(bare.bin / "python"), "-W", "error", "-c", MEET],
        input=json.dumps(WITHOUT),
        env=bare.variables(),
        cwd=bare.home,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    met = json.loads(done.stdout)
    assert set(met) == set(WITHOUT)
    for extra, line in met.items():
        named = set(re.findall(r"\[([\w-]+)\]", line))
        assert "is not installed" in line or "not installed;" in line, (extra, line)
        assert "pip install 'tasker-health[" in line, (extra, line)
        assert "\n" not in line
        assert named <= set(EXTRAS), line
        assert extra in named or "sqlalchemy is not installed" in line, (extra, line)


def test_no_extra_is_forgotten_here():
    """A new one gets its line above."""
    assert sorted({*WITHOUT, *ELSEWHERE}) == EXTRAS


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["serve"], "server"),
        (["demo"], ""),
        (["deploy", "kubernetes"], "deploy"),
        (["load-test", "http://127.0.0.1:1"], "load-test"),
    ],
)
def test_what_commands_need_is_said_in_one_line(with_cli, words, remedy):
    """With `cli` alone, a command that needs more names the extra, and ends with 2."""
    done = with_cli.run("tasker-health", *words)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.count("\n") == 1
    assert f"pip install 'tasker-health[{remedy}" in done.stderr


def test_grpc_is_said_to_be_missing_when_it_starts(with_cli):
    """The port is opened at the start, which says why it cannot be."""
    code = "import asyncio; from tasker_health import Health; asyncio.run(Health().start())"
    done = with_cli.run("python", "-c", code, TASKER_GRPC__ENABLED="true")
    assert done.returncode == 1
    assert "ConfigurationError" in done.stderr.splitlines()[-1]
    assert "pip install 'tasker-health[grpc]'" in done.stderr.splitlines()[-1]


def test_every_command_is_there_with_the_cli_alone(with_cli):
    """No command is lost, and no help needs another extra."""
    done = with_cli.run("tasker-health", "--help", COLUMNS="200")
    assert done.returncode == 0, done.stderr
    assert {name for name in get_command(app).commands if f" {name} " not in done.stdout} == set()
    assert with_cli.run("tasker-health", "--version").stdout == f"tasker-health {__version__}\n"
    with_cli.check()


def test_the_standalone_server_answers(standalone):
    """With `standalone`: serve answers, the doctor looks, every template is there, and nothing is in conflict."""
    settings = {"TASKER_DATABASE__URL": "sqlite:///shop.sqlite", "TASKER_SERVER__PORT": "0", "TASKER_GUARD__PORT": "0"}
    (standalone.home / "shop.sqlite").touch()
    log = standalone.home / "log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [str(standalone.bin / "tasker-health"), "serve"],
            env=standalone.variables(**settings, TASKER_SERVER__DRAIN_SECONDS="0"),
            cwd=standalone.home,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        found = wait_until(
            lambda: re.search(r"serving (http://\S+)", log.read_text()) or server.poll() is not None, "it serves"
        )
        assert found is not True, log.read_text()
        answer = httpx.get(f"{found[1]}/ready", timeout=PATIENCE_SECONDS)
        assert (answer.status_code, answer.json()["checks"]["database"]["status"]) == (200, "ok")
        doctor = standalone.run("tasker-health", "doctor", "database", "--json", **settings)
        assert doctor.returncode in {0, 1}, doctor.stderr
        assert json.loads(doctor.stdout)
        deploy = standalone.run("tasker-health", "deploy", "prometheus", "--output", "out")
        assert deploy.returncode == 0, deploy.stderr
        server.send_signal(signal.SIGTERM)
        assert server.wait(PATIENCE_SECONDS) == 0, log.read_text()
    finally:
        server.kill()
        server.wait()
    standalone.check()


def test_other_pythons_answer_too(release, tmp_path):
    """The wheel without extras, on each newer Python that this machine has beside the one that runs the tests."""
    others = other_pythons()
    if not others:
        pytest.skip("no newer Python than 3.11 is on this machine, and no registry that it reaches has one")
    for number, python in enumerate(others):
        made = EmptyEnvironment(tmp_path / f"environment-{number}", python)
        made.install(release[1], "tasker-health")
        done = made.run("python", "-W", "error", "-c", IN_PROCESS)
        assert done.returncode == 0, (python, done.stderr)
        assert [status for status, _ in json.loads(done.stdout)] == [200, 200]


def other_pythons():
    """Return an interpreter of each other version that is promised, where there is one: by name, or of pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = []
    for version in OTHER_PYTHONS:
        candidates = [shutil.which(f"python{version}"), *sorted(map(str, pyenv.glob(f"{version}.*/bin/python")))]
        found += [each for each in candidates if each and is_python(each, version)][:1]
    return found


def is_python(path, version):
    """Return whether *path* is an interpreter of *version*, and no stand-in that only knows where one would be."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    return done.stdout.strip() == version
