"""All objectives of a service: they see what every reading of the sources tells, and say how they are met."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasker_health.assessment import Reading
from tasker_health.model import Facts
from tasker_health.settings import SloSettings
from tasker_health.slo.objective import Objective
from tasker_health.work import OUTCOME_MINUTES, SloReport

_MINUTE_SECONDS = 60


class Objectives:
    """Sees and judges.

    Args:
        settings: The objectives by name.

    Attributes:
        all: They.
    """

    def __init__(self, settings: Mapping[str, SloSettings]) -> None:
        self.all: list[Objective] = [Objective(name, each) for name, each in settings.items()]
        self._seen: tuple[tuple[str, float], ...] = ()

    def see(self, readings: Sequence[Reading]) -> None:
        """Take what *readings* tell; the same ones again cost nothing.

        A minute counts for an objective when all sources that it is about have told of it.
        """
        known = [(each.name, each.facts, each.read_at) for each in readings if each.facts is not None]
        key = tuple((name, read_at) for name, _, read_at in known)
        if not self.all or key == self._seen:
            return
        self._seen = key
        for objective in self.all:
            about = [(facts, read_at) for name, facts, read_at in known if objective.is_about(name)]
            if about and len(about) == sum(objective.is_about(each.name) for each in readings):
                self._see(objective, about)

    def reports(self, now: float) -> dict[str, SloReport]:
        """Return how each is met at *now*, in seconds since the epoch."""
        minute = int(now // _MINUTE_SECONDS)
        return {each.name: each.judge(minute) for each in self.all}

    def _see(self, objective: Objective, about: Sequence[tuple[Facts, float]]) -> None:
        if any(facts.outcomes is None for facts, _ in about):
            return
        # The first minute told of may have begun before the source looked, and the last one goes on.
        newest = min(int(read_at // _MINUTE_SECONDS) for _, read_at in about)
        oldest = max(int(read_at // _MINUTE_SECONDS) for _, read_at in about) - OUTCOME_MINUTES + 2
        ends = dict.fromkeys(range(oldest, newest), (0, 0))
        for facts, _ in about:
            for minute, (good, bad) in objective.ends_of(facts.outcomes or ()).items():
                if oldest <= minute < newest:
                    was = ends[minute]
                    ends[minute] = (was[0] + good, was[1] + bad)
        objective.ledger.see(ends)
