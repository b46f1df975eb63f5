"""Every example does what its README says: it starts, answers, ends, and its tests pass, in a copy of its folder."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from server import free_port, wait_until

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PATIENCE_SECONDS = 120
FOLDERS = sorted(each for each in (ROOT / "examples").iterdir() if each.is_dir() and each.name != "__pycache__")
ONLY_TESTS = "pytest"
SERVES_NO_HTTP = {"worker"}  # nothing of its own, that is

NO_FRAMEWORKS = {"index", "servers"}  # pages about all of them

each_example = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def blocks(folder):
    """Return the ```sh blocks of the README in *folder*; no README, no blocks."""
    readme = folder / "README.md"
    return re.findall(r"^```sh\n(.*?)^```", readme.read_text(), re.MULTILINE | re.DOTALL) if readme.exists() else []


def command_of(folder):
    """Return the one command that starts the example in *folder*, or runs it where it is nothing but tests."""
    first, *_ = blocks(folder)
    (command,) = first.strip().splitlines()
    return command


def is_started(folder):
    """Return whether it is a service, and not only tests."""
    return command_of(folder) != ONLY_TESTS


class Example:
    """One example in a copy of its folder, at free ports in place of 8000 and 8001."""

    def __init__(self, folder, place):
        self.name = folder.name
        self._folder = place / folder.name
        shutil.copytree(folder, self._folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        self._ports = {written: str(free_port()) for written in ("8000", "8001")}
        self.questions = [
            self._here(url) for url in re.findall(r"^curl (\S+)", "".join(blocks(folder)[1:]), re.MULTILINE)
        ]
        self._log_file = place / f"{folder.name}.log"
        self.service = None
        if is_started(folder):
            # `exec env`: the shell puts the command in its place, variables before it included.
            self.service = self._begun(f"exec env {self._here(command_of(folder))}", self._log_file)
        self.tests = self._begun("exec pytest -p no:cacheprovider", place / f"{folder.name}.tests")

    @property
    def log(self):
        """What the service has written."""
        return self._log_file.read_text(errors="replace")

    @property
    def url(self):
        """Where it serves."""
        return f"http://127.0.0.1:{self._ports['8000']}"

    @property
    def left(self):
        """The processes of the session that the service leads."""
        return [process for process, session in sessions() if session == self.service.pid]

    def outcome_of_tests(self):
        """Return the exit code of its own tests and what they said."""
        code = self.tests.wait(PATIENCE_SECONDS)
        return code, (self._folder.parent / f"{self.name}.tests").read_text()

    def answers(self):
        """Return whether it is alive, or has ended, which is looked at next."""
        if self.service.poll() is not None:
            return True
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(f"{self.url}/tasker/health/live", timeout=5).status_code == 200
        return False

    def end(self):
        """End what still runs."""
        for process in (self.service, self.tests):
            if process is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _here(self, words):
        return re.sub(r"\b800[01]\b", lambda port: self._ports[port.group()], words)

    def _begun(self, command, log_file):
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("TASKER_", "PYTEST_"))}
        with log_file.open("wb") as log:
            return subprocess.Popen(
                ["sh", "-c", command],
                cwd=self._folder,
                env={**clean, "PATH": f"{BIN}:{clean['PATH']}"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def sessions():
    """Yield each process that is alive with the session it is in."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _parent, _group, session = stat.read_text().rpartition(")")[2].split()[:4]
            if state not in {"Z", "X"}:
                yield int(stat.parent.name), int(session)


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    """All of them, started at once: together they take little longer than one."""
    place = tmp_path_factory.mktemp("examples")
    started = {}
    try:
        for folder in FOLDERS:
            if not missing_of(folder):
                started[folder] = Example(folder, place)
        yield started
    finally:
        for example in started.values():
            example.end()


def missing_of(folder):
    """Return what the example in *folder* lacks."""
    found = blocks(folder)
    lacks = {
        "README.md with a start command": not found or len(found[0].strip().splitlines()) != 1,
        "curl lines": bool(found) and is_started(folder) and "curl " not in "".join(found[1:]),
        "port 8000": bool(found) and is_started(folder) and "8000" not in found[0],
        "test": not any(folder.glob("test_*.py")),
    }
    return [what for what, is_missing in lacks.items() if is_missing]


@each_example
def test_it_has_a_readme_a_command_and_a_test(folder):
    """Each folder is one that somebody can copy."""
    assert missing_of(folder) == []


def test_every_framework_of_the_documentation_has_an_example():
    """By the name of its page or module, or that with a kind behind it: `django_asgi`."""
    modules = [each.stem for each in (ROOT / "src" / "tasker_health" / "frameworks").iterdir() if each.stem[0] != "_"]
    pages = [page.stem for page in (ROOT / "docs" / "frameworks").glob("*.md") if page.stem not in NO_FRAMEWORKS]
    names = [folder.name for folder in FOLDERS]
    frameworks = {*modules, *pages}
    assert {"django", "fastapi", "flask"} <= frameworks
    assert {each for each in frameworks if not any(f"{name}_".startswith(f"{each}_") for name in names)} == set()


@each_example
def test_it_starts_answers_and_ends(folder, examples):
    """By the command of its README; ready, its status and its own route are there; SIGTERM ends all of it."""
    example = examples[folder]
    if example.service is None:
        return
    wait_until(example.answers, f"{example.name} is alive: {example.log}", PATIENCE_SECONDS)
    own = [] if example.name in SERVES_NO_HTTP else [f"{example.url}/orders"]
    probes = [f"{example.url}/tasker/health/{what}" for what in ("ready", "status")]
    for url in [*probes, *own, *example.questions]:
        response = httpx.get(url, timeout=30)
        assert response.status_code == 200, (url, response.text, example.log)
    assert {*own} <= {*example.questions}, "its README shows its own route"
    example.service.send_signal(signal.SIGTERM)
    assert example.service.wait(PATIENCE_SECONDS) in {0, -signal.SIGTERM}, example.log
    wait_until(lambda: not example.left, f"{example.name} leaves no process")
    assert "Traceback" not in example.log, example.log


@each_example
def test_its_own_tests_pass_alone(folder, examples):
    """As somebody who has copied the folder runs them: without our settings of pytest, and without other examples."""
    code, said = examples[folder].outcome_of_tests()
    assert code == 0, said
