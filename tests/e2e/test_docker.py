"""The image of `tasker-health deploy docker`, built by a real engine and asked by Docker's own health check."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import httpx
import pytest

from beside import Beside
from command import run
from docker_engine import DockerEngine, python_image, wheels
from server import free_port, wait_until

AS_IN_COMPOSE = [
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--network", "host"),
]
BASE = "this-machine"
MOST_BYTES = 150_000_000
SOONER = ["--health-interval", "1s", "--health-retries", "2"]
APPLICATION = """
from tasker_health import Health

health = Health()

async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"orders"})

app = health.asgi(app)
"""


class Container:
    """A container of what `deploy docker` wrote, run as compose does it; Docker asks it more often than by itself.

    Attributes:
        guard: What answers its health check.
        image: Its image.
        port: Where it serves.
    """

    def __init__(self, engine, folder, *options, files=()):
        self._engine = engine
        self.guard, self.port = Beside(free_port()), free_port()
        ports = {"TASKER_SERVER__PORT": str(self.port), "TASKER_GUARD__PORT": str(self.guard.port)}
        written = run("deploy", "docker", "--output", str(folder), *options, **ports)
        assert written.returncode == 0, written.stderr
        for name, text in dict(files).items():
            (folder / name).write_text(text)
        shutil.copytree(engine.wheels, folder / "wheels", copy_function=os.link)
        # As `uv pip compile --generate-hashes` locks it: pip takes nothing that has another hash.
        (folder / "requirements.txt").write_text(engine.lock)
        arguments = ["--build-arg", f"BASE_IMAGE={BASE}", "--build-arg", "PIP_NO_INDEX=1", "--network", "none"]
        self.image = engine.run("build", "--quiet", *arguments, str(folder))
        drained = {"TASKER_SERVER__DRAIN_SECONDS": "1", "TASKER_HEALTH__LIVENESS_STALL_SECONDS": "5"}
        variables = [word for name, value in drained.items() for word in ("--env", f"{name}={value}")]
        self._name = engine.run("run", "--detach", *AS_IN_COMPOSE, *SOONER, *variables, self.image)

    @property
    def state(self):
        """What Docker knows of it."""
        return json.loads(self._engine.run("inspect", "--format", "{{json .State}}", self._name))

    def becomes(self, health):
        """Wait until Docker calls it *health*."""
        try:
            wait_until(lambda: self.state["Health"]["Status"] == health, health)
        except pytest.fail.Exception:
            print(self.state, self._engine.run("logs", self._name))  # noqa: T201 -- pytest shows it
            raise

    def signal(self, number):
        """Send *number* to its first process."""
        os.kill(self.state["Pid"], number)

    def stop(self):
        """Stop it as Docker does; return its exit code."""
        self._engine.run("stop", "--time", "30", self._name)
        return self.state["ExitCode"]


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """A Docker engine with an image of Python; its `wheels` are our package and what it needs, `lock` their list."""
    engine = DockerEngine()
    try:
        engine.wheels = tmp_path_factory.mktemp("docker") / "wheels"
        engine.lock = wheels(engine.wheels)
        engine.run("import", "--change", "ENV LD_LIBRARY_PATH=/usr/local/lib", "-", BASE, input=python_image())
        engine.try_container(BASE)
        yield engine
    finally:
        engine.end()


def test_the_image_goes_healthy_unhealthy_healthy(engine, tmp_path, capsys):
    """Docker's health check sees a service that is frozen and one that goes on; nothing of it is root's or writable."""
    container = Container(engine, tmp_path)
    container.becomes("healthy")
    container.guard.becomes("ready", 200)
    status = Path(f"/proc/{container.state['Pid']}/status").read_text()
    assert "\nUid:\t10001\t10001\t10001\t10001\n" in status
    assert "\nCapEff:\t0000000000000000\n" in status

    container.signal(signal.SIGSTOP)
    container.becomes("unhealthy")
    assert "unhealthy" in container.state["Health"]["Log"][-1]["Output"]
    container.signal(signal.SIGCONT)
    container.becomes("healthy")
    assert container.stop() == 0

    sizes = [int(engine.run("image", "inspect", "--format", "{{.Size}}", each)) for each in (container.image, BASE)]
    with capsys.disabled():
        print(f"\n{(sizes[0] - sizes[1]) / 1e6:.0f} MB above the base image")  # noqa: T201 -- a measure
    assert sizes[0] - sizes[1] < MOST_BYTES


def test_an_application_of_ones_own_has_its_guard_in_the_image(engine, tmp_path):
    """With `--app` the image runs the application, whose guard answers the health check."""
    container = Container(engine, tmp_path, "--app", "orders:app", files={"orders.py": APPLICATION})
    container.becomes("healthy")
    assert httpx.get(f"http://127.0.0.1:{container.port}/").text == "orders"
    container.guard.becomes("ready", 200)
    assert container.stop() == 0
