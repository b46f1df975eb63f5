"""`tasker-health top` at the real server: refused, let in, away and back; and printed once."""

from __future__ import annotations

import asyncio
import os
import pty
import select
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

import canary
from command import run
from loop import in_loop
from served import served
from server import free_port
from tasker_health.access.hashing import stored_token
from tasker_health.cli.top.app import Top
from tasker_health.cli.top.asking import Asking
from tasker_health.cli.top.target import Target

PATIENCE_SECONDS = 60
TOKEN = canary.secret("top-token-of-many-letters")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that lets a token read the status; its source's database is empty, so it cannot be read."""
    file = tmp_path_factory.mktemp("top") / "app.sqlite"
    sqlite3.connect(file).close()
    variables = {
        "TASKER_GUARD__ENABLED": "false",
        "TASKER_DATABASE__URL": f"sqlite:///{file}",
        "TASKER_SOURCES__SHOP__KIND": "dbos",
        "TASKER_AUTH__AUTHENTICATION_ENABLED": "true",
        "TASKER_AUTH__AUTHENTICATOR_CLASS": "tokens",
        "TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION": "true",
        "TASKER_AUTH__TOKENS__ANN__HASH": stored_token(TOKEN),
    }
    with served(**variables) as running:
        yield running


def once(url, *arguments, **options):
    """Return `top` at *url*, printed once because there is no terminal."""
    return run("top", url, *arguments, **options)


def test_who_is_refused_is_told_how_to_get_in(server):
    """One line, and the code of who could not ask."""
    done = once(server.url)
    assert (done.returncode, done.stdout) == (2, "")
    assert "answered 401" in done.stderr
    assert "--token -" in done.stderr
    assert done.stderr.count("\n") == 1


def test_it_is_printed_once_without_a_terminal(server):
    """What is wrong first, with what to do; an unhealthy system is 1; a token comes from standard input."""
    done = once(server.url, "--token", "-", input=f"{TOKEN}\n")
    assert (done.returncode, done.stderr) == (1, "")
    assert "✗ unhealthy" in done.stdout
    assert done.stdout.index("A source cannot be read now") < done.stdout.index("Checks")
    assert "tasker-health doctor" in done.stdout
    assert "\x1b" not in done.stdout


def test_without_textual_a_line_says_what_to_install(server):
    """And that there is another way."""
    hidden = (
        "import sys; sys.modules['textual'] = None; sys.stdout.isatty = sys.stdin.isatty = lambda: True;"
        "from tasker_health.cli import main; main()"
    )
    done = run(server.url, command=[sys.executable, "-c", hidden, "top"])
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'tasker-health[top]'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_in_a_terminal_it_stays_until_it_is_told_to_leave(server):
    """A real one of 80 by 24: the words are there, and q leaves with 0."""
    parent, child = pty.openpty()
    os.set_blocking(parent, False)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tasker_health", "top", server.url],
        stdin=child,
        stdout=child,
        stderr=child,
        env={**environment, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", "NO_COLOR": "1"},
        start_new_session=True,
    )
    os.close(child)
    try:
        assert b"REFUSED" in _read_until(parent, b"REFUSED")
        os.write(parent, b"q")
        _read_until(parent, None)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
        os.close(parent)


def _read_until(descriptor, words):
    """Return what is written up to *words*, or up to the end."""
    seen, ends_at = b"", time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends_at and (words is None or words not in seen):
        if select.select([descriptor], [], [], 1)[0]:
            try:
                part = os.read(descriptor, 65536)
            except OSError:  # nobody has it open any more
                return seen
            if not part:
                return seen
            seen += part
    return seen


@in_loop
async def test_it_comes_back_by_itself_after_the_server_was_away():
    """The last figures stay and are said to be old; the same screen goes on when there is a server again."""
    port = free_port()
    variables = {"TASKER_SERVER__PORT": str(port), "TASKER_GUARD__ENABLED": "false"}
    asking = Asking(Target("127.0.0.1", port, "/tasker/health"), 20.0)
    app = Top(asking, "http://h/tasker/health", 0.2)
    with served(**variables):
        ready = asyncio.Event()
        pilot_task = asyncio.create_task(_watch(app, ready))
        await asyncio.wait({pilot_task, asyncio.create_task(ready.wait())}, return_when=asyncio.FIRST_COMPLETED)
    await _until(app, lambda text: "DISCONNECTED" in text and "No source of tasks" in text)
    with served(**variables):
        await _until(app, lambda text: "DISCONNECTED" not in text and "! degraded" in text)
        app.exit()
        await pilot_task
    asking.close()


async def _watch(app, ready):
    async with app.run_test(size=(80, 24)):
        await _until(app, lambda text: "! degraded" in text)
        ready.set()
        while app.is_running and not app._exit:
            await asyncio.sleep(0.01)


async def _until(app, condition):
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition("\n".join(str(each.render()) for each in app.query("Static") if each.display)):
            await asyncio.sleep(0.01)
