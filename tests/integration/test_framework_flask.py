"""Health in Flask by its own idiom: the blueprint, and what before_request functions do to a probe."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx
import pytest
from flask import Blueprint, Flask, abort, redirect, request

from beside import PATIENCE_SECONDS, Beside, settings
from django_site import processes_in, threads_of
from fakes import settings_of
from integration.django_same import METHODS, PATHS, PLACES, QUERIES, ask_wsgi, health_of, told
from server import free_port, wait_until
from tasker_health.errors import ConfigurationError
from tasker_health.frameworks.flask import blueprint
from tasker_health.health import Health


@pytest.fixture
def healths():
    """Make healths that are stopped at the end."""
    made = []

    def make(**groups):
        made.append(Health(settings_of(**groups)) if groups else health_of())
        return made[-1]

    yield make
    for health in made:
        health.wsgi().stop()


@pytest.fixture
def probed(healths):
    """Return an application with the endpoints, whose `before_request` function is told."""

    def make(before, **options):
        app = Flask(__name__)
        app.before_request(before)
        app.register_blueprint(blueprint(healths(server={}), **options))
        return app.test_client()

    return make


def test_the_blueprint_answers_as_the_wrapped_form_does(healths):
    """Code, headers and body, in every method, in every spelling, below a prefix and where the server mounts it."""
    wrapped = healths().wsgi(Flask(__name__).wsgi_app)
    app = Flask(__name__)
    ours = blueprint(healths())
    app.register_blueprint(ours)
    app.register_blueprint(ours, url_prefix="/deep/er", name="deeper")
    wrong = []
    for path in PATHS:
        for method in METHODS:
            for query in QUERIES:
                expected = told(ask_wsgi(wrapped, method, path, query, ""))
                for root, script in PLACES:
                    found = told(ask_wsgi(app.wsgi_app, method, root + path, query, script))
                    if found != expected:
                        wrong.append((method, root + path, query, script, expected, found))
    assert wrong == []


def test_it_may_stand_in_another_blueprint(healths):
    """Its prefix is the sum of both."""
    parent, app = Blueprint("internal", __name__, url_prefix="/internal"), Flask(__name__)
    parent.register_blueprint(blueprint(healths(server={"prefix": "/orders"})), url_prefix="/deep")
    app.register_blueprint(parent)
    client = app.test_client()
    assert client.get("/internal/deep/orders/health/live").status_code == 200
    assert client.get("/internal/deep/orders//health/live").json["error"] == "Not Found"
    assert client.get("/orders/health/live").status_code == 404


@pytest.mark.parametrize("path", ["/tasker/health/live", "/tasker/health/ready", "/tasker//health/live"])
def test_before_request_functions_run_first(probed, path):
    """What they answer is what the probe gets, in any spelling; wrapped, it would not see them."""
    assert probed(lambda: abort(418)).get(path).status_code == 418
    assert probed(lambda: redirect("/login")).get(path).status_code == 302


def test_a_before_request_function_can_leave_probes_out(probed):
    """By the name of the blueprint."""
    client = probed(lambda: None if request.blueprint == "tasker_health" else abort(401))
    assert [client.get(path).status_code for path in ("/tasker/health/live", "/tasker/metrics", "/x")] == [
        200,
        200,
        401,
    ]


APP = """
import os
from flask import Flask
from tasker_health import Health
from tasker_health.frameworks.flask import blueprint

app = Flask(__name__)
app.register_blueprint(blueprint(Health()))
app.add_url_rule("/orders", view_func=lambda: str(os.getpid()), endpoint="orders")
"""
GUNICORN = ["-m", "gunicorn", "--no-control-socket", "--workers", "2", "--bind", "127.0.0.1:PORT", "app:app"]
RELOADING = ["-m", "flask", "--app", "app", "run", "--port", "PORT", "--reload"]


@contextmanager
def serving(folder, words):
    """Serve the application, with a guard, and answer how: a function that asks it, its process, its guard."""
    (folder / "app.py").write_text(APP)
    port, guard = free_port(), Beside(free_port())
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("TASKER_", "FLASK_"))}
    own = {"TASKER_GUARD__ENABLED": "true", "TASKER_SERVER__DRAIN_SECONDS": "0"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *(word.replace("PORT", str(port)) for word in words)],
            cwd=folder,
            env={**clean, **settings(guard, **own)},
            stdout=log,
            stderr=log,
        )

    def get(path):
        try:
            return httpx.get(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_SECONDS)
        except httpx.TransportError:
            return None

    try:
        wait_until(lambda: process.poll() is not None or get("/orders"), "it serves")
        yield get, process, guard
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
            process.wait()
    wait_until(lambda: processes_in(folder) == [] and guard.get("live") is None, "nothing is left")


@pytest.mark.parametrize("words", [[], ["--preload"]], ids=["forked", "loaded before the fork"])
def test_under_gunicorn_each_worker_has_a_loop_of_its_own(tmp_path, words):
    """Begun at first use, after the fork; the guard is theirs together, and ends with them."""
    with serving(tmp_path, [*GUNICORN, *words]) as (get, process, guard):
        workers = set()

        def all_have_answered():
            assert get("/tasker/health/ready").json()["ready"]
            workers.add(int(get("/orders").text))
            return len(workers) == 2 and all(threads_of(worker) == 2 for worker in workers)

        wait_until(all_have_answered, "each worker has a loop of its own")
        assert threads_of(process.pid) == 1
        guard.becomes("ready", 200)


def test_the_reloader_leaks_nothing(tmp_path):
    """It runs the module in two processes: one has a guard, and after a reload the new one has its port."""
    # The documentation's tools bring it, and what it watches with is too small on some machines.
    (tmp_path / "watchdog.py").write_text("raise ImportError")
    with serving(tmp_path, RELOADING) as (get, process, guard):
        before = int(get("/orders").text)
        assert get("/tasker/health/ready").status_code == 200
        guard.becomes("ready", 200)
        (tmp_path / "app.py").write_text(APP + "# changed\n")
        later = time.time() + 10  # its clock for files may count whole seconds
        os.utime(tmp_path / "app.py", (later, later))
        wait_until(lambda: (answer := get("/orders")) and int(answer.text) != before, "it is another process")
        assert get("/tasker/health/ready").status_code == 200
        guard.becomes("ready", 200)
        assert sorted(processes_in(tmp_path)) == sorted([process.pid, int(get("/orders").text)])


def test_a_prefix_has_no_variable():
    """A probe asks for one path."""
    app = Flask(__name__)
    with pytest.raises(ConfigurationError, match=r"url_prefix = '/<tenant>': a variable; register it under a plain"):
        app.register_blueprint(blueprint(health_of()), url_prefix="/<tenant>")
    with pytest.raises(ConfigurationError, match="health is a Flask"):
        blueprint(app)
