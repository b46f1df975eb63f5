"""What the doctor prints where nobody reads to the end, as in `tasker-health doctor | head -1`: the code is told."""

from __future__ import annotations

import os
import sys

import pytest

from tasker_health.cli.doctor.findings import Finding, tell, warning
from tasker_health.cli.doctor.report import report_of, tell_report


@pytest.fixture
def closed(monkeypatch):
    """Let standard output be a pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        yield


WELL = Finding(what="this", measured="well")
WRONG = warning("this", "wrong", "mend it")


@pytest.mark.parametrize(("finding", "code"), [(WELL, 0), (WRONG, 1)])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_pipe_that_closes_changes_no_code(closed, finding, code, as_json):
    """Neither of the walk nor of one part: what is well stays 0, where Rich by itself would end with 1."""
    assert tell([finding], as_json=as_json) == code


@pytest.mark.parametrize(("finding", "code"), [(WELL, 0), (WRONG, 1)])
def test_a_walk_in_a_pipe_that_closes_tells_its_code(closed, finding, code):
    """The same of the table of the whole walk."""
    assert tell_report(report_of([finding]), as_json=False) == code
