"""`tasker-health stuck` beside a service that answers over HTTP."""

from __future__ import annotations

import json

import pytest

from fakes import FakeSource, settings_of
from server import free_port
from tasker_health.cli.stuck import show_stuck
from tasker_health.cli.top.target import target_of
from tasker_health.cli.trust import Trust
from tasker_health.errors import SourceFault
from tasker_health.health import Health
from tasker_health.model import Reason
from tasker_health.work import Cause, Findings, StuckTask


class Explains(FakeSource):
    """Finds what it is told to."""

    roster, engine = None, "dbos"
    found = Findings()

    async def stuck(self, deadline_seconds, most):
        """Return it, or raise it."""
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


DEAD = Findings(
    tasks=(StuckTask(id="o-1\x1b[2J", cause=Cause.WORKER_DEAD, state="running", name="ship", queue="q", worker="w@h"),),
    causes={Cause.WORKER_DEAD: 3},
)
CASES = {
    "nothing": (Findings(), 0, ["nothing stands still", "workers: not known"]),
    "something": (DEAD, 1, ["worker_dead: 3", "ship", "queue q", "DBOS.resume_workflow", "more are known than the 1"]),
    "unknown": (SourceFault(Reason.TIMEOUT, "secret words"), 2, ["nothing is known", "could not say: timeout"]),
}


@pytest.fixture(scope="module")
def place():
    """A service in this process, its source, and where it answers."""
    port, guard = free_port(), free_port()
    settings = settings_of(server={"port": port}, guard={"enabled": False, "port": guard})
    health, source = Health(settings), Explains()
    health.add_source(source)
    background = health.serve_in_background()
    try:
        yield health, source, target_of(f"http://127.0.0.1:{port}/tasker/health", settings, Trust(), None)
    finally:
        background.stop()


@pytest.mark.parametrize("case", CASES)
def test_the_code_and_the_words(place, capsys, case):
    """0 where nothing stands still, 1 where something does, 2 where nobody could say; the cause and what to do."""
    health, source, target = place
    source.found, code, words = CASES[case]
    health.monitor._stuck._newest = None
    assert show_stuck(target, patience_seconds=30, as_json=False) == code
    out = capsys.readouterr().out
    for each in words:
        assert each in out
    for never in ("\x1b", "secret words", "w@h"):
        assert never not in out


def test_as_json(place, capsys):
    """The answer as it came."""
    health, source, target = place
    source.found = DEAD
    health.monitor._stuck._newest = None
    assert show_stuck(target, patience_seconds=30, as_json=True) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["causes"] == {"worker_dead": 3}
    assert told["stuck"][0]["since"] is None


def test_who_is_not_there_could_not_be_asked(capsys):
    """One line on standard error, and 2; so also of an endpoint that is none."""
    target = target_of(f"http://127.0.0.1:{free_port()}/tasker/health", settings_of(), Trust(), None)
    assert show_stuck(target, patience_seconds=30, as_json=False) == 2
    found = capsys.readouterr()
    assert found.out == ""
    assert found.err.count("\n") == 1
