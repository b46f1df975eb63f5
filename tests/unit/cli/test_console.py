"""What is printed where nobody reads to the end, as in `tasker-health doctor | head -1`: the exit code is told."""

from __future__ import annotations

import os
import sys

import pytest

from tasker_health.cli.doctor.findings import Finding, tell, warning
from tasker_health.cli.doctor.report import report_of, tell_report

WELL = Finding(what="this", measured="well")
WRONG = warning("this", "wrong", "mend it")


def unread(monkeypatch, told):
    """Return what *told* returns while standard output is a pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    with monkeypatch.context() as patch, os.fdopen(writer, "w") as stream:
        patch.setattr(sys, "stdout", stream)
        return told()


@pytest.mark.parametrize(("finding", "code"), [(WELL, 0), (WRONG, 1)])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_pipe_that_closes_changes_no_code(monkeypatch, finding, code, as_json):
    """Neither of one part nor of the walk: what is well stays 0, where Rich by itself would end with 1."""
    assert unread(monkeypatch, lambda: tell([finding], as_json=as_json)) == code
    assert unread(monkeypatch, lambda: tell_report(report_of([finding]), as_json=as_json)) == code
