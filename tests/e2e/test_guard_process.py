"""The guard as a process: what it says when those it stands in for stall, die, drain or never came."""

from __future__ import annotations

import contextlib
import os
import signal
import time

import pytest

from guarded import READY, STALL_SECONDS, STARTED, start_guard
from server import wait_until
from tasker_health.guard.memory import DRAINING, DUMPS_STACKS, THREAD

__all__ = ["start_guard"]

SECOND = 1_000_000_000


def beat_age(worker):
    """Return the age of a worker's heartbeat in seconds."""
    return (time.monotonic_ns() - worker.slot.beat_ns) / SECOND


def stop(guard, worker):
    """Stop *worker* where it stands."""
    worker.signal(signal.SIGSTOP)
    wait_until(lambda: guard.is_stopped(worker.pid), "the worker stands still")


def test_before_the_application_has_started(start_guard):
    """It is alive, has not started and is not ready: nothing has run yet."""
    guard = start_guard()
    code, document = guard.ask("live")
    assert (code, document["alive"], document["service"]) == (200, True, "tasker")
    assert guard.ask("ready")[0] == 503
    document = guard.ask("ready")[1]
    assert document.pop("timestamp")
    checks = {"application": {"status": "unknown", "reason": "not_run"}}
    assert document == {"ready": False, "failed_checks": ["application"], "checks": checks}
    code, document = guard.ask("startup")
    assert document.pop("timestamp")
    assert (code, document) == (503, {"started": False, "waiting_for": ["application"]})


def test_what_is_published_is_answered(start_guard):
    """Readiness, one check and startup are passed on with their codes, the newest at once."""
    guard = start_guard()
    worker = guard.worker()
    worker.publish()
    assert guard.ask("ready") == (200, READY)
    assert guard.ask("ready/database") == (200, READY)
    assert guard.ask("startup") == (200, STARTED)
    assert guard.ask("ready/other")[0] == 404
    for code in [503, 200] * 20:
        worker.publish(code)
        assert guard.ask("ready")[0] == code


def test_a_stopped_worker_is_dead_in_time_and_alive_at_once(start_guard):
    """503 within the threshold and a second, with the reason; 200 with the first heartbeat after it."""
    guard = start_guard()
    worker = guard.worker()
    assert guard.ask("live")[0] == 200
    stop(guard, worker)
    last = worker.slot.beat_ns
    document = guard.wait_for("live", 503)
    assert document.pop("timestamp")
    assert STALL_SECONDS <= document.pop("stalled_seconds") <= STALL_SECONDS + 1
    assert document == {"alive": False, "service": "tasker", "reason": "event_loop_stalled"}
    assert guard.ask("ready")[1]["checks"] == {"application": {"status": "error", "reason": "stalled"}}
    worker.signal(signal.SIGCONT)
    wait_until(lambda: worker.slot.beat_ns > last, "it beats again")
    assert guard.ask("live")[0] == 200


def test_a_stalled_thread_is_a_stalled_worker(start_guard):
    """A heartbeat of a thread, not of an event loop, has a reason of its own."""
    guard = start_guard()
    worker = guard.worker(THREAD)
    worker.tell("beat", False)
    assert guard.wait_for("live", 503)["reason"] == "worker_stalled"


@pytest.mark.parametrize("policy", ["all", "any"])
def test_some_workers_stall(start_guard, policy):
    """With `all` the application lives while one worker does and readiness is degraded; with `any` it does not."""
    guard = start_guard(policy=policy)
    first, second = guard.worker(), guard.worker()
    first.publish()
    second.publish()
    first.tell("beat", False)
    wait_until(lambda: "stalls" in guard.log, "the guard has noticed it")
    code, document = guard.ask("ready")
    assert (code, document["degraded_checks"]) == (200, ["workers"])
    assert document["checks"] == READY["checks"] | {"workers": {"status": "degraded", "reason": "stalled"}}
    assert guard.ask("live")[0] == (200 if policy == "all" else 503)
    second.tell("beat", False)
    guard.wait_for("live", 503)
    guard.wait_for("ready", 503)


def test_the_newest_report_of_a_fresh_worker_counts(start_guard):
    """What a stalled worker said last is not passed on while another one serves."""
    guard = start_guard()
    first, second = guard.worker(), guard.worker()
    second.publish()
    first.publish(503)
    assert guard.ask("ready")[0] == 503
    first.tell("beat", False)
    guard.wait_for("ready", 200)


def test_an_old_report_is_not_ready(start_guard):
    """A worker that is alive but publishes nothing new is not ready; liveness is unmoved."""
    guard = start_guard(report_max_age_seconds=0.5)
    worker = guard.worker()
    worker.publish()
    stalled = {"status": "error", "reason": "stalled"}
    assert guard.wait_for("ready", 503)["checks"] == {"application": stalled}
    assert guard.ask("ready/database")[1]["checks"] == {"database": stalled}
    assert (guard.ask("ready/other")[0], guard.ask("live")[0], guard.ask("startup")[0]) == (404, 200, 200)
    worker.publish()
    assert guard.ask("ready")[0] == 200


def test_draining(start_guard):
    """A draining worker does not count while another serves; when all drain, it is what they say, and never ready."""
    guard = start_guard()
    first, second = guard.worker(), guard.worker()
    second.publish()
    first.publish(503)
    first.tell("flag", DRAINING)
    assert guard.ask("ready")[0] == 200
    second.tell("flag", DRAINING)
    first.end()
    assert wait_until(lambda: guard.ask("ready")[0] == 503 and guard.ask("ready")[1], "it drains")["checks"] == {
        "application": {"status": "error", "reason": "draining"}
    }
    said = {**READY, "ready": False}
    second.publish(503, said)
    assert guard.ask("ready") == (503, said)


def test_the_dead_are_no_workers(start_guard):
    """A worker that was killed does not make the others degraded, nor the application dead."""
    guard = start_guard()
    first, second = guard.worker(), guard.worker()
    second.publish()
    first.end()
    wait_until(lambda: beat_age(first) > STALL_SECONDS + 0.5, "its heartbeat is old")
    assert (guard.ask("live")[0], guard.ask("ready")) == (200, (200, READY))
    second.end()
    wait_until(lambda: beat_age(second) > STALL_SECONDS + 0.5, "its heartbeat is old")
    assert guard.ask("live")[0] == 200
    assert guard.ask("ready")[0] == 503


def test_a_slot_that_is_given_back_is_no_worker(start_guard):
    """A process that stopped its heartbeat on purpose is not stalled."""
    guard = start_guard()
    worker = guard.worker()
    worker.tell("give_back")
    worker.tell("beat", False)
    wait_until(lambda: beat_age(worker) > STALL_SECONDS + 0.5, "its heartbeat is old")
    assert guard.ask("live")[0] == 200


def test_a_guard_that_did_not_run_judges_nobody(start_guard):
    """Frozen together with the application, it grants a full threshold after that; then it is as strict as ever."""
    guard = start_guard()
    worker = guard.worker()
    worker.publish()
    assert guard.ask("ready")[0] == 200
    guard.signal(signal.SIGSTOP)
    stop(guard, worker)
    wait_until(lambda: beat_age(worker) > 2 * STALL_SECONDS, "the threshold has passed")
    guard.signal(signal.SIGCONT)
    resumed = time.monotonic()
    assert guard.ask("live")[0] == 200
    document = guard.wait_for("live", 503)
    assert time.monotonic() - resumed >= STALL_SECONDS
    assert document["stalled_seconds"] >= STALL_SECONDS
    assert "this guard did not run" in guard.log
    worker.signal(signal.SIGCONT)
    guard.wait_for("live", 200)


def test_a_stall_is_logged_once_and_shows_the_stacks(start_guard):
    """Who stalls is said once, its threads' stacks go to its own log once, and its return is said."""
    guard = start_guard()
    worker = guard.worker(DUMPS_STACKS)
    for times in (1, 2):
        worker.tell("beat", False)
        guard.wait_for("live", 503)
        wait_until(lambda times=times: worker.log.count("most recent call first") == 2 * times, "stacks of two threads")
        wait_until(lambda: beat_age(worker) > STALL_SECONDS + 1, "the stall goes on")
        worker.tell("beat", True)
        guard.wait_for("live", 200)
        wait_until(lambda times=times: guard.log.count("is alive again after") == times, "it says so")
        assert guard.log.count(f"process {worker.pid} stalls: no heartbeat for 1.") == times
    assert "in beat" in worker.log
    assert guard.log.splitlines()[0][20:].startswith(" WARNING tasker_health.guard: process ")


@pytest.mark.parametrize(("flags", "handles"), [(DUMPS_STACKS, False), (0, True)])
def test_who_does_not_log_stacks_is_not_signalled(start_guard, flags, handles):
    """A slot that promises a handler that is not there costs nobody its life; a handler not offered is not used."""
    guard = start_guard()
    worker = guard.worker(flags, handles=handles)
    worker.tell("beat", False)
    guard.wait_for("live", 503)
    wait_until(lambda: "where its threads stand is not known" in guard.log, "it says so")
    worker.tell("beat", True)
    guard.wait_for("live", 200)
    assert worker.log == ""


def test_the_guard_dies_with_its_owner(start_guard):
    """Killed without a word, the owner takes the guard with it: within a second or so the port is free."""
    memory = start_guard().memory
    guard = start_guard(memory=memory)
    owner = guard.worker()
    owned = start_guard(memory=memory, owner=owner.pid)
    assert owned.ask("live")[0] == 200
    owner.process.kill()
    killed = time.monotonic()
    wait_until(lambda: not owned.is_running and owned.port_is_free(), "the port is free")
    assert time.monotonic() - killed < 2
    assert owned.process.returncode == 0
    assert owned.log == ""
    assert guard.is_running


def test_the_guard_lives_as_long_as_any_worker(start_guard):
    """A worker that outlives the owner keeps its guard, and is the last one to take it along."""
    helper = start_guard()
    owner, sibling = helper.worker(), helper.worker()
    sibling.publish()
    guard = start_guard(memory=helper.memory, owner=owner.pid)
    assert guard.ask("live")[0] == 200
    owner.end()
    wait_until(lambda: beat_age(owner) > 1.2, "the guard had time to notice")
    assert guard.ask("ready") == (200, READY)
    sibling.end()
    wait_until(lambda: not guard.is_running, "the guard ends")


def test_a_process_that_replaces_its_program_is_gone(start_guard):
    """After an exec the process has the same id and start time, but neither heartbeat nor guard."""
    helper = start_guard()
    owner = helper.worker(DUMPS_STACKS)
    guard = start_guard(memory=helper.memory, owner=owner.pid)
    assert guard.ask("live")[0] == 200
    owner.tell("exec")
    wait_until(lambda: not guard.is_running and guard.port_is_free(), "the guard ends")
    assert helper.ask("live")[0] == 200
    assert owner.process.poll() is None


def test_an_owner_that_is_gone_before_the_guard_starts(start_guard):
    """A guard that finds nobody ends."""
    helper = start_guard()
    owner = helper.worker()
    owner.end()
    guard = start_guard(owner=owner.pid)
    wait_until(lambda: not guard.is_running, "the guard ends")
    assert (guard.process.returncode, guard.log) == (0, "")


def test_signals_of_a_terminal_do_not_end_it(start_guard):
    """Ctrl-C and SIGTERM reach the whole group: the probe port answers as long as the application lives."""
    guard = start_guard()
    assert guard.ask("live")[0] == 200
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        guard.signal(number)
        assert guard.ask("live")[0] == 200
    assert guard.is_running


def test_a_log_that_nobody_reads_does_not_hang_it(start_guard):
    """With the pipe of its standard error full, a stall is answered all the same."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 4096)
        os.set_blocking(writer, True)
        guard = start_guard(stderr=writer)
        worker = guard.worker()
        worker.tell("beat", False)
        assert guard.wait_for("live", 503)["alive"] is False
        worker.tell("beat", True)
        guard.wait_for("live", 200)
    finally:
        os.close(reader)
        os.close(writer)


def test_it_has_a_name(start_guard):
    """`ps` and `top` show what it is."""
    guard = start_guard()
    assert guard.ask("live")[0] == 200
    with open(f"/proc/{guard.pid}/comm") as comm:  # noqa: PTH123
        assert comm.read() == "tasker-guard\n"
