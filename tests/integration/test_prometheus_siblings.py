"""Several real workers behind one port: whichever of them is scraped tells what all of them have counted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from server import PATIENCE_SECONDS, free_port, wait_until

APPLICATION = """
import os
from tasker_health import Health

health = Health()
broken = []

@health.check("well")
def well():
    if broken:
        raise OSError("broken")

async def asgi(scope, receive, send):
    assert scope["type"] == "http"
    broken.extend(["yes"] * (scope["path"] == "/break"))
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(os.getpid()).encode()})

def wsgi(environ, start_response):
    start_response("200 OK", [])
    return [str(os.getpid()).encode()]

asgi_app, wsgi_app = health.asgi(asgi), health.wsgi(wsgi)
app = asgi_app if os.environ["SKIN"] == "asgi" else wsgi_app
"""

_GUNICORN = ["gunicorn", "--no-control-socket", "--workers", "2", "--bind", "127.0.0.1:PORT", "application:app"]
SERVERS = {
    "gunicorn, uvicorn": ("asgi", [*_GUNICORN, "--worker-class", "uvicorn_worker.UvicornWorker"]),
    "gunicorn, loaded before the fork": (
        "asgi",
        [*_GUNICORN, "--preload", "--worker-class", "uvicorn_worker.UvicornWorker"],
    ),
    "gunicorn, sync": ("wsgi", [*_GUNICORN, "--worker-class", "sync"]),
    "uvicorn, spawned": ("asgi", ["uvicorn", "--workers", "2", "--port", "PORT", "application:app"]),
}
RUNS = ("tasker_health_check_duration_seconds_count", ("check", "well"))


class Workers:
    """Two workers of a server, whose readiness runs its check each time.

    Attributes:
        port: Theirs.
        asked: How often the check must have run in all of them together.
    """

    def __init__(self, folder: Path, server: str) -> None:
        (folder / "application.py").write_text(APPLICATION)
        skin, words = SERVERS[server]
        self.port = free_port()
        self.asked = 0
        self._log = folder / "log"
        own = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
        settings = {
            "SKIN": skin,
            "PROMETHEUS_MULTIPROC_DIR": str(folder / "shared"),
            "TASKER_HEALTH__READINESS_MAX_AGE_SECONDS": "0",
        }
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *(word.replace("PORT", str(self.port)) for word in words)],
                cwd=folder,
                env={**own, **settings},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        """What they have written so far."""
        return self._log.read_text(errors="replace")

    def get(self, path: str, client=httpx) -> httpx.Response:
        """Return the answer of one of them, over a new connection or that of *client*."""
        self.asked += path in {"/tasker/health/ready", "/tasker/metrics"}
        return client.get(f"http://127.0.0.1:{self.port}{path}", timeout=PATIENCE_SECONDS)

    def told(self) -> dict:
        """Return what one of them tells, by name and labels."""
        return {
            (sample.name, *sorted(sample.labels.items())): sample.value
            for family in parse(self.get("/tasker/metrics").text)
            for sample in family.samples
        }

    def everything_is_told(self) -> bool:
        """Whether the sum is what it must be, the run for this very scrape included; it may never be more."""
        runs = self.told()[RUNS]
        assert runs <= self.asked
        return runs == self.asked

    def pids(self, number: int = 2) -> set[int]:
        """Return the ids of *number* workers, once each has answered."""
        found: set[int] = set()

        def all_have_answered() -> bool:
            with contextlib.suppress(httpx.TransportError):
                found.add(int(self.get("/").text))
            return len(found) >= number

        wait_until(all_have_answered, f"{number} workers answer: {self.log[-2000:]}")
        return found

    def ask_each(self, times: int) -> None:
        """Ask for readiness until each worker has answered so often."""
        left = dict.fromkeys(self.pids(), times)

        def all_were_asked() -> bool:
            with httpx.Client() as client:
                pid = int(self.get("/", client).text)
                self.get("/tasker/health/ready", client)
            left[pid] = left.get(pid, 0) - 1
            return all(number <= 0 for number in left.values())

        wait_until(all_were_asked, "every worker was asked")

    def end(self) -> None:
        """End them by SIGTERM, all of them."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


@contextlib.contextmanager
def serving(folder, server):
    """Run the workers until the block ends; nothing of theirs goes wrong."""
    workers = Workers(folder, server)
    try:
        yield workers
    finally:
        workers.end()
    assert "Traceback" not in workers.log, workers.log
    assert "counts are not shared" not in workers.log, workers.log


@pytest.mark.parametrize("server", [name for name in SERVERS if name != "gunicorn, uvicorn"])
def test_counts_of_all_workers_are_summed(tmp_path, server):
    """Requests spread over two workers are all counted, whichever of them is scraped."""
    with serving(tmp_path, server) as workers:
        workers.ask_each(3)
        for _ in range(4):
            wait_until(workers.everything_is_told, "the sum is that of all requests")


def test_what_a_killed_worker_has_counted_stays(tmp_path):
    """Its successor begins at nought and the sum goes on; so it does after a restart of all, and the folder is tidy."""
    with serving(tmp_path, "gunicorn, uvicorn") as workers:
        workers.ask_each(3)
        wait_until(workers.everything_is_told, "the sum is that of all requests")
        victim, *_ = before = workers.pids()
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in workers.pids(1), "it is gone")
        assert workers.told()[RUNS] == workers.asked
        wait_until(lambda: workers.pids() - before, "there is another one")
        workers.ask_each(2)
        wait_until(workers.everything_is_told, "the sum goes on")
        asked = workers.asked
    with serving(tmp_path, "gunicorn, uvicorn") as workers:
        workers.pids()
        workers.asked = asked
        wait_until(workers.everything_is_told, "the sum goes on after a restart")
        sums, *others = sorted(tmp_path.glob("shared/*.json"), key=lambda file: not file.name.endswith("ended.json"))
        assert json.loads(sums.read_text())["counts"]
        assert len(others) <= 3, "two that live and one that was killed"


def test_a_gauge_is_that_of_the_worst_worker(tmp_path):
    """One that is not ready makes all of them not ready, whichever is scraped; when it has ended, it counts no more."""
    state = "tasker_health_check_state"
    with serving(tmp_path, "gunicorn, uvicorn") as workers:
        workers.pids()
        with httpx.Client() as one:
            broken = int(workers.get("/break", one).text)
            assert workers.get("/tasker/health/ready", one).status_code == 503
        for _ in range(4):
            wait_until(lambda: workers.told()["tasker_health_ready",] == 0, "it is told by any of them")
        told = workers.told()
        states = {label: told[state, ("check", "well"), ("state", label)] for label in ("ok", "error")}
        assert states == {"ok": 0, "error": 1}
        os.kill(broken, signal.SIGTERM)
        wait_until(lambda: workers.told()["tasker_health_ready",] == 1, "it counts no more")
