"""Envoy, Traefik and Caddy, run side by side from what `deploy` renders, before two real servers under a load."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from server import PATIENCE_SECONDS, free_port, missing_part, wait_until
from tasker_health.deploy import caddy, envoy, traefik
from tasker_health.deploy.backend import backends_of
from tasker_health.deploy.plan import Plan, Prober
from tasker_health.deploy.proxy import Proxy

APPLICATION = """
import pathlib
from tasker_health import Health

health = Health()
switch = pathlib.Path("unready")

@health.check("switch")
def switched_on():
    assert not switch.exists()

async def app(scope, receive, send):
    assert scope["type"] == "http"
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": pathlib.Path.cwd().name.encode()})

app = health.asgi(app)
"""
HOSTS = {"one": "127.0.0.1", "two": "127.0.0.2"}  # each guard has an address of its own, and all the same port
PROBER = Prober(period_seconds=0.3, timeout_seconds=1.5, success_threshold=2)
DRAIN_SECONDS = 3
LAST = 10


@dataclass(frozen=True)
class Answer:
    """What one request got: when it was sent, code, and who answered."""

    sent_at: float
    code: int
    server: str


class Application:
    """One of the servers."""

    def __init__(self, folder, name, plan):
        self._folder = folder / name
        self._folder.mkdir()
        (self._folder / "application.py").write_text(APPLICATION)
        self._host, self._plan = HOSTS[name], plan
        self.start()

    def start(self):
        """Start it, and wait until it is ready."""
        own = {
            "GUARD__ENABLED": "true",
            "GUARD__HOST": self._host,
            "GUARD__PORT": str(self._plan.guard_port),
            "SERVER__DRAIN_SECONDS": str(DRAIN_SECONDS),
            "HEALTH__SERVICE_NAME": self._folder.name,  # or they would be workers of one pod: they have one parent
        }
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "uvicorn", "--host", self._host, "--port", str(self._plan.port)),
                    *("--log-level", "warning", "application:app"),
                ],
                cwd=self._folder,
                env={**environment, **{f"TASKER_{name}": value for name, value in own.items()}},
                stdout=log,
                stderr=log,
            )
        try:
            wait_until(lambda: self.ready() == 200, "it is ready")
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def switch(self, *, ready):
        """Have it be ready, or not."""
        (self._folder / "unready").unlink(missing_ok=True) if ready else (self._folder / "unready").touch()

    def ready(self):
        """Return the code of its guard's answer, or `None`."""
        return asked(self._host, self._plan.guard_port, self._plan.ready_path).code

    def end(self):
        """End it."""
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)
        wait_until(lambda: self.ready() is None, "its guard ends")


class Balancer:
    """A balancer under a load of one request after the other."""

    def __init__(self, folder, words, files, port, environment):
        program = Path(sys.executable).parent / words[0]
        if not program.exists():
            missing_part(f"{words[0]} is not here: the group of dependencies that deployment is tried on")
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
        self.port = port
        self.answers = []
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            [program, *words[1:]], cwd=folder, env={**os.environ, **environment}, stdout=self._log, stderr=self._log
        )
        self._over = threading.Event()
        self._load = threading.Thread(target=self._ask)
        self._load.start()

    def _ask(self):
        while not self._over.wait(0.02):
            self.answers.append(asked("127.0.0.1", self.port, "/"))

    def get(self, path):
        """Return the code of the answer to a request for *path*."""
        return asked("127.0.0.1", self.port, path).code

    def sees(self, *servers):
        """Whether the last answers came from *servers* alone, and from each."""
        last = self.answers[-LAST:]
        return len(last) == LAST and all(each.code == 200 for each in last) and {e.server for e in last} == {*servers}

    def seconds_until_last(self, server, since):
        """Return how long after *since* a request was sent that *server* still answered."""
        return max((each.sent_at - since for each in self.answers if each.server == server), default=0)

    def failed_since(self, since):
        """Return the requests since then that were not answered with 200."""
        return [each for each in list(self.answers) if each.sent_at >= since and each.code != 200]

    def end(self):
        """End it."""
        self._over.set()
        self._load.join()
        self._process.kill()
        self._process.wait(PATIENCE_SECONDS)
        self._log.close()


def asked(host, port, path):
    """Return what a request over a connection of its own got; code `None` where there was none."""
    sent_at = time.monotonic()
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return Answer(sent_at, answer.status, answer.read().decode())
    except OSError:
        return Answer(sent_at, None, "")
    finally:
        connection.close()


def port_of_both():
    """Return a port that is free on both addresses."""
    while True:
        port = random.randint(20000, 32000)
        with contextlib.suppress(OSError), contextlib.ExitStack() as opened:
            for host in HOSTS.values():
                opened.enter_context(socket.create_server((host, port)))
            return port


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Both servers by name, and the balancers by name."""
    folder = tmp_path_factory.mktemp("balancers")
    plan = Plan(
        "orders",
        "/tasker",
        port_of_both(),
        port_of_both(),
        readiness_timeout_seconds=0.8,
        drain_seconds=DRAIN_SECONDS,
        readiness=PROBER,
    )
    behind = backends_of([f"{host}:{plan.port}" for host in HOSTS.values()], plan)
    commands = {
        "envoy": (envoy, ["envoy", "--use-dynamic-base-id", "--concurrency", "1", "-c", "envoy.yaml"]),
        "traefik": (traefik, ["traefik", "--configFile=traefik.yaml"]),
        "caddy": (caddy, ["caddy", "run", "--adapter", "caddyfile", "--config", "Caddyfile"]),
    }
    with contextlib.ExitStack() as ended:
        servers = {}
        for name in HOSTS:
            servers[name] = Application(folder, name, plan)
            ended.callback(servers[name].end)
        balancers = {}
        for name, (room, words) in commands.items():
            port = free_port()
            files = room.render(plan, behind, Proxy(f"127.0.0.1:{port}", 5))
            files = {each: text.replace("/etc/traefik/", "./") for each, text in files.items()}
            own = {
                "CADDY_ADMIN": f"127.0.0.1:{free_port()}",
                "XDG_DATA_HOME": str(folder),
                "XDG_CONFIG_HOME": str(folder),
            }
            balancers[name] = Balancer(folder / name, words, files, port, own)
            ended.callback(balancers[name].end)
        for name, balancer in balancers.items():
            wait_until(lambda balancer=balancer: balancer.sees(*HOSTS), f"{name} sends to both")
        yield servers, balancers


def until(balancers, condition, what):
    """Wait until *condition* holds of each of *balancers*."""
    for name, balancer in balancers.items():
        wait_until(lambda balancer=balancer: condition(balancer), f"{name}: {what}")


def tell(what, balancers, server, since):
    """Print how long each went on sending to *server*."""
    times = {name: f"{each.seconds_until_last(server, since):.1f} s" for name, each in balancers.items()}
    sys.stdout.write(f"{what}: last request to it after {times}\n")


def test_who_is_not_ready_is_out_and_back_and_no_request_fails(scene):
    """At the guard's word alone: its application would answer on."""
    servers, balancers = scene
    since = time.monotonic()
    servers["one"].switch(ready=False)
    until(balancers, lambda each: each.sees("two"), "only two")
    tell("unready", balancers, "one", since)
    servers["one"].switch(ready=True)
    back = time.monotonic()
    until(balancers, lambda each: each.sees("one", "two"), "both again")
    sys.stdout.write(f"ready: all send to both after {time.monotonic() - back:.1f} s\n")
    assert not any(each.failed_since(since) for each in balancers.values())


def test_the_endpoints_are_not_for_the_public(scene):
    """`/health` is: 200 while a server is in, 503 while none is, as is everything then."""
    servers, balancers = scene
    for balancer in balancers.values():
        paths = ("/health", "/tasker/health/status", "/tasker/metrics", "/tasker/health/ready")
        assert [balancer.get(path) for path in paths] == [200, 404, 404, 404]
        # The servers read each of them as a path of ours; Envoy takes no slash that is written so.
        spelt = ("/tasker%2Fhealth/status", "/tasker%2fmetrics", "/%74asker/metrics", "/%74asker%2Fhealth/status")
        assert {balancer.get(path) for path in spelt} <= {400, 404}
    for server in servers.values():
        server.switch(ready=False)
    until(balancers, lambda each: (each.get("/health"), each.get("/")) == (503, 503), "nobody is ready")
    for server in servers.values():
        server.switch(ready=True)
    until(balancers, lambda each: each.get("/health") == 200 and each.sees("one", "two"), "both again")


def test_who_drains_is_out_before_it_stops_and_no_request_fails(scene):
    """And who is killed costs no GET: another server is tried; and it is back when it was started again."""
    servers, balancers = scene
    for what, number in (("drained", signal.SIGTERM), ("killed", signal.SIGKILL)):
        since = time.monotonic()
        servers["two"].process.send_signal(number)
        servers["two"].process.wait(PATIENCE_SECONDS)
        gone = time.monotonic()
        until(balancers, lambda each: each.sees("one"), "only one")
        tell(what, balancers, "two", since)
        # Who was in it when it was killed may have lost its answer.
        judged_since = since if what == "drained" else gone
        assert not any(each.failed_since(judged_since) for each in balancers.values())
        if what == "drained":
            servers["two"].start()
            until(balancers, lambda each: each.sees("one", "two"), "both again")
