"""The documentation is true: settings are all there, snippets run, what is shown is what is answered."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import httpx
import pytest

from dbos_tables import empty_engine
from server import free_port as find_port
from server import wait_until
from settings_page import PAGE, page
from tasker_health.access.gate import Gate
from tasker_health.loading import load_settings

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PATIENCE_SECONDS = 120
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page, language):
    """Return the fenced blocks of *page* in *language*."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def all_blocks(language):
    """Return every block in *language*, with a readable id."""
    return [
        pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, block in enumerate(blocks(page, language))
    ]


def environment(**variables):
    """Return an environment without settings of the machine."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    return {**clean, "PATH": f"{BIN}:{clean['PATH']}", **variables}


FLOWS = {"oldest_ready_seconds", "seconds_to_drain", "drains", "arrivals_per_minute", "completions_per_minute"}
"""Figures that are null from one moment to the next: nothing waits, or it does not drain."""


def shape(value):
    """Return the keys and types of a JSON document, without its figures."""
    if isinstance(value, dict):
        return {key: "flow" if key in FLOWS else shape(each) for key, each in value.items()}
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def test_the_page_of_settings_is_the_table_of_the_code():
    """Every setting is documented with its default and help. To mend: python tests/settings_page.py."""
    assert PAGE.read_text() == page()


@pytest.mark.parametrize(
    "group",
    [
        *("server", "auth", "auth.roles.<name>", "auth.tokens.<name>", "auth.users.<name>", "auth.jwt", "auth.mtls"),
        *("auth.mtls.callers.<name>", "sources.<name>", "exporters.prometheus"),
    ],
)
def test_every_group_of_settings_has_a_section(group):
    """Also groups in groups, and those that are made by name."""
    assert f"\n## {group}\n" in PAGE.read_text()


@pytest.mark.parametrize("block", all_blocks("python"))
def test_every_python_snippet_runs(block, tmp_path):
    """Each is a whole module that imports without an error or a warning."""
    (tmp_path / "snippet.py").write_text(block)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import snippet"],
        cwd=tmp_path,
        env=environment(TASKER_SERVER__PORT="0", TASKER_GUARD__PORT="0"),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("block", all_blocks("toml"))
def test_every_settings_snippet_is_accepted(block, tmp_path):
    """Each is TOML whose names and values the settings know."""
    tomllib.loads(block)
    file = tmp_path / "health.toml"
    file.write_text(block)
    load_settings(file, environ={})


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, id=page)
        for page in ("tokens", "basic")
        for block in blocks(ROOT / "docs" / "access" / f"{page}.md", "toml")
    ],
)
def test_the_settings_of_the_pages_on_access_start(block, tmp_path):
    """Hashes and roles are real ones: an authenticator takes them."""
    file = tmp_path / "health.toml"
    file.write_text(block)
    assert not Gate(load_settings(file, environ={})).open


@pytest.mark.parametrize(
    "link",
    [
        pytest.param((page, link), id=f"{page.relative_to(ROOT)}-{link}")
        for page in [*PAGES, ROOT / "CONTRIBUTING.md"]
        for link in re.findall(r"\]\((?!https?://)([^)]+)\)", page.read_text())
    ],
)
def test_every_link_leads_somewhere(link):
    """Relative links name a file that is there, and an anchor that is a heading."""
    page, target = link
    name, _, anchor = target.partition("#")
    found = (page.parent / name) if name else page
    assert found.exists(), target
    if anchor:
        headings = re.findall(r"^#+ (.+)$", found.read_text(), re.MULTILINE)
        assert anchor in {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}


def commands_of(block):
    """Return pairs of a command and what the page shows as its output."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(part.split("\n", 1)[0], part.split("\n", 1)[1].strip()) for part in parts]


def readme_console():
    """Return the console blocks of the README by what they show."""
    return blocks(ROOT / "README.md", "console")


def assert_shows(block, port, cwd):
    """Run the `curl` and `tasker-health` lines of *block* at *port*; each output has the shape that is shown."""
    for command, shown in commands_of(block):
        words = shlex.split(re.sub(r":(8080|8000)/", f":{port}/", command))
        done = subprocess.run(
            words, cwd=cwd, env=environment(), capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        if shown:
            assert shape(json.loads(done.stdout)) == shape(json.loads(shown)), command


@pytest.fixture
def free_port():
    """A port of the loopback interface that nobody listens on."""
    return find_port()


@pytest.fixture
def started(free_port):
    """Start a command that serves at a free port until the test ends; answers how."""
    processes = []

    def start(words, cwd, **variables):
        process = subprocess.Popen(
            words,
            cwd=cwd,
            env=environment(TASKER_SERVER__PORT=str(free_port), TASKER_GUARD__PORT="0", **variables),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        processes.append(process)
        wait_until(lambda: answers(free_port), f"{words} serves", PATIENCE_SECONDS)
        return process

    yield start
    for process in processes:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
            process.wait()


def answers(port):
    """Return whether a live endpoint answers at *port*."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/tasker/health/live", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def settled(port):
    """Return whether the demo has figures of every kind that the README shows."""
    figures = httpx.get(f"http://127.0.0.1:{port}/tasker/health/status", timeout=30).json()["performance_metrics"]
    return None not in figures.values()


def test_the_two_commands_of_the_readme_do_what_it_shows(started, free_port, tmp_path):
    """`./dev run` serves the demo; each `curl` answers in the shape that is printed there."""
    run, ask = readme_console()[:2]
    assert commands_of(run)[0][0] == "./dev run"
    # A machine that does other work besides lets every event loop lag, and the answer would say so.
    patient = {"TASKER_HEALTH__LOOP_LAG_WARNING_SECONDS": "30"}
    process = started([str(ROOT / "dev"), "run"], ROOT, TASKER_HEALTH__CACHE_DURATION_SECONDS="1", **patient)
    wait_until(lambda: settled(free_port), "the demo has figures of every kind", PATIENCE_SECONDS)
    assert_shows(ask, free_port, tmp_path)
    process.terminate()
    assert process.wait(PATIENCE_SECONDS) == 0


def test_the_service_of_the_readme_answers_as_it_shows(started, free_port, tmp_path):
    """Its FastAPI application, started with uvicorn, gives the answer that is printed there."""
    (tmp_path / "orders.py").write_text(blocks(ROOT / "README.md", "python")[0])
    started([str(BIN / "uvicorn"), "orders:app", "--port", str(free_port)], tmp_path)
    assert_shows(readme_console()[2], free_port, tmp_path)


def test_the_deployment_of_the_readme_is_written_and_found_well(free_port, tmp_path):
    """Manifests and a balancer's configuration from its TOML file; nothing is wrong in them."""
    (tmp_path / "health.toml").write_text(blocks(ROOT / "README.md", "toml")[0])
    assert_shows(readme_console()[5], free_port, tmp_path)
    assert "kind: Deployment" in (tmp_path / "deploy" / "kubernetes.yaml").read_text()


def test_the_monitoring_of_the_readme_is_written_and_found_well(free_port, tmp_path):
    """Rules and a dashboard from its TOML file; nothing is wrong with who is told."""
    (tmp_path / "health.toml").write_text(blocks(ROOT / "README.md", "toml")[0])
    assert_shows(readme_console()[6], free_port, tmp_path)
    assert (tmp_path / "monitoring" / "prometheus" / "rules.yml").exists()


def test_the_server_of_the_readme_serves_what_it_says(started, free_port, tmp_path):
    """Its TOML file starts `serve`, and `check` and `probe` end with 0 against it."""
    (tmp_path / "health.toml").write_text(blocks(ROOT / "README.md", "toml")[0])
    empty_engine(tmp_path / "orders.sqlite")
    serve, ask = readme_console()[3:5]
    started(shlex.split(commands_of(serve)[0][0]), tmp_path)
    assert_shows(ask, free_port, tmp_path)
