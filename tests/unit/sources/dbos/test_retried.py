"""Steps that had failed before and settled, added and let go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tasker_health.sources.dbos.retried import Retried

WIDTH = 1000
_NAMES = st.sampled_from("abc")
_STEPS = st.lists(st.tuples(st.integers(0, 30 * WIDTH), st.booleans()), max_size=4)
_ACTS = st.one_of(
    st.tuples(st.just("look"), _NAMES, _STEPS),
    st.tuples(st.just("forget"), st.integers(0, 30), st.just([])),
)


@given(acts=st.lists(_ACTS, max_size=30))
def test_any_order_counts_what_was_looked_at_last_within_the_window(acts: list[tuple[str, object, list]]):
    """A task that is looked at again is counted anew, and what is older than the window never comes back."""
    retried, known, first = Retried(WIDTH), {}, 0
    for act, what, steps in acts:
        if act == "look":
            retried.forget_tasks([what])
            for step in steps:
                retried.add(what, step)
            known[what] = steps
        else:
            first = max(first, what)
            retried.forget(what)
        expected = [well for steps in known.values() for ended, well in steps if ended // WIDTH >= first]
        assert (retried.settled, retried.succeeded) == (len(expected), sum(expected))


def test_what_goes_on_apart_changes_nothing():
    """A verification counts on a copy."""
    retried = Retried(WIDTH)
    retried.add("a", (5000, True))
    apart = retried.apart()
    apart.forget_tasks(["a"])
    apart.add("b", (6000, False))
    apart.forget(100)
    assert (retried.settled, retried.succeeded, apart.settled) == (1, 1, 0)
    retried.forget_tasks(["a"])
    assert retried.settled == 0
