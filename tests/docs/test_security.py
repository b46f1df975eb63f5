"""The page on security keeps its word: each promise names tests that are there, and the policy is found."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"


def promises():
    """Return what is promised, and the test files that are named for it."""
    section = PAGE.read_text().split("## What is promised")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][1:]
    return {promise: re.findall(r"[\w./]+", files) for promise, files in rows}


def test_every_promise_names_tests_that_are_there():
    """Each row has at least one file, and each file has tests, or is the plugin of the whole run."""
    assert len(promises()) > 15
    for promise, files in promises().items():
        assert files, promise
        for name in files:
            assert (ROOT / name).is_file(), f"{promise}: {name}"
            assert name == "tests/canary.py" or "def test_" in (ROOT / name).read_text(), name


def test_every_attack_on_a_listener_is_a_promise():
    """Files of attacks are not forgotten in the table."""
    named = {name for files in promises().values() for name in files}
    attacks = {str(file.relative_to(ROOT)) for file in (ROOT / "tests" / "e2e").glob("test_attacks*.py")}
    assert attacks <= named


def test_the_policy_is_at_the_root_and_names_no_address():
    """How to report a hole: by the repository's own advisories; its links lead somewhere."""
    policy = (ROOT / "SECURITY.md").read_text()
    assert "security advisory" in policy
    assert not re.search(r"https?://|@", policy)
    for target in re.findall(r"\]\(([^)]+)\)", policy):
        assert (ROOT / target).is_file(), target
    assert "(SECURITY.md)" in (ROOT / "README.md").read_text()
