"""The runner: deadlines that hold, hung checks that are not started twice, and single flight."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest

from tasker_health.checks import FunctionCheck
from tasker_health.clock import SystemClock
from tasker_health.damping import Damping
from tasker_health.errors import CheckDegraded, CheckFailed
from tasker_health.model import CheckResult, CheckStatus, Reason
from tasker_health.runner import Runner
from tasker_health.single_flight import RunEndedError, SingleFlight

PATIENCE = 30


def runner_of(*functions, timeout_seconds=None):
    """Return a runner of *functions* under their own names."""
    checks = [FunctionCheck(function.__name__, function, timeout_seconds=timeout_seconds) for function in functions]
    return Runner(checks, SystemClock())


def run(runner, deadline_seconds=PATIENCE):
    """Return the results of one run in a loop of its own."""
    return asyncio.run(runner.run(deadline_seconds))


def test_checks_answer_by_returning_or_raising():
    """Every way to answer that the room's rules name has its result."""

    def nothing():
        return None

    async def true():
        return True

    def false():
        return False

    def number():
        return 7

    async def result():
        return CheckResult(status=CheckStatus.DEGRADED, reason=Reason.STALLED)

    def fails():
        raise CheckFailed(Reason.READ_ONLY, "in words")

    async def degrades():
        raise CheckDegraded("ahead")

    def refused():
        raise ConnectionRefusedError(111, "no")

    async def breaks():
        raise ValueError("text")

    results = run(runner_of(nothing, true, false, number, result, fails, degrades, refused, breaks))
    assert {name: (each.status, each.reason or None) for name, each in results.items()} == {
        "nothing": ("ok", None),
        "true": ("ok", None),
        "false": ("error", "error"),
        "number": ("error", "invalid"),
        "result": ("degraded", "stalled"),
        "fails": ("error", "read_only"),
        "degrades": ("degraded", "ahead"),
        "refused": ("error", "refused"),
        "breaks": ("error", "error"),
    }
    assert all(isinstance(each.response_time_ms, int) for each in results.values())


@pytest.mark.parametrize("base", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError])
def test_an_exception_that_would_end_the_application_ends_only_the_check(base):
    """BaseException in a check, async or not, is an error of that check and nothing more."""

    async def exits_async():
        raise base

    def exits():
        raise base

    results = run(runner_of(exits_async, exits))
    assert {each.status for each in results.values()} == {CheckStatus.ERROR}


def test_a_check_that_hangs_costs_its_deadline_and_holds_up_no_other():
    """Async and blocking checks that hang are told `timeout`; the others have their own result."""
    release = threading.Event()

    async def hangs():
        await asyncio.Event().wait()

    def blocks():
        release.wait(PATIENCE)

    def well():
        return None

    async def scene():
        runner = runner_of(hangs, blocks, well)
        results = await runner.run(0.05)
        held = runner.held
        release.set()
        return results, held

    results, held = asyncio.run(scene())
    assert (results["hangs"].reason, results["blocks"].reason) == (Reason.TIMEOUT, Reason.TIMEOUT)
    assert results["well"].status is CheckStatus.OK
    assert held >= 1


def test_a_hung_blocking_check_is_not_started_again_until_it_has_returned():
    """It holds one thread; later askers are told `timeout` at once; when it returns it is asked again."""
    calls, release = [], threading.Event()

    def blocks():
        calls.append(threading.current_thread())
        release.wait(PATIENCE)

    async def scene():
        runner = runner_of(blocks)
        first = await runner.run(0.05)
        began = time.monotonic()
        later = [await runner.run(PATIENCE) for _ in range(50)]
        at_once = time.monotonic() - began
        held = runner.held
        release.set()
        while runner.held:
            await asyncio.sleep(0.01)
        return first, later, at_once, held, await runner.run(PATIENCE)

    first, later, at_once, held, last = asyncio.run(scene())
    assert first["blocks"].reason is Reason.TIMEOUT
    assert {each["blocks"].reason for each in later} == {Reason.TIMEOUT}
    assert at_once < PATIENCE / 2
    assert held == 1
    assert last["blocks"].status is CheckStatus.OK
    assert len(calls) == 2


def test_an_async_check_that_will_not_be_cancelled_is_not_started_again():
    """A coroutine that swallows its cancellation is left to itself, once."""
    calls = 0

    async def scene():
        nonlocal calls
        release = asyncio.Event()

        async def stubborn():
            nonlocal calls
            calls += 1
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        runner = runner_of(stubborn)
        await runner.run(0.05)
        again = await runner.run(PATIENCE)
        held = runner.held
        release.set()
        await asyncio.sleep(0)
        return again, held

    again, held = asyncio.run(scene())
    assert again["stubborn"].reason is Reason.TIMEOUT
    assert (calls, held) == (1, 1)


def test_a_check_has_its_own_deadline_within_that_of_the_answer():
    """The shorter of both deadlines counts."""

    async def hangs():
        await asyncio.Event().wait()

    began = time.monotonic()
    assert run(runner_of(hangs, timeout_seconds=0.05))["hangs"].reason is Reason.TIMEOUT
    assert time.monotonic() - began < PATIENCE / 2


def test_a_long_outage_is_two_lines_in_the_log(caplog):
    """The log says when a check's result changes, not each time that it is asked."""
    well = False

    def flaps():
        if not well:
            raise CheckFailed(Reason.REFUSED, "in words")

    async def scene():
        nonlocal well
        runner = runner_of(flaps)
        for _ in range(5):
            await runner.run(PATIENCE)
        well = True
        for _ in range(5):
            await runner.run(PATIENCE)

    with caplog.at_level(logging.INFO, "tasker_health"):
        asyncio.run(scene())
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 2
    assert "refused" in lines[0]
    assert "in words" in lines[0]
    assert "ok again" in lines[1]


def test_many_askers_share_one_flight_and_one_that_leaves_cancels_nothing():
    """One run serves everybody who asks while it is under way, whoever leaves."""

    async def scene():
        runs, release = 0, asyncio.Event()

        async def fly():
            nonlocal runs
            runs += 1
            await release.wait()
            return runs

        flight = SingleFlight(fly)
        askers = [asyncio.create_task(flight()) for _ in range(100)]
        await asyncio.sleep(0)
        askers[0].cancel()
        await asyncio.sleep(0)
        in_flight = flight.in_flight
        release.set()
        answers = await asyncio.gather(*askers, return_exceptions=True)
        return answers, in_flight, flight.in_flight, await flight()

    answers, in_flight, after, second = asyncio.run(scene())
    assert isinstance(answers[0], asyncio.CancelledError)
    assert set(answers[1:]) == {1}
    assert in_flight
    assert not after
    assert second == 2


def test_a_flight_that_fails_fails_for_all_who_share_it_and_is_not_kept():
    """Everybody gets the exception; the next asker starts anew."""

    async def scene():
        runs = 0

        async def fly():
            nonlocal runs
            runs += 1
            await asyncio.sleep(0)
            if runs == 1:
                raise ValueError("x")
            return runs

        flight = SingleFlight(fly)
        first = await asyncio.gather(flight(), flight(), return_exceptions=True)
        return first, await flight()

    first, second = asyncio.run(scene())
    assert [type(each) for each in first] == [ValueError, ValueError]
    assert second == 2


class HostileError(Exception):
    """An exception that cannot be looked at."""

    def __str__(self):
        raise ValueError("x")

    @property
    def orig(self):
        """Break."""
        raise ValueError("x")


def test_an_exception_that_cannot_be_printed_is_an_error_of_its_check():
    """The other checks have their results."""

    def hostile():
        raise HostileError

    async def hostile_async():
        raise HostileError

    def well():
        return None

    results = run(runner_of(hostile, hostile_async, well))
    assert [each.status for each in results.values()] == ["error", "error", "ok"]


def test_a_machine_without_threads_is_an_error_of_its_check_and_recovers(monkeypatch):
    """However often no thread can be started, the check is asked again as soon as one can."""

    def well():
        return None

    async def scene():
        runner = runner_of(well)

        def refuse(thread):
            raise RuntimeError("can't start new thread")

        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            refused = [(await runner.run(PATIENCE))["well"].status for _ in range(40)]
        return refused, (await runner.run(PATIENCE))["well"].status

    refused, after = asyncio.run(scene())
    assert (set(refused), after) == ({"error"}, "ok")


@pytest.mark.parametrize(
    ("given", "status", "reason"),
    [
        (CheckResult(status="ok"), "ok", None),
        (CheckResult(status=CheckStatus.OK, reason=Reason.ERROR), "ok", None),
        (CheckResult(status="ERROR"), "error", "invalid"),
        (CheckResult(status="error"), "error", "error"),
        (CheckResult(status=CheckStatus.UNKNOWN), "unknown", "not_run"),
        (CheckResult(status=CheckStatus.ERROR, reason="postgresql://u:canary@db"), "error", "invalid"),
        (CheckResult(status=CheckStatus.ERROR, reason=object()), "error", "invalid"),
    ],
)
def test_a_result_of_the_users_own_is_held_to_the_closed_lists(given, status, reason):
    """Nothing but a known status and a known reason leaves in an answer."""

    def answers():
        return given

    result = run(runner_of(answers))["answers"]
    assert (result.status, result.reason or None) == (status, reason)
    assert type(result.status) is CheckStatus


def test_the_log_of_a_check_is_one_line_without_a_password(caplog):
    """An exception with a DSN and a line break in it."""

    def leaks():
        raise RuntimeError("cannot reach postgresql://u:canary@db/x\nforged line")

    run(runner_of(leaks))
    assert "canary" not in caplog.text
    assert all("\n" not in record.getMessage() for record in caplog.records)


def test_who_waits_for_a_run_that_is_ended_is_told_so():
    """`cancel` of a shared run is no cancellation of those who wait for it; who has no patience leaves."""

    async def scene():
        async def fly():
            await asyncio.Event().wait()

        flight = SingleFlight(fly)
        with pytest.raises(TimeoutError):
            await flight(patience_seconds=0.01)
        waiting = asyncio.create_task(flight())
        await asyncio.sleep(0)
        await flight.cancel()
        with pytest.raises(RunEndedError):
            await waiting

    asyncio.run(scene())


def test_a_check_that_flaps_is_damped():
    """It fails after so many failures in a row, degraded until then, and is well after so many good runs."""
    damping = Damping(fail_after=3, recover_after=2)
    well = CheckResult(status=CheckStatus.OK)
    bad = CheckResult(status=CheckStatus.ERROR, reason=Reason.REFUSED)
    course = [bad, bad, well, bad, bad, bad, bad, well, bad, well, well, bad]
    found = [(result.status, result.reason or None) for result in map(damping, course)]
    degraded, failing, fine = ("degraded", "refused"), ("error", "refused"), ("ok", None)
    assert found == [
        degraded,
        degraded,
        fine,
        degraded,
        degraded,
        failing,
        failing,
        failing,
        failing,
        failing,
        fine,
        degraded,
    ]


def test_without_damping_every_run_counts():
    """By default one failure fails and one good run is well."""
    outcomes = iter([False, True, False])

    async def scene():
        runner = runner_of(lambda: next(outcomes))
        return [(await runner.run(PATIENCE))["<lambda>"].status for _ in range(3)]

    assert asyncio.run(scene()) == ["error", "ok", "error"]


class Keeps:
    """A check that keeps something open, and may hang or fail when it is to close it."""

    critical, timeout_seconds = True, None

    def __init__(self, name, error=None, hangs=False):
        self.name = name
        self.error = error
        self.hangs = hangs
        self.closed = 0

    def __call__(self):
        """Be well."""

    async def close(self):
        """Count the calls."""
        self.closed += 1
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error


def test_what_checks_keep_open_is_closed_at_the_end(monkeypatch, caplog):
    """One that hangs or fails at that keeps neither the others open nor the end away; a plain `close` is not ours."""
    monkeypatch.setattr("tasker_health.runner._CLOSE_SECONDS", 0.01)
    checks = [Keeps("fails", error=OSError("gone")), Keeps("hangs", hangs=True), Keeps("last")]
    plain = FunctionCheck("plain", lambda: None)
    object.__setattr__(plain, "close", lambda: pytest.fail("it is the user's"))
    asyncio.run(asyncio.wait_for(Runner([*checks, plain], SystemClock()).stop(), PATIENCE))
    assert [check.closed for check in checks] == [1, 1, 1]
    assert "check fails: close: OSError: gone" in caplog.text
