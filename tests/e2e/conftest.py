"""The demo as a process of its own, as a user starts it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from server import wait_until


class RunningDemo:
    """`tasker-health demo` in its own directory, on a port of its own, with a status that is never old.

    Attributes:
        output: The file that has all that it wrote, standard error too.
    """

    def __init__(self, folder, *arguments, **variables):
        self.port = _free_port()
        self.output = folder / f"output-{self.port}"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
        environment |= {"TASKER_SERVER__PORT": str(self.port), "TASKER_HEALTH__CACHE_DURATION_SECONDS": "0"}
        environment |= {"TASKER_GUARD__PORT": "0"}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tasker_health", "demo", *arguments],
                env=environment | variables,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @property
    def text(self):
        """All that it wrote."""
        return self.output.read_text()

    def ask(self, path):
        """Return code and document of *path*; `(None, None)` when nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/tasker/{path}", timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)
        except OSError:
            return None, None

    def wait_for(self, path, code=200):
        """Return the document of *path* as soon as it is answered with *code*."""

        def answered():
            assert self.process.poll() is None, self.text
            found, document = self.ask(path)
            return document if found == code else None

        return wait_until(answered, f"{path} answers {code}")

    def figures(self):
        """Return `system_health` of a status that was read now."""
        return self.wait_for("health/status")["system_health"]

    def wait_for_figures(self, condition, what):
        """Return the first figures for which *condition* holds."""

        def found():
            figures = self.figures()
            return figures if condition(figures) else None

        return wait_until(found, what)

    def end(self, number):
        """Send signal *number*, and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
def start_demo(tmp_path):
    """A function that starts the demo with arguments; all are ended with the test."""
    with contextlib.ExitStack() as started:

        def start(*arguments, **variables):
            demo = RunningDemo(tmp_path, *arguments, **variables)
            started.callback(demo.process.wait)
            started.callback(demo.process.kill)
            return demo

        yield start


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
