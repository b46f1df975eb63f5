"""`health.wsgi(app)` under the servers and around the frameworks that people use."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from beside import PATIENCE_SECONDS, Beside, settings
from server import free_port, wait_until

PLAIN = """
import os, time
from tasker_health import Health

health = Health()

@health.check("well")
async def well():
    pass

def application(environ, start_response):
    if environ["PATH_INFO"] == "/block":
        time.sleep(7)
    if environ["PATH_INFO"] == "/headers":
        body = repr(sorted(key for key in environ if key.startswith("HTTP_X_"))).encode()
    else:
        body = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]

app = health.wsgi(application)
"""

FLASK = """
import flask
from tasker_health import Health

health = Health()
health.check("well")(lambda: None)
app = flask.Flask(__name__)

@app.before_request
def nobody_passes():
    flask.abort(418)

app.wsgi_app = health.wsgi(app.wsgi_app)
"""

DJANGO = """
from django.conf import settings
from tasker_health import Health

settings.configure(
    SECRET_KEY="x",
    ALLOWED_HOSTS=["orders.example"],
    SECURE_SSL_REDIRECT=True,
    MIDDLEWARE=["django.middleware.security.SecurityMiddleware", "django.middleware.common.CommonMiddleware"],
    ROOT_URLCONF=__name__,
    USE_TZ=True,
)
urlpatterns = []
from django.core.wsgi import get_wsgi_application

health = Health()
health.check("well")(lambda: None)
app = health.wsgi(get_wsgi_application())
"""

SIMPLE = """
import sys
from wsgiref.simple_server import make_server
from application import app, health

with make_server("127.0.0.1", int(sys.argv[1]), app) as server:
    server.serve_forever()
"""

STARTS = """
def post_worker_init(worker):
    worker.wsgi.start()
"""

GUNICORN = ["gunicorn", "--no-control-socket", "--workers", "2", "--bind", "127.0.0.1:PORT", "--graceful-timeout", "20"]
SERVERS = {
    "sync": [*GUNICORN, "--worker-class", "sync"],
    "sync, loaded before the fork": [*GUNICORN, "--worker-class", "sync", "--preload"],
    "gthread": [*GUNICORN, "--threads", "4"],
    "gthread, loaded before the fork": [*GUNICORN, "--threads", "4", "--preload"],
}


class Served:
    """An application under a WSGI server.

    Attributes:
        guard: What stands beside it, if it is asked for.
        url: Its own.
    """

    def __init__(self, folder, words, application=PLAIN, conf="", **variables):
        (folder / "application.py").write_text(application)
        (folder / "simple.py").write_text(SIMPLE)
        (folder / "gunicorn.conf.py").write_text(conf)
        self._log = folder / "log"
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.guard = Beside(free_port())
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
        target = ["application:app"] if words[0] == "gunicorn" else []
        words = [word.replace("PORT", str(port)) for word in words]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *words, *target],
                cwd=folder,
                env={**environment, **settings(self.guard), **variables},
                stdout=log,
                stderr=log,
            )

    @property
    def log(self):
        """What it has written so far."""
        return self._log.read_text(errors="replace")

    def get(self, path, **options):
        """Return the answer over a new connection, or `None` where nobody listens."""
        try:
            return httpx.request(options.pop("method", "GET"), f"{self.url}{path}", timeout=PATIENCE_SECONDS, **options)
        except httpx.TransportError:
            return None


@contextmanager
def running(folder, words, application=PLAIN, conf="", **variables):
    """Serve until the block ends."""
    served = Served(folder, words, application, conf, **variables)
    try:
        wait_until(lambda: served.get("/tasker/health/live"), "it serves")
        yield served
    finally:
        served.process.send_signal(signal.SIGTERM)
        try:
            served.process.wait(PATIENCE_SECONDS)
        finally:
            served.process.kill()
            served.process.wait()
    assert "Traceback" not in served.log, served.log


OURS = [
    "health/live",
    "health/ready",
    "health/ready/well",
    "health/startup",
    "health/status",
    "health",
    "openapi.json",
    "metrics",
]


def assert_answers(served):
    """Each path of ours is answered as the contract says, GET and HEAD alike."""
    for path in OURS:
        answers = [served.get(f"/tasker/{path}", method=method) for method in ("GET", "HEAD")]
        codes = [answer.status_code for answer in answers]
        assert codes == [200, 200], (path, answers[0].text)
        lengths = [answer.headers["content-length"] for answer in answers]
        assert lengths[0] == str(len(answers[0].content))
        assert path == "metrics" or abs(int(lengths[1]) - int(lengths[0])) < 30  # milliseconds have one digit, or two
        assert (answers[1].content, "set-cookie" in answers[0].headers) == (b"", False)
        assert answers[0].headers["cache-control"] == "no-cache, no-store, must-revalidate"
    assert served.get("/tasker/health/ready").json()["checks"]["well"]["status"] == "ok"
    assert served.get("/tasker/health/live/").status_code == 404
    assert served.get("/tasker/health/ready", method="POST", content=b"x" * 100).status_code == 405


@pytest.mark.parametrize("server", SERVERS)
def test_every_path_is_answered_under_gunicorn(tmp_path, server):
    """By every worker; the application gets the rest; nothing is left when it ends."""
    with running(tmp_path, SERVERS[server]) as served:
        assert_answers(served)
        assert served.get("/orders").status_code == 200
    assert served.process.returncode == 0


@pytest.mark.parametrize(("name", "application"), [("flask", FLASK), ("django", DJANGO)])
def test_frameworks_do_not_see_a_probe(tmp_path, name, application):
    """No hook, no host check and no redirect of theirs stands before it."""
    with running(tmp_path, SERVERS["gthread"], application) as served:
        assert_answers(served)
        assert served.get("/orders").status_code == {"flask": 418, "django": 400}[name]


def test_the_server_of_the_standard_library_is_enough(tmp_path):
    """One thread, one request after the other."""
    with running(tmp_path, ["simple", "PORT"]) as served:
        assert_answers(served)


def test_a_script_name_is_not_part_of_the_path(tmp_path):
    """Mounted by the server, the endpoints are found below it."""
    with running(tmp_path, [*SERVERS["sync"], "--env", "SCRIPT_NAME="]) as served:
        headers = {"SCRIPT_NAME": "/api"}
        answer = served.get("/api/tasker/health/live", headers=headers)
        assert answer.status_code == 200
        assert b"alive" in answer.content


def test_gunicorn_keeps_names_with_underscores_out(tmp_path):
    """As docs/wsgi.md says: of two spellings of one name only that with dashes arrives."""
    with running(tmp_path, SERVERS["sync"]) as served:
        answer = served.get("/headers", headers={"X_Client_Verify": "SUCCESS", "X-Other": "1"})
        assert answer.text == "['HTTP_X_OTHER']"


def with_hook(server):
    """Return the words for *server* with a guard that is started in each worker."""
    return [*SERVERS[server], "--config", "gunicorn.conf.py"]


GUARDED = {"TASKER_GUARD__ENABLED": "true", "TASKER_SERVER__DRAIN_SECONDS": "2"}


@pytest.mark.parametrize("server", ["sync, loaded before the fork", "gthread"])
def test_the_guard_answers_before_the_first_request_and_while_every_worker_is_busy(tmp_path, server):
    """A request that takes longer than the threshold is no stall; a worker that is stopped is one."""
    with running(tmp_path, with_hook(server), conf=STARTS, **GUARDED) as served:
        guard = served.guard
        guard.becomes("ready", 200, '"well"')
        blocked = [threading.Thread(target=served.get, args=["/block"]) for _ in range(4)]
        for each in blocked:
            each.start()
        wait_until(lambda: any(each.is_alive() for each in blocked), "they are busy")
        while any(each.is_alive() for each in blocked):
            assert guard.get("live").status_code == 200
            ready = guard.get("ready")
            assert (ready.status_code, "workers" in ready.text) == (200, False)
        for each in blocked:
            each.join()
        workers = children_of(served.process.pid)
        assert len(workers) == 2
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        guard.becomes("live", 503, '"reason":"worker_stalled"')
        for worker in workers:
            os.kill(worker, signal.SIGCONT)
        guard.becomes("live", 200)
    wait_until(lambda: served.guard.get("live") is None, "the guard ends with its workers")


@pytest.mark.parametrize("server", ["sync, loaded before the fork", "gthread"])
def test_without_the_hook_the_guard_starts_with_the_first_request(tmp_path, server):
    """Whichever it is, also one of the application's."""
    with running(tmp_path, SERVERS[server], **GUARDED) as served:
        served.get("/orders")
        served.guard.becomes("ready", 200, '"well"')


@pytest.mark.parametrize("server", SERVERS)
def test_sigterm_is_unready_first_and_loses_no_request(tmp_path, server):
    """The worker gets the signal when it has drained; requests are answered until then."""
    codes, failures, over = [], [], threading.Event()

    def ask():
        while not over.is_set():
            try:
                codes.append(httpx.get(f"{served.url}/orders", timeout=PATIENCE_SECONDS).status_code)
            except httpx.TransportError as error:
                failures.append(error)
                return

    with running(
        tmp_path, with_hook(server), conf=STARTS, **{**GUARDED, "TASKER_SERVER__DRAIN_SECONDS": "4"}
    ) as served:
        served.guard.becomes("ready", 200)
        asker = threading.Thread(target=ask)
        asker.start()
        wait_until(lambda: len(codes) > 5, "requests are answered")
        served.process.send_signal(signal.SIGTERM)
        served.guard.becomes("ready", 503, '"reason":"draining"')
        seen = len(codes)
        wait_until(lambda: len(codes) > seen + 5, "requests go on")
        over.set()
        asker.join()
        assert served.process.wait(PATIENCE_SECONDS) == 0
    assert (set(codes), failures) == ({200}, [])


def test_a_worker_has_one_thread_of_ours(tmp_path):
    """However often it is asked; the master has none."""
    with running(tmp_path, SERVERS["sync, loaded before the fork"]) as served:
        for _ in range(50):
            assert served.get("/tasker/health/ready").status_code == 200
        wait_until(lambda: all(threads_of(worker) <= 2 for worker in children_of(served.process.pid)), "two threads")
        assert threads_of(served.process.pid) == 1


def children_of(parent):
    """Return the process ids of the children of *parent* that are no guard."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent and b"guard" not in stat.with_name("cmdline").read_bytes():
                found.append(int(stat.parent.name))
        except OSError:
            continue
    return found


def threads_of(pid):
    """Return how many threads process *pid* has."""
    return int(re.search(r"^Threads:\t(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE).group(1))
