"""The orders of the demo: what will happen to each one is drawn when it is placed.

An order is the input of its workflow, kept by DBOS, so that a run that resumes after a crash meets the same fate as
the one before it. Plain values only: rows written by an older version of the demo must stay readable.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import TypedDict

STEPS = ("reserve", "charge", "ship")

ATTEMPTS = 4
"""How often a step is tried before its order fails for good."""

_DECK = {"smooth": 19, "stumbles_once": 6, "stumbles_twice": 2, "is_cancelled": 2, "fails": 1}
"""How many orders in thirty go which way. A deck, not dice: somebody who looks for a minute sees each of them."""

_WORK_SECONDS = (0.3, 1.1)
_CANCELLED_AFTER_SECONDS = (1.0, 6.0)


class Order(TypedDict):
    """One order, as its workflow gets it.

    Attributes:
        failures: How many attempts of a step fail, by step; `ATTEMPTS` of them make the order fail for good.
        work_seconds: How long each attempt of a step takes, by step.
        backoff_seconds: Wait after the first failed attempt; it doubles with every further one.
    """

    failures: dict[str, int]
    work_seconds: dict[str, float]
    backoff_seconds: float


class Placing(TypedDict):
    """One order and when its customer will want to cancel it, seconds after it was placed; `None`: never."""

    order: Order
    cancelled_after_seconds: float | None


def placings(seed: int | None, backoff_seconds: float) -> Iterator[Placing]:
    """Yield orders without end; the same *seed* yields the same ones, `None` others each time."""
    random = Random(seed)  # noqa: S311 -- makes up a shop, guards nothing
    while True:
        deck = [fate for fate, count in _DECK.items() for _ in range(count)]
        random.shuffle(deck)
        for fate in deck:
            yield _placing(fate, random, backoff_seconds)


def _placing(fate: str, random: Random, backoff_seconds: float) -> Placing:
    failures: dict[str, int] = {}
    if fate == "stumbles_once":
        failures[random.choice(STEPS)] = 1
    elif fate == "stumbles_twice":
        failures[random.choice(STEPS)] = 2
    elif fate == "fails":
        failures[random.choice(STEPS[:-1])] = ATTEMPTS  # what has been paid for is shipped
    return {
        "order": {
            "failures": failures,
            "work_seconds": {step: round(random.uniform(*_WORK_SECONDS), 3) for step in STEPS},
            "backoff_seconds": backoff_seconds,
        },
        "cancelled_after_seconds": random.uniform(*_CANCELLED_AFTER_SECONDS) if fate == "is_cancelled" else None,
    }
