"""How an objective is met, and when it fires."""

from __future__ import annotations

import pytest

from tasker_health.settings import SloSettings
from tasker_health.slo import ALARMS, HOUR_MINUTES, threshold
from tasker_health.slo.objective import Objective
from tasker_health.work import Outcome

DAY = 24 * HOUR_MINUTES
NOW = 29_000_040


def objective_of(good, bad, minutes, *, settings=None):
    """Return an objective that has seen so many ends in each of the *minutes* before now."""
    objective = Objective("orders", settings or SloSettings(objective=0.99))
    for minute in range(NOW - minutes, NOW):
        objective.ledger.see({minute: (good, bad)})
    return objective


def test_the_thresholds_are_the_workbooks():
    """14.4, 6 and 1 for 30 days (table 5-8); less for a shorter period; never more failures than there can be."""
    assert [threshold(alarm, 0.999, 30) for alarm in ALARMS] == pytest.approx([14.4, 6, 1])
    assert threshold(ALARMS[0], 0.999, 7) == pytest.approx(3.36)
    assert threshold(ALARMS[0], 0.9, 30) == pytest.approx(9)


@pytest.mark.parametrize(
    ("bad", "minutes", "firing"),
    [(15, 60, "page"), (14, 60, None), (7, 360, "page"), (6, 360, None), (2, 3 * DAY, "ticket"), (1, 3 * DAY, None)],
)
def test_it_fires_above_the_threshold(bad, minutes, firing):
    """Of a hundred ends in each minute so many bad ones, for so long: at 99 % one of them is borne."""
    report = objective_of(100 - bad, bad, minutes).judge(NOW)
    assert report.firing == firing
    assert (report.since is not None) == (firing is not None)


def test_it_ends_with_the_short_window():
    """An incident that is over fires no more, though the long window still remembers it."""
    objective = objective_of(0, 100, 60)
    assert objective.judge(NOW).firing == "page"
    began = objective.judge(NOW).since
    for minute in range(NOW, NOW + 4):
        objective.ledger.see({minute: (100, 0)})
    assert objective.judge(NOW + 4).since == began
    for minute in range(NOW + 4, NOW + 40):
        objective.ledger.see({minute: (100, 0)})
    report = objective.judge(NOW + 40)
    assert (report.firing, report.since) == (None, None)
    assert report.burn_rates["1h"] > 14.4


def test_what_was_not_seen_is_not_known():
    """A window of which less than nine tenths were seen has no rate, and fires nothing."""
    report = objective_of(0, 100, 50).judge(NOW)
    assert report.burn_rates == {"5m": 100.0, "30m": 100.0, "1h": None, "6h": None, "3d": None}
    assert (report.firing, report.budget_left) == (None, None)
    assert report.known_since.timestamp() == (NOW - 50) * 60


def test_few_ends_fire_nothing():
    """One failure in a night is told, and wakes nobody."""
    objective = objective_of(0, 0, 360)
    objective.ledger.see({NOW - 2: (0, 3)})
    report = objective.judge(NOW)
    assert report.burn_rates["5m"] == 100
    assert report.firing is None


def test_no_work_burns_nothing():
    """Where nothing ended, nothing failed: 0, for it was seen."""
    assert objective_of(0, 0, 360).judge(NOW).burn_rates["6h"] == 0


def test_what_is_left_of_the_whole_period():
    """Of the failures that are borne in two days, half are used up."""
    settings = SloSettings(objective=0.9, window_days=2)
    assert objective_of(95, 5, 3 * DAY, settings=settings).judge(NOW).budget_left == pytest.approx(0.5)


def test_it_is_about_its_own_work():
    """Of a source, a handler and a queue, as the settings name them; all of them where they name none."""
    fast, slow = Outcome(7, "ship", "fast", "1", 3, 1), Outcome(7, "ship", "slow", None, 2, 0)
    outcomes = [fast, slow, Outcome(8, None, None, None, 1, 1)]
    own = Objective("ship", SloSettings(objective=0.9, source="orders", handler="ship", queue="fast"))
    assert own.ends_of(outcomes) == {7: (3, 1)}
    assert own.is_about("orders")
    assert not own.is_about("mail")
    assert Objective("all", SloSettings(objective=0.9)).ends_of(outcomes) == {7: (5, 1), 8: (1, 1)}
