"""The part of one process in what several tell together."""

from __future__ import annotations

import asyncio
import threading

import pytest

from fakes import FakeClock, settings_of
from tasker_health.counters import AccessCounts, DurationCounts
from tasker_health.exporters import own_snapshot
from tasker_health.exporters.instrument import Instrument, counter, gauge
from tasker_health.exporters.shared_folder import SharedFolder
from tasker_health.exporters.siblings import VARIABLE, Siblings, siblings_of
from tasker_health.exporters.together import Combined, figures_at_once
from tasker_health.health import Health

FAULTS = "tasker_health_access_faults_total"


class Process:
    """What stands for one process.

    Attributes:
        counts: Where it counts.
        siblings: Its part.
    """

    def __init__(self, path):
        self.counts = AccessCounts()
        self.health = Health(settings_of(), clock=FakeClock())
        self.health.check("well")(lambda: None)
        self.folder = SharedFolder(path, "orders")
        self.siblings = Siblings(self.folder, lambda: own_snapshot(self.health.monitor, self.counts, {}))

    async def told(self):
        """Return how many faults all have counted together."""
        combined = await self.siblings.combined()
        if combined is None:
            return None
        ((_, value),) = combined(counter(FAULTS, "", (), {(): 0})).points
        return value


def test_without_the_variable_there_is_nothing_to_share(monkeypatch):
    """An empty one is none."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert siblings_of(settings_of(), lambda: None) is None
    monkeypatch.setenv(VARIABLE, "")
    assert siblings_of(settings_of(), lambda: None) is None


def test_a_process_that_is_started_again_counts_nothing_twice(tmp_path):
    """What it had counted is what it has left; it goes on from there, and so do the others."""

    async def scene():
        one, other = Process(tmp_path), Process(tmp_path)
        one.counts.faults = 5
        other.counts.faults = 100
        for _ in range(3):
            one.siblings.start()
            assert await one.told() == one.counts.faults + (100 if one.counts.faults > 5 else 0)
            assert await other.told() == one.counts.faults + 100
            await one.siblings.stop()
            assert await other.told() == one.counts.faults + 100
            one.counts.faults += 1

    asyncio.run(scene())


def test_a_forked_process_leaves_what_was_counted_to_its_parent(tmp_path):
    """It has the counters of its parent, and a file of its own."""

    async def scene():
        parent = Process(tmp_path)
        parent.counts.faults = 5
        assert await parent.told() == 5
        child = Process(tmp_path)
        child.counts.faults = 5
        child.siblings.forget()
        child.counts.faults = 7
        assert await child.told() == 7
        assert await parent.told() == 7

    asyncio.run(scene())


def test_workers_that_were_forked_after_it_was_made_have_files_of_their_own(tmp_path, monkeypatch):
    """As with `gunicorn --preload`: nothing had begun before, so nobody was told of the fork."""

    async def scene():
        one, other = Process(tmp_path), Process(tmp_path)
        other.siblings._name = one.siblings._name
        monkeypatch.setattr("os.getpid", lambda pid=1 << 20: pid)
        one.counts.faults = 1
        assert await one.told() == 1
        monkeypatch.setattr("os.getpid", lambda pid=1 << 21: pid)
        other.counts.faults = 20
        assert await other.told() == 21

    asyncio.run(scene())


def test_it_writes_by_itself_and_at_the_end(tmp_path):
    """Others know within moments what it counts, although nobody scrapes it."""

    async def scene():
        one, other = Process(tmp_path), Process(tmp_path)
        one.siblings.start()
        one.siblings.start()
        one.counts.faults = 3
        while await other.told() != 3:
            await asyncio.sleep(0.05)
        one.counts.faults = 4
        await one.siblings.stop()
        assert await other.told() == 4

    asyncio.run(asyncio.wait_for(scene(), 60))


def test_a_folder_that_cannot_be_had_is_told_once_and_costs_nothing(tmp_path, caplog):
    """Every process then tells of itself; when the folder can be had, of all."""
    place = tmp_path / "file"
    place.write_text("not a folder")

    async def scene():
        one = Process(place)
        one.counts.faults = 5
        assert [await one.told() for _ in range(3)] == [None] * 3
        assert len(caplog.messages) == 1
        assert VARIABLE in caplog.text
        place.unlink()
        assert await one.told() == 5

    asyncio.run(scene())


def test_a_disk_that_hangs_holds_nobody(tmp_path, monkeypatch):
    """What was read last is told again; the event loop goes on meanwhile, and few threads wait."""
    monkeypatch.setattr("tasker_health.exporters.siblings._PATIENCE_SECONDS", 0.05)
    released = threading.Event()

    async def scene():
        one = Process(tmp_path)
        one.counts.faults = 5
        assert await one.told() == 5
        one.counts.faults = 6
        write = one.folder.write
        one.folder.write = lambda *arguments: released.wait(60) and write(*arguments)
        before = threading.active_count()
        assert [await one.told() for _ in range(5)] == [5] * 5
        assert threading.active_count() <= before + 1
        released.set()
        while await one.told() != 6:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(scene(), 60))


def test_readiness_that_nobody_has_asked_for_in_a_while_is_not_told():
    """One that is about to stop is not ready, whatever it answered last."""
    clock = FakeClock()
    health = Health(settings_of(), clock=clock)
    health.check("well")(lambda: None)

    def own():
        return own_snapshot(health.monitor, AccessCounts(), {}).readiness

    assert own() is None
    asyncio.run(health.ready())
    assert own().ready
    clock.move(61)
    assert own() is None
    asyncio.run(health.ready())
    asyncio.run(health.drain())
    assert not own().ready


CHECKS = [("a", "ok"), ("a", "degraded"), ("a", "error"), ("a", "unknown")]


def states(now):
    """Return the instrument of a check that is *now*."""
    return Instrument("state", "gauge", "", ("check", "state"), [(key, key[1] == now) for key in CHECKS], among="worst")


@pytest.mark.parametrize(
    ("own", "other", "worst"),
    [
        ("ok", "error", "error"),
        ("error", "ok", "error"),
        ("degraded", "unknown", "unknown"),
        ("unknown", "error", "error"),
        ("ok", "ok", "ok"),
        ("degraded", None, "degraded"),
    ],
)
def test_the_state_of_a_check_is_the_worst(own, other, worst):
    """Whole or in pieces that part its states."""
    living = [figures_at_once([states(name)]).gauges for name in (own, other) if name]
    combined = Combined({}, living)
    assert [labels[1] for labels, is_so in combined(states(own)).points if is_so] == [worst]
    pieces = [point for piece in states(own).pieces(3) for point in combined(piece).points]
    assert pieces == combined(states(own)).points


def test_other_gauges_are_the_sum_the_least_or_the_greatest():
    """Of those that tell them; the fleet's stay as they are."""
    figures = [({"x": 1}, 1, 1), ({"x": 3}, 3, 3)]
    living = [figures_at_once([gauge("x", "", each["x"], "sum")]).gauges for each, *_ in figures]
    told = {
        among: Combined({}, [*living, {}])(gauge("x", "", 1, among)).points
        for among in ("sum", "least", "greatest", "own")
    }
    assert told == {"sum": [((), 4)], "least": [((), 1)], "greatest": [((), 3)], "own": [((), 1)]}


def test_histograms_are_added_bucket_by_bucket():
    """Their sums, too; what another process has and this one has not adds no series."""
    own = DurationCounts()
    own.ran(0.002)
    both = figures_at_once([Instrument("h", "histogram", "", ("check",), histograms={"a": own, "b": own})]).counts
    twice = {key: value * 2 for key, value in both.items()}
    told = Combined(twice, [])(Instrument("h", "histogram", "", ("check",), histograms={"a": own}))
    assert list(told.histograms) == ["a"]
    assert told.histograms["a"].by_bucket == [2 * runs for runs in own.by_bucket]
    assert told.histograms["a"].seconds == 0.004
    assert own.by_bucket[1] == 1
