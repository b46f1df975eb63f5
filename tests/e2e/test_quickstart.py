"""The quickstart, as a new user goes through it: an empty folder, and nothing but what the page says."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

import canary
from empty_environment import ROOT, built, copied, wheelhouse
from server import free_port, wait_until

PAGE = ROOT / "docs" / "quickstart.md"
PATIENCE_SECONDS = 120
MOST_COMMANDS = 10
PASSWORD = canary.secret("the-password-of-ada")
_BLOCK = re.compile(r'^```(?:console|\w+ title="(?P<file>[^"]+)")\n(?P<text>.*?)^```', re.MULTILINE | re.DOTALL)


def steps():
    """Return what the page has one do, in its order: (file, text), or (None, [(command, what is shown), ...])."""
    found = []
    for block in _BLOCK.finditer(PAGE.read_text()):
        if block["file"]:
            found.append((block["file"], block["text"]))
        else:
            parts = re.split(r"^\$ ", block["text"], flags=re.MULTILINE)[1:]
            found.append((None, [(part.partition("\n")[0], part.partition("\n")[2].strip()) for part in parts]))
    return found


def commands():
    """Return every command of the page."""
    return [command for file, content in steps() if file is None for command, _ in content]


def installed():
    """Return what the page installs, as requirements."""
    line = next(command for command in commands() if command.startswith("pip install "))
    return [word.strip("'") for word in line.split()[2:]]


def shape(value):
    """Return the keys and types of a JSON document, without its figures."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items()}
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def verdicts(value):
    """Return what of a JSON document is the same in every run: words and switches of the contract."""
    if not isinstance(value, dict):
        return None
    kept = {"ready", "status", "reason", "failed_checks", "error", "overall_status", "reasons", "completed_tasks"}
    return {key: value[key] for key in kept & set(value)} | {
        key: verdicts(each) for key, each in value.items() if isinstance(each, dict)
    }


class Terminal:
    """A shell in the user's folder, that keeps its variables from one command to the next."""

    def __init__(self, folder, port, variables) -> None:
        self.folder = folder
        self._port = port
        self._state = folder.parent / f"variables-{os.urandom(4).hex()}"
        self._state.write_text("")
        self._variables = variables

    def run(self, command, given=""):
        """Return the finished *command*, with *given* on its standard input."""
        script = f'. "{self._state}"\n{self._placed(command)}\ncode=$?\nexport -p >"{self._state}"\nexit $code'
        done = subprocess.run(
            ["/bin/bash", "-c", script],
            cwd=self.folder,
            env=self._variables,
            input=given,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, (command, done.stdout[-1000:], done.stderr[-3000:])
        return done.stdout

    def serve(self, command, log):
        """Start *command*, which serves until it is told to end."""
        with log.open("wb") as output:
            return subprocess.Popen(
                ["/bin/bash", "-c", f'. "{self._state}"\nexec {self._placed(command)}'],
                cwd=self.folder,
                env=self._variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _placed(self, command):
        """Return *command* with a free port in place of the page's."""
        return command.replace("8000", str(self._port))


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    """Where the user's pip finds things: this very wheel, and what is locked."""
    folder = tmp_path_factory.mktemp("market")
    house = wheelhouse(folder / "wheels", *installed())
    built(copied(folder / "source"), house, "--wheel")
    return house


@pytest.fixture
def user(tmp_path, market):
    """An empty folder of somebody with an empty home, and a terminal there; what is served ends with the test."""
    folder, home = tmp_path / "orders", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    python = Path(sys.executable).resolve().parent
    variables = {
        "PATH": f"{python}:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(market),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    return folder, variables


def answered(terminal, command, shown):
    """Return whether *command* prints what the page shows: the same keys and types, and the same verdicts."""
    said = json.loads(terminal.run(command))
    expected = json.loads(shown)
    return (shape(said), verdicts(said)) == (shape(expected), verdicts(expected))


def test_the_quickstart_takes_a_new_user_to_an_authorised_status(user):
    """Its files and commands, in their order, end at a mounted status that a stranger does not get, and a page."""
    folder, variables = user
    port = free_port()
    first, second = Terminal(folder, port, variables), Terminal(folder, port, variables)
    log = folder.parent / "log"
    server = None
    try:
        for file, content in steps():
            if file is not None:
                (folder / file).write_text(content)
                continue
            for command, shown in content:
                if command.startswith("uvicorn "):
                    server = first.serve(command, log)
                    serves(server, port, log)
                elif server is None:
                    first.run(command, PASSWORD + "\n")
                else:  # a readiness is told for a second before it is asked anew
                    wait_until(lambda c=command, s=shown: answered(second, c, s), f"{command} answers as shown")
        token = (folder / "token.txt").read_text().strip()
        canary.watch(token)
        page_is_for_ada_alone(port)
        server.send_signal(signal.SIGINT)
        assert server.wait(PATIENCE_SECONDS) in {0, -signal.SIGINT}, log.read_text()
    finally:
        if server is not None:
            server.kill()
            server.wait()
    canary.look("the log of the quickstart", log.read_text())
    assert "Traceback" not in log.read_text()


def page_is_for_ada_alone(port):
    """A browser without a name gets 401 and asks for a password; with it, it gets the page."""
    address = f"http://127.0.0.1:{port}/tasker/health"
    assert f"<{address}>".replace(str(port), "8000") in PAGE.read_text()
    browser = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
    refused = httpx.get(address, headers=browser, timeout=PATIENCE_SECONDS)
    assert refused.status_code == 401
    assert "Basic" in refused.headers["www-authenticate"]
    seen = httpx.get(address, headers=browser, auth=("ada", PASSWORD), timeout=PATIENCE_SECONDS)
    assert (seen.status_code, seen.headers["content-type"].partition(";")[0]) == (200, "text/html")


def serves(server, port, log):
    """Wait until *server* answers at *port*; fail when it has ended."""
    wait_until(lambda: is_open(port) or server.poll() is not None, "uvicorn serves", PATIENCE_SECONDS)
    assert server.poll() is None, log.read_text()


def is_open(port):
    """Return whether the service is alive at *port*."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/tasker/health/live", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_the_quickstart_is_short():
    """It says ten commands and two files, and has no more."""
    assert len(commands()) == MOST_COMMANDS
    assert PAGE.read_text().count("\nTen commands and two files") == 1
    assert [file for file, _ in steps() if file] == ["orders.py", "health.toml"]
