"""What a source says of causes, flow and outcomes is believed only when it can be."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from fakes import facts_of
from tasker_health.errors import SourceFault
from tasker_health.model import Reason
from tasker_health.naming import MOST_NAMES
from tasker_health.plausible import plausible_work
from tasker_health.work import Cause, Outcome, QueueFlow

END = Outcome(1, "pay", None, None, 1, 0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("causes", {"worker_dead": 1}),
        ("causes", {Cause.LOCKED: -1}),
        ("causes", {Cause.LOCKED: 1.5}),
        ("causes", 3),
        ("flow", {"ready": 1}),
        ("flow", QueueFlow(ready=-1)),
        ("flow", QueueFlow(oldest_ready_seconds=True)),
        ("queues", [QueueFlow()]),
        ("queues", {"mail": None}),
        ("queues", {str(number): QueueFlow() for number in range(10_001)}),
        ("outcomes", [END]),
        ("outcomes", (END,) * 801),
        ("outcomes", (Outcome(1, 5, None, None, 1, 0),)),
        ("outcomes", (Outcome(1, "pay", None, None, -1, 0),)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_is_invalid(field, value):
    """One clear line that names the figure."""
    with pytest.raises(SourceFault, match=field) as caught:
        plausible_work(replace(facts_of(), **{field: value}))
    assert caught.value.reason is Reason.INVALID


def test_what_can_be_is_left_as_it_is():
    """The very same facts."""
    facts = replace(
        facts_of(), causes={Cause.LOCKED: 1}, flow=QueueFlow(ready=1), queues={"mail": QueueFlow()}, outcomes=(END,)
    )
    assert plausible_work(facts) is facts


def test_names_are_bounded():
    """Too many queues become `other`, and nothing is lost; names that cannot be told are made such."""
    queues = {f"q{number}": QueueFlow(ready=1) for number in range(5_000)} | {"": QueueFlow(ready=7)}
    ends = (Outcome(1, "\udc80" * 500, "", None, 1, 0),)
    facts = plausible_work(replace(facts_of(), queues=queues, outcomes=ends))
    assert len(facts.queues) == MOST_NAMES
    assert sum(each.ready for each in facts.queues.values()) == 5_007
    assert facts.queues["unknown"].ready == 7
    assert (len(facts.outcomes[0].handler), facts.outcomes[0].queue) == (128, "unknown")
