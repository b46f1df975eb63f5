"""gRPC health and processes: what is left of it, forks, workers of one server, and the command."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys

import grpc
import pytest
from grpc_health.v1.health_pb2_grpc import HealthStub

import command
from integration.grpc_scene import PATIENCE_SECONDS, SERVING, request
from served import served
from server import free_port, wait_until

_SCENE = """
import asyncio, gc, os, signal, sys, threading, warnings
warnings.simplefilter("error")
import grpc
from grpc_health.v1 import health_pb2 as messages
from grpc_health.v1.health_pb2_grpc import HealthStub
from tasker_health import Health
from tasker_health.errors import ConfigurationError
from tasker_health.settings import Settings

def a_health():
    return Health(Settings.model_validate({"grpc": {"enabled": True, "port": 0}}))

async def asked(health, times=1):
    async with grpc.aio.insecure_channel(health.grpc.address) as channel:
        for _ in range(times):
            answer = await HealthStub(channel).Check(messages.HealthCheckRequest(), timeout=30)
            assert answer.status == 1

def held():
    gc.collect()
    return len(os.listdir("/proc/self/fd")), len(os.listdir("/proc/self/task"))
"""

_SCENES = {
    # Threads and descriptors are counted before and after; the last loop ends without a stop.
    "nothing is left": """
async def once(stop):
    health = a_health()
    await health.start()
    await asked(health)
    if stop:
        await health.stop()

before = held()
for stop in (True, True, False):
    asyncio.run(once(stop))
    assert held() == before, (stop, held(), before)
""",
    "two event loops": """
async def once():
    health = a_health()
    await health.start()
    await asked(health, 100)
    await health.stop()

beside = threading.Thread(target=lambda: asyncio.run(once()))
beside.start()
asyncio.run(once())
beside.join()
assert held() == (held()[0], 1)
""",
    # What grpcio has is not to be used on both sides of a fork: the child says so, and the parent goes on.
    "a fork": """
async def child(health):
    for _ in range(2):
        try:
            await health.start()
        except ConfigurationError as error:
            assert "survives no fork" in str(error) and "\\n" not in str(error), error
        else:
            os._exit(1)
        assert (await health.ready()).ready
        await health.stop()
    os._exit(7)

async def main():
    health = a_health()
    await health.start()
    await asked(health)
    process = os.fork()
    if process == 0:
        asyncio._set_running_loop(None)
        health._lifecycle.forget()
        asyncio.run(child(health))
    await asked(health, 20)
    assert os.waitstatus_to_exitcode((await asyncio.to_thread(os.waitpid, process, 0))[1]) == 7
    await asked(health)
    await health.stop()

asyncio.run(main())
""",
    # Made before the fork and started after it, as `gunicorn --preload` does: the child serves.
    "a fork before the start": """
health = a_health()
process = os.fork()
async def main():
    await health.start()
    await asked(health)
    await health.stop()
asyncio.run(main())
if process == 0:
    os._exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 7
""",
    "grpcio is not imported": """
import subprocess
words = "import sys, asyncio; from tasker_health import Health; health = Health(); asyncio.run(health.start());"
words += "print([name for name in sys.modules if name.partition('.')[0] in {'grpc', 'google'}])"
assert subprocess.check_output([sys.executable, "-c", words]) == b"[]\\n"
""",
    "grpcio is not installed": """
for name in [name for name in sys.modules if name.partition(".")[0] == "grpc"]:
    del sys.modules[name]
sys.modules["grpc"] = None
health = a_health()
for call in (health.grpc.claim, lambda: asyncio.run(health.start())):
    try:
        call()
    except ConfigurationError as error:
        assert str(error) == "grpc.enabled: grpc is not installed; pip install 'tasker-health[grpc]'", error
    else:
        sys.exit("it was started")
""",
}


def _environment(**variables):
    return {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")} | variables


@pytest.mark.parametrize("scene", _SCENES)
def test_a_process_and_its_grpc(scene):
    """Each scene is a process of its own, which must end by itself."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", _SCENE + _SCENES[scene]],
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr


def _checks(address):
    """Return whether *address* serves; each time over a new connection."""
    # Its own, because channels of one process to one address share a connection.
    with grpc.insecure_channel(address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        try:
            return HealthStub(channel).Check(request(), timeout=5).status == SERVING
        except grpc.RpcError:
            return False


_APPLICATION = """
import os
from tasker_health import Health
from tasker_health.settings import Settings

health = Health(Settings.model_validate({
    "grpc": {"enabled": True, "port": int(os.environ["GRPC_PORT"])}, "health": {"readiness_max_age_seconds": 0},
}))

@health.check("who")
async def who():
    with open(os.environ["WHO"], "a") as seen:
        seen.write(f"{os.getpid()}\\n")

app = health.asgi()
"""


@pytest.mark.parametrize("options", [[], ["--preload"]], ids=["loaded by each", "preloaded"])
def test_every_worker_answers_at_the_one_port(options, tmp_path):
    """Each for itself, after its fork; a second server of the same user is refused the port, and does not share it.

    Who listens at this port of another address is in nobody's way.
    """
    (tmp_path / "application.py").write_text(_APPLICATION)
    who, log, port = tmp_path / "who", tmp_path / "log", free_port()
    environment = _environment(GRPC_PORT=str(port), WHO=str(who))

    def gunicorn():
        words = f"gunicorn --no-control-socket --workers 2 --bind 127.0.0.1:{free_port()} --worker-class"
        with log.open("ab") as written:
            return subprocess.Popen(
                [sys.executable, "-m", *words.split(), "uvicorn_worker.UvicornWorker", *options, "application:app"],
                cwd=tmp_path,
                env=environment,
                stdout=written,
                stderr=written,
                process_group=0,
            )

    with socket.create_server(("127.0.0.2", port)):
        _two_servers(gunicorn, port, who, log)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0
    assert len(set(who.read_text().split())) == 2


def _two_servers(gunicorn, port, who, log):
    servers = [gunicorn()]
    try:
        wait_until(
            lambda: _checks(f"127.0.0.1:{port}") and len(set(who.read_text().split())) == 2, "both workers answer"
        )
        servers.append(gunicorn())
        wait_until(lambda: f"grpc.port = {port}: the port is in use" in log.read_text(), "the second one is refused")
        assert servers[1].wait(PATIENCE_SECONDS) != 0
        assert _checks(f"127.0.0.1:{port}")
    finally:
        for server in servers:
            server.terminate()
            server.wait(PATIENCE_SECONDS)


def test_spawned_workers_share_the_port(tmp_path):
    """Uvicorn starts each anew, in words that differ by the numbers of its pipes."""
    (tmp_path / "application.py").write_text(_APPLICATION)
    who, port = tmp_path / "who", free_port()
    words = f"uvicorn --workers 2 --port {free_port()} application:app"
    server = subprocess.Popen(
        [sys.executable, "-m", *words.split()],
        cwd=tmp_path,
        env=_environment(GRPC_PORT=str(port), WHO=str(who)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )
    try:
        wait_until(
            lambda: _checks(f"127.0.0.1:{port}") and len(set(who.read_text().split())) == 2, "both workers answer"
        )
    finally:
        server.terminate()
        server.wait(PATIENCE_SECONDS)


_SERVICE = """
import asyncio, os, sys
from tasker_health import Health
from tasker_health.settings import Settings

async def main():
    health = Health(Settings.model_validate({"grpc": {"enabled": True, "port": int(os.environ["GRPC_PORT"])}}))
    try:
        await health.start()
    except Exception as error:
        print(sys.argv[1], error, flush=True)
        return
    print(sys.argv[1], "serves", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await health.stop()

asyncio.run(main())
"""

_LAUNCHER = """
import subprocess, sys

services = []
for name in ("orders", "billing"):
    services.append(subprocess.Popen(
        [sys.executable, "service.py", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ))
    print(services[-1].stdout.readline(), end="", flush=True)
for service in services:
    service.communicate()
"""


def test_two_services_of_one_launcher_do_not_share_the_port(tmp_path):
    """Another program of the same Python, in the same folder, from the same parent: it is no worker of the first."""
    (tmp_path / "service.py").write_text(_SERVICE)
    port = free_port()
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCHER],
        cwd=tmp_path,
        env=_environment(GRPC_PORT=str(port)),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        process_group=0,
        check=True,
    )
    first, second = done.stdout.splitlines()
    assert first == "orders serves"
    assert second.startswith(f"billing grpc.port = {port}: the port is in use")


def test_what_a_shell_starts_does_not_share_the_port(tmp_path):
    """The very same service twice, in the same words: a shell is no server, and what it starts are no workers.

    Nor is the first one's port open to whoever else would share it.
    """
    (tmp_path / "service.py").write_text(_SERVICE)
    port = free_port()
    os.mkfifo(tmp_path / "end")
    words = '"$0" service.py same <end & read -r go; "$0" service.py same </dev/null; wait'
    shell = subprocess.Popen(
        ["sh", "-c", words, sys.executable],
        cwd=tmp_path,
        env=_environment(GRPC_PORT=str(port)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    end = os.open(tmp_path / "end", os.O_RDWR)
    try:
        assert shell.stdout.readline() == "same serves\n"
        with socket.socket() as sharing:
            sharing.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            with pytest.raises(OSError, match="in use"):
                sharing.bind(("127.0.0.1", port))
        shell.stdin.write("go\n")
        shell.stdin.flush()
        assert shell.stdout.readline().startswith(f"same grpc.port = {port}: the port is in use")
    finally:
        os.close(end)
        shell.communicate(timeout=PATIENCE_SECONDS)


def test_serve_serves_it_and_says_where():
    """Until SIGTERM, with an exit code of 0."""
    with served(TASKER_GRPC__ENABLED="true", TASKER_GRPC__PORT="0") as server:
        address = wait_until(lambda: re.search(r"gRPC health at (\S+) ", server.log), "it says where").group(1)
        assert _checks(address)


def test_serve_is_refused_a_port_that_is_taken():
    """One line that names the setting, and exit code 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = command.run("serve", TASKER_SERVER__PORT="0", TASKER_GRPC__ENABLED="true", TASKER_GRPC__PORT=port)
    assert done.returncode == 2
    assert done.stderr.startswith(f"tasker-health: grpc.port = {port}: the port is in use"), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
