"""Four workers of gunicorn behind one port and one guard, some stopped or blocked: what is said is true."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from beside import Beside
from frameworks.exchange import Connection
from frameworks.serving import Serving
from server import free_port, wait_until

WORKERS = 4
STALL_SECONDS = 5
"""The least that the settings allow."""

IN_TIME_SECONDS = 10
HOOK = "def post_worker_init(worker):\n    getattr(worker.wsgi, 'start', lambda: None)()\n"
DEGRADED = '"workers":{"status":"degraded","reason":"stalled"}'


class Pod:
    """Gunicorn with four workers and their guard.

    Attributes:
        workers: Process ids.
    """

    def __init__(self, folder, skin, server, *words, **variables):
        (folder / "hook.py").write_text(HOOK)
        self.guard = Beside(free_port())
        self.serving = Serving(
            skin,
            server,
            folder,
            *("--workers", str(WORKERS), "--config", "hook.py", "--preload", *words),
            TASKER_GUARD__ENABLED="true",
            TASKER_GUARD__PORT=str(self.guard.port),
            TASKER_SERVER__DRAIN_SECONDS="0",
            TASKER_HEALTH__LIVENESS_STALL_SECONDS=str(STALL_SECONDS),
            **variables,
        )
        self.workers = set()

    def wait(self):
        """Wait until each worker has answered, and the guard knows of them."""
        self.serving.ask_all([])
        wait_until(lambda: len(self._seen()) >= WORKERS, "every worker has answered")
        self.guard.becomes("ready", 200, '"well"')
        assert "workers" not in self.guard.get("ready").text

    def _seen(self):
        with contextlib.suppress(OSError):
            self.workers.add(int(self.ask("/").body))
        return self.workers

    def ask(self, path, seconds=30):
        """Return the answer of the application's port, over a new connection."""
        connection = Connection(self.serving.port, seconds)
        try:
            return connection.ask("GET", path)
        finally:
            connection.close()

    def send(self, path):
        """Ask *path* and wait for no answer."""
        sent = socket.create_connection(("127.0.0.1", self.serving.port))
        sent.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return sent

    def assert_the_others_answer(self):
        """Whoever asks the application's port is answered by a worker that can: the others take no connection."""
        for path in ("live", "ready", "status") * 5:
            answer = self.ask(f"/tasker/health/{path}", IN_TIME_SECONDS)
            assert answer.code == 200, answer
            assert b'"workers"' not in answer.body  # a worker knows of itself alone

    def end(self):
        """End it, however its workers are."""
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGCONT)
        self.serving.kill()
        wait_until(lambda: self.guard.get("live") is None, "the guard ends with its workers")


def one_stopped_then_all(pod):
    """One is degraded, not dead; all are dead, and their port hangs."""
    first, *_ = pod.workers
    os.kill(first, signal.SIGSTOP)
    pod.guard.becomes("ready", 200, DEGRADED)
    assert pod.guard.get("live").status_code == 200
    pod.assert_the_others_answer()
    for worker in pod.workers:
        os.kill(worker, signal.SIGSTOP)
    pod.guard.becomes("live", 503, "_stalled")
    pod.guard.becomes("ready", 503, '"reason":"stalled"')
    with pytest.raises(TimeoutError):
        pod.ask("/tasker/health/live", 0.5)
    for worker in pod.workers:
        os.kill(worker, signal.SIGCONT)
    pod.guard.becomes("live", 200)
    wait_until(lambda: "workers" not in pod.guard.get("ready").text, "all are well again")
    pod.assert_the_others_answer()


def one_stopped_is_enough(pod):
    """With `any`, the pod is called dead at once."""
    first, *_ = pod.workers
    os.kill(first, signal.SIGSTOP)
    pod.guard.becomes("live", 503, "_stalled")
    pod.assert_the_others_answer()
    os.kill(first, signal.SIGCONT)
    pod.guard.becomes("live", 200)


def one_blocked(pod, path):
    """A worker whose heartbeat stands still in a request is degraded; the others answer."""
    held = pod.send(path)
    pod.guard.becomes("ready", 200, DEGRADED)
    assert pod.guard.get("live").status_code == 200
    pod.assert_the_others_answer()
    held.close()


def one_asleep_is_seen_by_nobody(pod):
    """Of a thread that waits in a request nobody can say that it hangs: that is what `--timeout` is for."""
    held = pod.send("/sleep")
    pod.assert_the_others_answer()
    wait_until(lambda: "WORKER TIMEOUT" in pod.serving.log, "gunicorn has seen it")
    wait_until(lambda: pod.serving.log.count("Booting worker") > WORKERS, "and replaced it")
    ready = pod.guard.get("ready")
    assert (ready.status_code, "workers" in ready.text) == (200, False)
    held.close()


def gunicorn_replaces_the_stopped(pod):
    """After its `--timeout`, gunicorn kills what is stopped; the new worker joins the guard, and all is well."""
    first, *_ = pod.workers
    os.kill(first, signal.SIGSTOP)
    pod.guard.becomes("ready", 200, DEGRADED)
    wait_until(lambda: "workers" not in pod.guard.get("ready").text, "it was replaced")
    pod.workers.discard(first)
    wait_until(lambda: len(pod._seen()) >= WORKERS, "the new one answers")
    pod.assert_the_others_answer()


ANY = {"TASKER_HEALTH__LIVENESS_POLICY": "any"}
SCENES = {
    "sync: one stopped, then all": (one_stopped_then_all, "pod.wsgi", "gunicorn, sync", (), {}),
    "uvicorn: one stopped, then all": (one_stopped_then_all, "pod.asgi", "gunicorn, uvicorn", (), {}),
    "gthread: one stopped, policy any": (one_stopped_is_enough, "pod.wsgi", "gunicorn, gthread", (), ANY),
    "uvicorn: one stopped, policy any": (one_stopped_is_enough, "pod.asgi", "gunicorn, uvicorn", (), ANY),
    "uvicorn: a loop blocked": (lambda pod: one_blocked(pod, "/sleep"), "pod.asgi", "gunicorn, uvicorn", (), {}),
    "sync: the interpreter held": (lambda pod: one_blocked(pod, "/hold"), "pod.wsgi", "gunicorn, sync", (), {}),
    "gthread: the interpreter held": (lambda pod: one_blocked(pod, "/hold"), "pod.wsgi", "gunicorn, gthread", (), {}),
    "sync: a request for ever": (one_asleep_is_seen_by_nobody, "pod.wsgi", "gunicorn, sync", ("--timeout", "7"), {}),
    "sync: replaced": (gunicorn_replaces_the_stopped, "pod.wsgi", "gunicorn, sync", ("--timeout", "8"), {}),
}


def play(scene, folder):
    """Play one scene with a pod of its own."""
    act, skin, server, words, variables = scene
    folder.mkdir()
    pod = Pod(folder, skin, server, *words, **variables)
    try:
        pod.wait()
        act(pod)
    finally:
        pod.end()


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """The futures of all scenes, played at the same time: each mostly waits for a stall."""
    folder = tmp_path_factory.mktemp("pods")
    with ThreadPoolExecutor(len(SCENES)) as pool:
        yield {
            name: pool.submit(play, scene, folder / str(number)) for number, (name, scene) in enumerate(SCENES.items())
        }


@pytest.mark.parametrize("name", SCENES)
def test_what_is_said_of_the_pod_is_true(played, name):
    """The guard speaks of all workers; the application's port is answered by those that can."""
    played[name].result()
