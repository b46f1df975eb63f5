"""The wire contract: nothing that was ever answered goes or becomes another thing, and what is new is written down."""

from __future__ import annotations

import copy

import pytest

from contract.wire import FROZEN, POLICY, added, broken, kept, wire


def test_nothing_of_the_wire_contract_goes_or_changes():
    """Every path, code, key, type and word that was promised is still there."""
    lost = broken(kept(), wire())
    assert not lost, (
        f"the wire contract breaks: {'; '.join(lost)}. See {POLICY}: such a change needs a new version of it"
    )


@pytest.mark.parametrize(
    "deciding", ["CheckStatus", "SystemStatus", "HealthStatus", "ActuatorStatus", "MicroProfileStatus"]
)
def test_no_word_is_added_to_those_that_decide(deciding):
    """A client that knows every status today must know what to do with every status tomorrow."""
    assert wire()["words"][deciding] == kept()["words"][deciding], f"see {POLICY}"


def test_what_is_new_is_written_down():
    """An addition is allowed, and is a promise from then on. To mend: python tests/contract/wire.py."""
    assert added(kept(), wire()) == kept(), f"new in the answers: run python tests/contract/wire.py, see {POLICY}"
    assert FROZEN.name == f"wire-{wire()['version']}.json"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda it: it["answers"]["Readiness"].pop("ready"), "Readiness: ready is gone"),
        (lambda it: it["answers"]["SystemHealth"].update(total_tasks="string"), "total_tasks: was integer or null"),
        (lambda it: it["answers"]["Liveness"].update({"alive?": it["answers"]["Liveness"].pop("alive")}), "alive is"),
        (lambda it: it["words"]["Reason"].remove("timeout"), "Reason: timeout is gone"),
        (lambda it: it["paths"].pop("/tasker/health/live"), "/tasker/health/live is gone"),
        (lambda it: it["paths"]["/tasker/health/ready"]["get"].remove("503"), "get: 503 is gone"),
        (lambda it: it["answers"].pop("Problem"), "Problem is gone"),
    ],
)
def test_a_break_is_seen(change, said):
    """A key or word that goes, a type that changes, a key that is no longer always there, a code, a path."""
    changed = copy.deepcopy(wire())
    change(changed)
    assert any(said in line for line in broken(wire(), changed))


def test_an_addition_breaks_nothing():
    """A new key, word and path."""
    more = copy.deepcopy(wire())
    more["answers"]["Readiness"]["moon?"] = "string"
    more["words"]["Reason"].append("eclipse")
    more["paths"]["/tasker/moon"] = {"get": ["200"]}
    assert broken(wire(), more) == []
    assert added(wire(), more) != wire()
