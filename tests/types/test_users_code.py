"""Users' code is clean under mypy and pyright, both strict, and their mistakes are found; our types are complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BIN = Path(sys.executable).parent
PATIENCE_SECONDS = 240

PYRIGHT = {"include": ["."], "typeCheckingMode": "strict", "reportUnnecessaryTypeIgnoreComment": "error"}

CACHE = HERE.parents[1] / ".mypy_cache" / "users"
MODULES = ("service.py", "service_tests.py", "in_frameworks.py", "misuse.py")
PROGRAMS = {
    "mypy": ["mypy", "--strict", "--config-file", "", "--cache-dir", str(CACHE), *MODULES],
    "pyright": ["pyright"],
    "verifytypes": ["pyright", "--verifytypes", "tasker_health", "--ignoreexternal", "--outputjson"],
}

PUBLIC = re.compile(
    r"tasker_health(\.(access|cache|checks|clock|errors|health|loading|model|monitor|registry|request|settings(\.\w+)?"
    r"|sources|testing(\.\w+)?|web\.(asgi|wsgi|background|endpoints|render)))?\.[A-Za-z_]\w*(\.\w+)?"
)
"""What users import, inherit from, or are given: all of it has types that are known. Loggers are nobody's."""

LEAST_COMPLETE = 0.95
"""Of every name without an underscore in the whole package, internal modules and loggers too: 0.97 as measured."""


@pytest.fixture(scope="module")
def users(tmp_path_factory):
    """A folder with the users' modules, outside of our project and its settings."""
    folder = tmp_path_factory.mktemp("users")
    for name in MODULES:
        shutil.copy(HERE / name, folder)
    (folder / "pyrightconfig.json").write_text(json.dumps(PYRIGHT))
    return folder


@pytest.fixture(scope="module")
def verdicts(users):
    """Start the three programs at once; each is asked for its exit code and what it said."""
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}  # pyright asks the first Python that it finds
    started = {
        name: subprocess.Popen(
            [str(BIN / words[0]), *words[1:]],
            cwd=users,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for name, words in PROGRAMS.items()
    }

    def verdict(name):
        said, _ = started[name].communicate(timeout=PATIENCE_SECONDS)
        return started[name].returncode, said

    yield verdict
    for process in started.values():
        process.kill()
        process.communicate()


def test_users_code_is_clean_under_mypy(verdicts):
    """And every mistake in `misuse.py` is one: a mark that nothing needs is an error."""
    code, said = verdicts("mypy")
    assert code == 0, said
    assert f"no issues found in {len(MODULES)} source files" in said


def test_users_code_is_clean_under_pyright(verdicts):
    """The same modules, the same marks."""
    code, said = verdicts("pyright")
    assert code == 0, said
    assert "0 errors, 0 warnings" in said


def test_the_types_of_what_users_reach_are_complete(verdicts):
    """By pyright's own measure; of the rest of the package nearly all."""
    _, said = verdicts("verifytypes")
    found = json.loads(said)["typeCompleteness"]
    guessed = [
        symbol["name"]
        for symbol in found["symbols"]
        if symbol["diagnostics"] and PUBLIC.fullmatch(symbol["name"]) and not symbol["name"].endswith(".log")
    ]
    assert guessed == []
    assert found["completenessScore"] >= LEAST_COMPLETE
