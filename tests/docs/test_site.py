"""The site is built without a warning, every link of it leads somewhere, and it needs no other server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tasker_health
import tasker_health.testing
from commands_page import PAGE, page
from site_links import faults_of

ROOT = Path(__file__).parents[2]
PATIENCE_SECONDS = 300


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built site."""
    folder = tmp_path_factory.mktemp("site") / "built"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_link_of_the_site_leads_somewhere_and_nothing_is_loaded_from_elsewhere(site):
    """Links, anchors, images, scripts and style sheets, in the HTML that a reader gets."""
    assert faults_of(site, "") == []


def test_no_style_sheet_of_the_site_loads_from_elsewhere(site):
    """Neither a font nor an image: the pages read the same where there is no network."""
    sheets = list(site.rglob("*.css"))
    assert sheets
    for sheet in sheets:
        assert not re.search(r"(?:url\(|@import )['\"]?(?:https?:)?//", sheet.read_text()), sheet.name


def test_what_is_searched_lies_in_the_site(site):
    """The index has every page, and the worker that reads it is ours."""
    index = json.loads((site / "search" / "search_index.json").read_text())
    found = {entry["location"].partition("#")[0] for entry in index["docs"]}
    assert {"endpoints/", "troubleshooting/", "api/"} <= found
    assert list((site / "assets" / "javascripts" / "workers").glob("search.*.js"))


def test_every_page_stands_in_the_navigation():
    """A page that nobody can find is not documentation."""
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))]
    assert [each for each in pages if f" {each}\n" not in navigation] == []


@pytest.mark.parametrize(("module", "name"), [(tasker_health, "index"), (tasker_health.testing, "testing")])
def test_everything_that_users_reach_stands_in_the_reference(module, name):
    """Each name of `__all__`, once."""
    shown = re.findall(
        rf"^::: {re.escape(module.__name__)}\.(\w+)$", (ROOT / f"docs/api/{name}.md").read_text(), re.MULTILINE
    )
    assert sorted(shown) == sorted(module.__all__)


def test_the_page_of_commands_is_what_the_commands_say():
    """Every command, option and default. To mend: python tests/commands_page.py."""
    assert PAGE.read_text() == page()


def built(folder, **pages):
    """Write *pages* as the HTML of a site in *folder*."""
    for name, body in pages.items():
        (folder / f"{name}.html").write_text(f"<html><body>{body}</body></html>")
    return folder


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<a href="gone.html">x</a>', "leads to no file"),
        ('<a href="#gone">x</a>', "leads to no anchor"),
        ('<a href="other.html#gone">x</a>', "leads to no anchor"),
        ('<img src="gone.png">', "leads to no file"),
        ('<script src="https://elsewhere.test/x.js"></script>', "loads https://elsewhere.test/x.js"),
        ('<link rel="stylesheet" href="//elsewhere.test/x.css">', "loads //elsewhere.test/x.css"),
        ('<a href="javascript:alert(1)">x</a>', "a scheme that no page needs"),
    ],
)
def test_a_fault_of_a_page_is_found(tmp_path, body, fault):
    """The reader of links tells a broken site from a whole one."""
    site = built(tmp_path, index=body, other='<h1 id="there">y</h1>')
    assert [each for each in faults_of(site, "") if fault in each]


def test_a_page_without_fault_has_none(tmp_path):
    """Links to other servers are not followed; those within lead somewhere."""
    body = '<a href="other.html#there">x</a><a href="https://elsewhere.test/">y</a><a href="./">z</a>'
    assert faults_of(built(tmp_path, index=body, other='<h1 id="there">y</h1>'), "") == []
