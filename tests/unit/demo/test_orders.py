"""What happens to the orders of the demo."""

from itertools import islice

from tasker_health.demo.orders import ATTEMPTS, STEPS, placings


def test_a_seed_draws_the_same_orders_again():
    """Two shops with one seed place the same orders; with another one, others."""
    first, again, other = (list(islice(placings(seed, 1), 60)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


def test_thirty_orders_hold_every_fate():
    """Whoever looks at thirty orders sees one fail for good, some retried, some cancelled, and most go well."""
    for seed in range(20):
        placed = list(islice(placings(seed, 1), 30))
        failures = [sum(each["order"]["failures"].values()) for each in placed]
        assert failures.count(ATTEMPTS) == 1
        assert failures.count(1) == 6
        assert failures.count(2) == 2
        assert sum(each["cancelled_after_seconds"] is not None for each in placed) == 2


def test_what_has_been_charged_is_shipped():
    """No order fails for good in its last step: its customer has paid."""
    placed = islice(placings(3, 1), 600)
    assert all(each["order"]["failures"].get(STEPS[-1], 0) < ATTEMPTS for each in placed)
