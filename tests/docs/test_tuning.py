"""The page on tuning is true: its defaults are ours, its examples start, its probes are patient, its rows are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from command import run
from fakes import settings_of
from tasker_health.cache.chosen import chosen_cache
from tasker_health.clock import SystemClock
from tasker_health.loading import load_settings
from tasker_health.model import Reason
from tasker_health.settings.database import CACHE_SCHEMES
from tasker_health.web.render import CACHE_CONTROL

DOCS = Path(__file__).parents[2] / "docs"
TUNING = (DOCS / "tuning.md").read_text()
DOCTOR = (DOCS / "doctor.md").read_text()
DEFAULTS = re.findall(r"^\| `(\w+)\.(\w+)` \| [^|]+ \| `?([^|`]+)`? \|", TUNING, re.MULTILINE)


def section(page, heading):
    """Return what stands under *heading*, up to the next one of its rank."""
    rank = heading.split(" ")[0]
    return re.split(rf"^{rank} ", page.split(f"{heading}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text):
    """Return the cells of the tables in *text*, without their heads."""
    lines = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    rules = [number for number, cells in enumerate(lines) if set("".join(cells)) <= set("-| ")]
    heads = {number - 1 for number in rules} | set(rules)
    return [cells for number, cells in enumerate(lines) if number not in heads]


@pytest.mark.parametrize(("group", "name", "shown"), DEFAULTS, ids=[".".join(row[:2]) for row in DEFAULTS])
def test_our_defaults_are_the_ones_of_the_code(group, name, shown):
    """As they are printed beside the guide's."""
    default = getattr(getattr(settings_of(), group), name)
    value = default.get_secret_value() if hasattr(default, "get_secret_value") else default
    assert shown == (str(value).lower() if isinstance(value, bool) else f"{value:g}" if value != str(value) else value)


def test_every_setting_of_database_and_cache_is_spoken_of():
    """None is left to be guessed."""
    assert len(DEFAULTS) > 8
    for group in ("database", "cache"):
        for name in type(getattr(settings_of(), group)).model_fields:
            assert f"`{name}`" in TUNING or f"`{group}.{name}`" in TUNING or f"\n{name} = " in TUNING, (group, name)


@pytest.mark.parametrize("block", re.findall(r"^```toml\n(.*?)^```", TUNING, re.MULTILINE | re.DOTALL))
def test_every_example_makes_a_cache(block, tmp_path):
    """Its URL is one that the back end understands; a file that it names is one of the reader's machine."""
    (tmp_path / "health.toml").write_text(block)
    settings = load_settings(tmp_path / "health.toml", environ={})
    own = settings.cache.model_copy(update={"tls_ca_file": None})
    assert chosen_cache(settings.model_copy(update={"cache": own}), SystemClock()).name in TUNING


def test_every_kind_of_cache_is_chosen_for_something():
    """Each scheme of the settings is on the page."""
    bases = {scheme.partition("+")[0].removesuffix("s") for scheme in CACHE_SCHEMES}
    assert {base for base in bases if f"`{base}://`" not in TUNING and f"`{base}s://`" not in TUNING} == set()


def test_every_reason_on_the_page_is_one():
    """What the check is said to tell is of the closed list."""
    told = [word for cells in rows(section(TUNING, "### In trouble")) for word in re.findall(r"`(\w+)`", cells[2])]
    assert len(told) > 8
    assert set(told) <= {reason.value for reason in Reason}


def test_the_probes_are_more_patient_than_we_are():
    """A prober that gives up before the deadline sees no answer where there is one; the grace outlasts the drain."""
    (block,) = re.findall(r"^```yaml\n(.*?)^```", TUNING, re.MULTILINE | re.DOTALL)
    pod, settings = yaml.safe_load(block), settings_of()
    assert pod["readinessProbe"]["timeoutSeconds"] > settings.health.readiness_timeout_seconds
    for probe, path in {"startupProbe": "startup", "readinessProbe": "ready", "livenessProbe": "live"}.items():
        asked = pod[probe]["httpGet"]
        assert asked == {"path": f"{settings.server.prefix}/health/{path}", "port": settings.guard.port}
    ready = pod["readinessProbe"]
    (drain,) = re.findall(r"^drain_seconds = (\d+)", TUNING, re.MULTILINE)
    assert ready["periodSeconds"] * ready["failureThreshold"] < int(drain) < pod["terminationGracePeriodSeconds"]


def test_no_answer_may_be_kept_on_the_way():
    """What the page says of the header is what is sent."""
    assert CACHE_CONTROL[1].decode() in section(TUNING, "## What may lie on a CDN")


def test_the_rows_of_doctor_cache_are_explained(redis_server):
    """Those that are shown, and those of the table, are the ones that the command prints."""
    done = run("doctor", "cache", TASKER_CACHE__URL=redis_server.url, TASKER_CACHE__TIMEOUT_SECONDS="60")
    printed = {line[:14].strip() for line in done.stdout.splitlines()} - {"", "what"}
    text = section(DOCTOR, "## doctor cache")
    explained = {name for cells in rows(text) for name in cells[0].split(", ")} - {"entry of a source"}
    shown = {line[:17].strip() for line in text.split("```")[1].splitlines()[2:]} - {"", "what", "entry of orders"}
    assert printed == explained == shown
