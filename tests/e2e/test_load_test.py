"""`tasker-health load-test` as it is typed, against the real server."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import sys

import pytest

import canary
from command import COMMAND, run
from served import served
from server import wait_until

PATIENCE_SECONDS = 60
AT_EASE = [f"--mark={name}=60000" for name in ("live", "ready", "status", "live.table", "ready.table")]
AT_EASE += ["--mark=status.cached=60000", "--mark=status.uncached=60000"]


@pytest.fixture(scope="module")
def server():
    """The real server, whose status is for those with a token."""
    token = canary.secret("load-test")
    variables = {
        "TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION": "true",
        "TASKER_AUTH__AUTHENTICATION_ENABLED": "true",
        "TASKER_AUTH__AUTHENTICATOR_CLASS": "tokens",
        "TASKER_AUTH__TOKENS__OPS__HASH": f"sha256:{hashlib.sha256(token.encode()).hexdigest()}",
    }
    with served(**variables) as server:
        server.token = token
        yield server


def test_all_three_endpoints_keep_their_promises(server, tmp_path):
    """By a token from standard input; the page is written, the text printed, and no figure is missing."""
    page = tmp_path / "report.html"
    words = ["--duration", "0.5", "--rate", "40", "--token", "-", "--report", "html", "--output", str(page)]
    done = run("load-test", server.url, *words, *AT_EASE, input=f"{server.token}\n")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.splitlines()[-1] == "passed"
    assert done.stdout.count("20 requests, 20 good") == 3
    assert "<svg" in page.read_text()
    assert server.token not in page.read_text()


def test_without_the_token_the_line_says_to_give_one(server):
    """There is nothing to be measured where each answer is 401."""
    done = run("load-test", server.url)
    assert (done.returncode, done.stdout) == (2, "")
    assert "/status: answers 401" in done.stderr
    assert "--token -" in done.stderr


def test_the_guides_run_is_asked_as_ab_would(server):
    """A thousand on each, ten at once, without keep-alive; here of the two that need no token, and fewer of them."""
    words = ["--endpoints", "live,ready", "--concurrency", "10", "--requests", "100", "--no-keep-alive"]
    done = run("load-test", server.url, *words, "--report", "json", *AT_EASE)
    figures = json.loads(done.stdout)
    assert done.returncode == figures["exit_code"] == 0
    assert [each["requests"] for each in figures["endpoints"].values()] == [100, 100]
    assert figures["plan"]["loop"] == "closed"


def test_ctrl_c_ends_it_at_once_with_what_was_measured(server):
    """An hour was asked for; the bar is drawn on the terminal, and the report is of what there was."""
    ours, theirs = pty.openpty()
    command = [*COMMAND, "load-test", server.url, "--endpoints", "live", "--duration", "3600", "--report", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    try:
        wait_until(lambda: re.search(rb"[1-9]\d* answers", os.read(ours, 65536)), "the bar tells of answers")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
        process.communicate()
        os.close(ours)
    figures = json.loads(out)
    assert process.returncode == 130
    assert figures["stopped_early"]
    assert 0 < figures["endpoints"]["live"]["requests"] < 100_000
    assert figures["seconds"] < PATIENCE_SECONDS


def test_without_aiohttp_the_line_says_what_to_install():
    """The command is there without its extra; what it asks by is not."""
    script = (
        "import sys, importlib.util as u; find = u.find_spec;"
        "u.find_spec = lambda name, *rest: None if name == 'aiohttp' else find(name, *rest);"
        "sys.argv[:] = ['tasker-health', 'load-test']; from tasker_health.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'tasker-health[load-test]'" in done.stderr
