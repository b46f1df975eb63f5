"""The commands as a user types them: what they print, and the codes with which they end."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from command import COMMAND, PATIENCE_SECONDS, SCRIPT, run
from served import served
from server import wait_until


def assert_one_line(done, *words):
    """The command ended with 2 and one line that has all *words*."""
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("tasker-health: ")
    for word in words:
        assert word in done.stderr


@pytest.fixture
def database(tmp_path):
    """URL of an empty SQLite database."""
    file = tmp_path / "app.sqlite"
    sqlite3.connect(file).close()
    return f"sqlite:///{file}"


@pytest.mark.parametrize("command", ["serve", "check", "demo"])
@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"TASKER_SERVER__PROT": "1"}, ["TASKER_SERVER__PROT", "'1'", "did you mean port?"]),
        ({"TASKER_SERVER__PORT": "http"}, ["TASKER_SERVER__PORT", "'http'", "integer"]),
        ({"TASKER_AUTH__AUTHENTICATOR_CLASS": "no.Such"}, ["auth.authenticator_class", "'no.Such'", "correct"]),
        (
            {"TASKER_HEALTH__STATUS_REQUIRES_AUTHENTICATION": "true"},
            ["health.status_requires_authentication", "auth.authentication_enabled"],
        ),
    ],
)
def test_bad_settings_end_every_command_with_2_and_one_line(tmp_path, command, variables, words):
    """Unknown key, wrong type, a class that does not import, a switch without what it needs."""
    file = tmp_path / "empty.toml"
    file.write_text("")
    assert_one_line(run(command, "--config", str(file), **variables), *words)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"TASKER_DATABASE__URL": "not a url: canary"}, ["not a SQLAlchemy URL", "postgresql://"]),
        ({"TASKER_DATABASE__URL": "oracle://u:canary@h/x"}, ["driver", "not installed"]),
        ({"TASKER_SOURCES__SHOP__KIND": "dbos"}, ["sources.shop.url", "database.url"]),
        (
            {"TASKER_SOURCES__SHOP__KIND": "dbos", "TASKER_DATABASE__URL": "mysql://u:canary@h/x"},
            ["runs on sqlite and postgresql"],
        ),
        ({"TASKER_SERVER__HOST": "203.0.113.7"}, ["server.host", "203.0.113.7"]),
    ],
)
def test_settings_that_cannot_work_end_serve_with_2_and_show_no_secret(variables, words):
    """What only shows when things are put together is one line too."""
    done = run("serve", **variables)
    assert_one_line(done, *words)
    assert "canary" not in done.stderr


def test_a_port_in_use_ends_serve_with_2():
    """The line names the port and how to choose another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", TASKER_SERVER__PORT=str(port))
    lines = [line for line in done.stderr.splitlines() if line.startswith("tasker-health:")]
    assert (done.returncode, len(lines)) == (2, 1)
    assert f"server.port = {port}" in lines[0]
    assert "TASKER_SERVER__PORT" in lines[0]


def test_what_kubernetes_injects_does_not_keep_serve_from_starting():
    """A Service called tasker, next door."""
    injected = {"TASKER_PORT": "tcp://10.0.0.1:80", "TASKER_SERVICE_HOST": "10.0.0.1", "TASKER_SERVICE_PORT": "80"}
    with served(**injected) as server:
        assert server.get("live").status_code == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_ends_cleanly(database, number):
    """SIGTERM and Ctrl-C end it with 0, without a traceback and without a warning."""
    with served(TASKER_DATABASE__URL=database) as server:
        assert server.get("ready").status_code == 200
        server.process.send_signal(number)
        assert server.process.wait(PATIENCE_SECONDS) == 0


def test_serve_reads_a_toml_file(tmp_path, database):
    """`--config` and the environment are read by every command alike."""
    file = tmp_path / "health.toml"
    file.write_text(f'[database]\nurl = "{database}"\n[health]\nservice_name = "orders"\n')
    done = run("check", "--config", str(file), "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["ready"]["checks"]["database"]["status"] == "ok"


def test_the_log_can_be_json_and_can_have_probes(database):
    """`log.format` json is one object a line; `log.probes` writes a line for each probe, by default none."""
    with served(TASKER_LOG__FORMAT="json", TASKER_LOG__PROBES="true") as server:
        server.get("live")
        wait_until(lambda: "/tasker/health/live" in server.log, "the probe is logged")
        for line in server.log.splitlines():
            assert {"timestamp", "level", "logger", "message"} <= json.loads(line).keys()
        (told,) = [json.loads(line)["probe"] for line in server.log.splitlines() if "health/live" in line]
        assert (told["path"], told["code"], told["client"]) == ("/tasker/health/live", 200, "127.0.0.1")
    with served() as server:
        server.get("live")
        assert "GET" not in server.log


def test_check_ends_with_0_when_all_is_well_and_1_when_a_dependency_is_down(database, tmp_path):
    """A dependency that is found down is 1, with its reason in the table and no text of the driver."""
    well = run("check", TASKER_DATABASE__URL=database)
    assert (well.returncode, "ready: ok" in well.stdout) == (0, True)
    away = run("check", TASKER_DATABASE__URL="postgresql://u:canary@127.0.0.1:1/x")
    assert away.returncode == 1
    assert "refused" in away.stdout
    assert "canary" not in away.stdout + away.stderr
    unreadable = run(
        "check",
        TASKER_SOURCES__SHOP__KIND="dbos",
        TASKER_SOURCES__SHOP__URL=f"sqlite:///{tmp_path}/none.sqlite",
        TASKER_MIGRATIONS__KIND="none",
    )
    assert unreadable.returncode == 1
    assert "missing" in unreadable.stdout


def test_help_and_version_and_usage(database):
    """Help names the commands, a wrong word is 2."""
    assert all(word in run("--help").stdout for word in ("serve", "check", "probe", "demo"))
    assert run("--version").stdout.startswith("tasker-health ")
    for words in (["nothing"], ["check", "--fail-on", "sometimes"], ["serve", "--port", "1"]):
        assert_one_line(run(*words), words[-2] if len(words) == 3 and words[0] == "serve" else words[-1])


class Answers:
    """A listener of the test's own that answers one thing to everybody, or nothing."""

    def __init__(self, answer: bytes | None) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/tasker/health/status"
        self._answer = answer
        self._kept: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._kept.append(connection)
            if self._answer is not None:
                connection.recv(65536)
                connection.sendall(self._answer)
                connection.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Stop listening."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE_SECONDS)
        for connection in self._kept:
            connection.close()


def response(status, body=b"{}"):
    """Return an HTTP response."""
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


@pytest.mark.parametrize(
    ("answer", "options", "code"),
    [
        (response(200), [], 0),
        (response(200, b'{"status":"degraded"}'), [], 0),
        (response(200, b'{"status":"degraded"}'), ["--fail-on", "degraded"], 1),
        (response(200, b'{"status":"healthy","x":"degraded"}'), ["--fail-on=degraded"], 0),
        (response(200, b'{"ready":true,"degraded_checks":["cache"]}'), ["--fail-on", "degraded"], 1),
        (response(503), [], 1),
        (response(404), [], 2),
        (response(302), [], 2),
        (response(500), [], 2),
        (b"SSH-2.0-OpenSSH\r\n", [], 2),
        (b"", [], 2),
        (b"HTTP/1.1 200 OK", [], 2),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{"ready":', [], 2),
        (b"HTTP/1.1 200 OK\r\n\r\n4\r\ndegraded", ["--fail-on", "degraded"], 2),
        (b"HTTP/1.0 200 OK\r\n\r\n{}", [], 0),
        (response(200, b"[" * 100_000 + b"degraded"), ["--fail-on", "degraded"], 2),
        (None, ["--timeout", "0.3"], 2),
        (response(404), ["--container"], 1),
        (response(503), ["--container"], 1),
        (response(200), ["--container"], 0),
    ],
    ids=str,
)
def test_probe_judges_by_the_answer(answer, options, code):
    """0 healthy, 1 unhealthy or degraded, 2 could not ask; `--container` makes 1 of 2."""
    listener = Answers(answer)
    try:
        done = run("probe", *options, listener.url)
    finally:
        listener.close()
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert (done.stderr == "") == (done.stdout != "")


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["ftp://x/"],
        ["http://"],
        ["http://127.0.0.1:99999/"],
        ["http://127.0.0.1:x/"],
        ["http://user:canary@127.0.0.1/"],
        ["http://127.0.0.1:1/\r\nX: y"],
        ["--timeout", "soon", "http://127.0.0.1:1/"],
        ["--timeout", "nan", "http://127.0.0.1:1/"],
        ["--timeout"],
        ["--fail-on", "never", "http://127.0.0.1:1/"],
        ["--nothing", "http://127.0.0.1:1/"],
        ["http://127.0.0.1:1/", "http://127.0.0.1:1/"],
        ["http://127.0.0.1:1/tasker/health/live"],
        ["http://nowhere.invalid/"],
    ],
    ids=str,
)
def test_probe_that_cannot_ask_is_2_and_one_line(arguments):
    """Usage and connection errors name what is wrong; in a container the code is 1."""
    done = run("probe", *arguments)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert run("probe", "--container", *arguments).returncode == 1


def test_probe_asks_the_real_server(database):
    """The console script against serve: ready is 0, an unreadable status is 1."""
    variables = {"TASKER_SOURCES__SHOP__KIND": "dbos", "TASKER_MIGRATIONS__KIND": "none"}
    with served(TASKER_DATABASE__URL=database, **variables) as server:
        assert run("probe", f"{server.url}/ready", command=[SCRIPT]).returncode == 0
        assert run("probe", f"{server.url}/status", command=[SCRIPT]).returncode == 1
        ipv6 = run("probe", f"{server.url}/live".replace("127.0.0.1", "localhost"), command=[SCRIPT])
        assert (ipv6.returncode, ipv6.stdout) == (0, "healthy\n")


def shell(line, **variables):
    """Return the finished shell line."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    return subprocess.run(
        ["bash", "-c", line],
        env={**environment, "TASKER_GUARD__PORT": "0", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("{script} probe http://127.0.0.1:1/ 2>&-", 2),
        ("{script} probe http://127.0.0.1:1/ 2>/dev/full", 2),
        ("{script} check >/dev/full", 0),
        ("{script} check --json >&-", 0),
        ("{script} check --json | head -c 0; exit ${{PIPESTATUS[0]}}", 0),
        ("{script} serve --config /nowhere.toml 2>/dev/full", 2),
    ],
)
def test_an_exit_code_does_not_depend_on_who_reads_the_output(line, code):
    """A closed pipe or a full disk changes no verdict and shows no traceback."""
    done = shell(line.format(script=SCRIPT))
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "variables",
    [
        {"TASKER_SERVER__HOST": "\u00e9..x"},
        {"TASKER_AUTH__AUTHENTICATOR_CLASS": "exits:A", "TASKER_AUTH__AUTHENTICATION_ENABLED": "true"},
        {"TASKER_AUTH__AUTHENTICATOR_CLASS": "leaks:A", "TASKER_AUTH__AUTHENTICATION_ENABLED": "true"},
    ],
)
def test_what_breaks_at_start_is_2_and_one_line_without_a_secret(tmp_path, variables):
    """A host that is no name, a module that exits at import, one that raises a DSN over two lines."""
    (tmp_path / "exits.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "leaks.py").write_text("raise RuntimeError('postgresql://u:canary@h\\nsecond line')\n")
    done = run("serve", PYTHONPATH=str(tmp_path), **variables)
    lines = [line for line in done.stderr.splitlines() if "INFO" not in line]
    assert (done.returncode, len(lines)) == (2, 1), done.stderr
    assert "canary" not in done.stderr


def test_serve_told_to_stop_while_it_starts_ends_cleanly():
    """SIGTERM among the imports: 0, nothing on standard error."""
    for delay in (0.1, 0.2, 0.3):
        done = shell(f"timeout -s TERM {delay} {SCRIPT} serve; exit $?", TASKER_SERVER__PORT="0")
        assert "Traceback" not in done.stderr
        assert done.returncode == 124


def test_a_log_that_nobody_reads_holds_up_no_probe():
    """Thousands of lines into a pipe that is full: every probe is answered, and the server ends."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    variables = {"TASKER_LOG__PROBES": "true", "TASKER_SERVER__PORT": "0", "TASKER_GUARD__PORT": "0"}
    variables |= {"TASKER_SERVER__DRAIN_SECONDS": "0"}
    process = subprocess.Popen([*COMMAND, "serve"], env={**environment, **variables}, stderr=subprocess.PIPE)
    try:
        while "serving" not in (line := process.stderr.readline().decode()):
            assert process.poll() is None
        url = line.split("serving ")[1].split()[0]
        with httpx.Client(timeout=30) as client:
            codes = {client.get(f"{url}/live").status_code for _ in range(3000)}
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()
    assert codes == {200}


def test_probe_imports_nothing_outside_the_standard_library():
    """Held on `sys.modules`: neither a library nor more of ours than the command needs, nor http.client."""
    code = (
        "import sys; before = set(sys.modules); sys.argv = ['tasker-health', 'probe', 'http://127.0.0.1:1/'];"
        "from tasker_health.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('\\n'.join(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )
    modules = set(done.stdout.split())
    ours = {name for name in modules if name.startswith("tasker_health")}
    assert ours == {"tasker_health", "tasker_health.cli", "tasker_health.cli.probe"}
    outside = {name.partition(".")[0] for name in modules - ours} - sys.stdlib_module_names
    assert outside == set()
    assert not modules & {"http.client", "email", "asyncio", "json", "ssl", "argparse", "re"}


def test_importing_the_package_imports_no_dependency():
    """`import tasker_health` is lazy, and still shows every name in `dir`."""
    code = (
        "import sys, tasker_health; print(*sorted(sys.modules));"
        "assert set(tasker_health.__all__) <= set(dir(tasker_health))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert not set(done.stdout.split()) & {"msgspec", "pydantic", "sqlalchemy", "uvicorn", "asyncio", "typer", "dbos"}


def test_health_works_without_sqlalchemy():
    """Who checks no database installs none: the core needs msgspec and pydantic only."""
    code = """
import asyncio, sys
for name in ("sqlalchemy", "psycopg", "aiosqlite", "uvicorn", "typer", "rich", "dbos"):
    sys.modules[name] = None
from tasker_health import Health, load_settings
health = Health(load_settings(environ={}))
health.check("well")(lambda: True)
health.asgi()
print(asyncio.run(health.ready()).ready, asyncio.run(health.live()).alive)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout == "True True\n", done.stderr
