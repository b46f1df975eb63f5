"""The pages on `deploy check` and `doctor probes` are true: every rule has its row, the example is what is printed."""

from __future__ import annotations

import json
import re
from pathlib import Path

from command import run
from server import free_port
from tasker_health.deploy.inspection.faults import RULES
from tasker_health.deploy.inspection.reading import inspect
from tasker_health.loading import load_settings

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "deploy" / "check.md").read_text()
DOCTOR = (DOCS / "doctor.md").read_text()


def test_every_rule_has_its_row_and_every_row_its_rule():
    """In the order of the alphabet, as one looks them up."""
    rows = re.findall(r"^\| `([a-z-]+)` \|", PAGE, re.MULTILINE)
    assert rows == sorted(RULES)


def test_the_example_is_what_the_command_prints(tmp_path, monkeypatch):
    """Line by line, with the settings of nobody."""
    monkeypatch.chdir(tmp_path)
    Path("deployment.yaml").write_text(re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1])
    shown = re.search(r"\$ tasker-health deploy check deployment.yaml\n(.*?)```", PAGE, re.DOTALL)[1]
    found = inspect(["deployment.yaml"], lambda variables: load_settings(None, variables))
    assert shown.splitlines() == [str(fault) for fault in found.faults]


def test_the_rows_of_doctor_probes_are_explained():
    """Each by the name that the command gives it, where nobody listens."""
    section = DOCTOR.split("## doctor probes", 1)[1]
    names = {name for row in re.findall(r"^\| ([^|]+) \|", section, re.MULTILINE) for name in row.split(", ")}
    done = run("doctor", "probes", "--json", TASKER_SERVER__PORT=str(free_port()), TASKER_GUARD__PORT=str(free_port()))
    told = {row["what"] for row in json.loads(done.stdout)}
    assert {"deadline", "drain", "address of guard"} <= told
    assert {each for each in told if each not in {"server", "guard"}} <= names


def test_deploy_check_says_what_it_takes():
    """In its help, as the page has it."""
    done = run("deploy", "check", "--help")
    assert done.returncode == 0
    assert {"--config", "--except", "--json", "FILE..."} <= set(re.findall(r"[-A-Za-z.]+", done.stdout))
