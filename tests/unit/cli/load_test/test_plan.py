"""What may be asked, and the one line that says what may not."""

from __future__ import annotations

import pytest

from tasker_health.cli.load_test.plan import ENDPOINTS, MOST_REQUESTS, Options, Plan, plan_of
from tasker_health.errors import ConfigurationError


def test_without_a_word_all_three_are_asked_in_an_open_loop():
    """Fifty a second on each, for ten seconds, at the same time."""
    plan = plan_of(Options())
    assert (plan.rate, plan.seconds, plan.endpoints, plan.in_turn) == (50, 10, ENDPOINTS, False)
    assert plan.most_requests == 500


def test_the_guides_run_is_a_thousand_by_ten_without_keep_alive():
    """As `ab -n 1000 -c 10` does, one endpoint after the other; connections can be kept on request."""
    guide = plan_of(Options(guide=True))
    assert guide == Plan.of_the_guide()
    assert (guide.requests, guide.concurrency, guide.kept_alive, guide.in_turn) == (1000, 10, False, True)
    assert plan_of(Options(guide=True, kept_alive=True)).kept_alive


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (Options(rate=1, concurrency=1), "one of them"),
        (Options(guide=True, rate=5), "--guide"),
        (Options(guide=True, endpoints="live"), "--guide"),
        (Options(rate=2001), "2,000"),
        (Options(rate=float("nan")), "--rate"),
        (Options(rate=0), "--rate"),
        (Options(concurrency=257), "1 to 256"),
        (Options(concurrency=0), "1 to 256"),
        (Options(seconds=3601), "3,600"),
        (Options(seconds=float("inf")), "3,600"),
        (Options(requests=0), "--requests"),
        (Options(requests=MOST_REQUESTS), "333,333"),
        (Options(rate=1, requests=3601), "3,600"),
        (Options(rate=1000, seconds=1000), "3,000,000 requests"),
        (Options(timeout_seconds=61), "60"),
        (Options(timeout_seconds=0), "--timeout"),
        (Options(warm_up_seconds=-1), "--warm-up"),
        (Options(endpoints="live,metrics"), "'metrics' is none; allowed are live, ready, status"),
        (Options(endpoints=""), "allowed are live"),
    ],
    ids=lambda value: "" if isinstance(value, str) else str({k: v for k, v in value._asdict().items() if v}),
)
def test_what_goes_too_far_is_refused_in_one_line(options, words):
    """Each limit names its option, the value and what is allowed."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        plan_of(options)
    assert "\n" not in str(caught.value)


def test_a_closed_loop_is_bounded_in_time_and_in_number():
    """Whatever the server does: a slow one in time, a fast one in number."""
    assert plan_of(Options(concurrency=1, requests=10)).most_seconds == 3600
    assert plan_of(Options(concurrency=1, seconds=3600, endpoints="live")).most_requests == MOST_REQUESTS
