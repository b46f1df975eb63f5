"""HAProxy and NGINX, as `deploy` configures them, in front of two servers under a load: something is wrong in one.

Each gets 48 GETs and 12 POSTs a second. None may fail beyond those that were in a server which then hung or died. How
long it took until the server was out and back in is printed, and stands in docs/deploy/haproxy.md and nginx.md.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter

import pytest

from faults.fleet import FAIL_TIMEOUT_SECONDS, REQUEST_TIMEOUT_SECONDS, Fleet
from faults.pod import PATIENCE_SECONDS, READY, ask_once
from server import wait_until


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """Two servers, their databases and cache, and the balancers before them."""
    shared = Fleet(tmp_path_factory.mktemp("fleet"))
    yield shared
    shared.close()


@pytest.fixture
def tell(capsys):
    """Print lines where they are seen without an option."""

    def tell_all(lines):
        with capsys.disabled():
            print("", *lines, sep="\n")  # noqa: T201 -- it is what it is for

    return tell_all


def test_an_unready_server_loses_nothing(fleet, tell):
    """HAProxy sees it, NGINX does not: it goes on asking a server that serves well."""
    faulty = fleet.pods[0]
    play = fleet.play(lambda: faulty.tell("/own/ill"), lambda: faulty.tell("/own/well"), fleet.out(fleet.haproxy))
    tell(play.lines("unready"))
    assert play.haproxy.failed() == play.nginx.failed() == []
    assert faulty.port not in {each.server for each in play.haproxy.sent(play.haproxy.out_at, play.ended)}
    assert play.nginx.out_at is None
    assert faulty.port in {each.server for each in play.nginx.sent(play.done, play.ended)}


def test_a_drained_server_loses_nothing(fleet, tell):
    """After SIGTERM it serves until HAProxy has taken it out; NGINX meets a closed port, and tries the other one."""
    faulty = fleet.pods[0]

    def over(began):
        fleet.out(fleet.haproxy)(began)
        assert faulty.process.poll() is None
        faulty.process.wait(PATIENCE_SECONDS)
        fleet.out(fleet.nginx)(began)

    play = fleet.play(faulty.process.terminate, fleet.restart, over)
    tell(play.lines("drained, ended and started again"))
    assert play.haproxy.failed() == play.nginx.failed() == []
    assert faulty.process.returncode in {0, -signal.SIGTERM}


def test_a_killed_server_loses_only_orders_that_it_was_placing(fleet, tell):
    """Connections that are refused are tried at the other one for every method; what was read is read again there."""
    faulty = fleet.pods[0].process

    def begin():
        faulty.kill()
        faulty.wait()

    play = fleet.play(begin, fleet.restart, fleet.out(fleet.haproxy, fleet.nginx))
    tell(play.lines("killed and started again"))
    for outcome in (play.haproxy, play.nginx):
        assert outcome.failed("GET") == []
        assert outcome.unexplained("POST", play.began, play.done) == []


@pytest.mark.parametrize("guard_too", [False, True], ids=["application", "whole-pod"])
def test_a_hung_server_loses_only_orders_that_were_sent_to_it(fleet, tell, guard_too):
    """A GET in it is answered by the other one, later; a POST is lost, until it is out, and is never placed twice."""
    processes = [fleet.pods[0].process.pid] + ([fleet.pods[0]._guard_pid()] if guard_too else [])

    def send(number):
        for each in processes:
            os.kill(each, number)

    play = fleet.play(lambda: send(signal.SIGSTOP), lambda: send(signal.SIGCONT), fleet.out(fleet.haproxy, fleet.nginx))
    tell(play.lines("frozen, guard and all" if guard_too else "hung (SIGSTOP)"))
    # NGINX learns only from requests, and sends one there again and again.
    for outcome, until in ((play.haproxy, play.haproxy.out_at), (play.nginx, play.ended)):
        assert outcome.failed("GET") == []
        assert outcome.unexplained("POST", play.began, until) == []
        assert outcome.failed("POST")
        assert max(each.seconds for each in outcome.requests) < REQUEST_TIMEOUT_SECONDS * 2 + 1


def test_a_server_whose_database_is_stopped_loses_nothing(fleet, tell):
    """What it cannot read, it answers with 503, and the other one reads it; an order needs no database here."""
    database, faulty = fleet.databases[0], fleet.pods[0]
    play = fleet.play(database.pause, database.resume, fleet.out(fleet.haproxy, fleet.nginx))
    tell(play.lines("its database stopped"))
    assert play.haproxy.failed() == play.nginx.failed() == []
    assert faulty.port not in {each.server for each in play.haproxy.sent(play.haproxy.out_at, play.ended)}


def test_without_any_database_nobody_is_left(fleet, tell):
    """HAProxy answers 503 to everything, also to what needs no database, NGINX 502; both come back by themselves."""

    def all_out(began):
        for each in fleet.pods:
            wait_until(lambda one=each: fleet.haproxy.changed(one.port, up=False, since=began), "both are out")
        moment = time.monotonic()
        assert ask_once(fleet.haproxy.port, "/health")[0] == ask_once(fleet.nginx.port, "/health")[0] == 503
        wait_until(lambda: time.monotonic() > moment + 1, "the load goes on")

    play = fleet.play(
        lambda: [each.pause() for each in fleet.databases],
        lambda: [each.resume() for each in fleet.databases],
        all_out,
    )
    tell(play.lines("all databases stopped"))
    out_at = max(fleet.haproxy.changed(each.port, up=False, since=play.began) for each in fleet.pods)
    assert {(each.code, each.server) for each in play.haproxy.sent(out_at, play.ended)} == {(503, 0)}
    for method, expected in (("GET", {502, 503}), ("POST", {200, 502})):
        codes = Counter(each.code for each in play.nginx.sent(play.done, play.ended, method))
        tell([f"NGINX meanwhile, {method}: {dict(codes)}"])
        assert set(codes) <= expected
    for outcome in (play.haproxy, play.nginx):
        assert {each.code for each in outcome.requests if each.began > outcome.back_at + FAIL_TIMEOUT_SECONDS} <= {200}
    assert ask_once(fleet.haproxy.port, "/health")[0] == ask_once(fleet.nginx.port, "/health")[0] == 200


def test_an_optional_cache_that_hangs_takes_nobody_out(fleet, tell):
    """HAProxy's own default time-outs (every 2 s, and as long for an answer), at the applications' own ports."""
    patient = fleet.patient_haproxy()
    fleet.cache.pause()
    try:
        for each in fleet.pods:
            each.wait_for_reasons(each.port, {"timeout"})
        began = time.monotonic()
        wait_until(lambda: time.monotonic() > began + 7, "three checks of each and more")
        found = patient.servers()
    finally:
        fleet.cache.resume()
    tell([f"cache hung: {name}: {row['check_status']} {row['check_duration']} ms" for name, row in found.items()])
    assert patient.changes == []
    assert {row["check_status"] for row in found.values()} == {"L7OK"}
    for each in fleet.pods:
        each.wait_for_reasons(each.port, ())


def test_what_is_for_probers_is_hidden_from_the_public(fleet):
    """Neither balancer leads to an endpoint, however its path is spelt; both say themselves whether a server is in."""
    for balancer in (fleet.haproxy, fleet.nginx):
        for path in (READY, "/tasker/health/status", "/tasker/metrics", "/%74asker/health/status", "/tasker/x"):
            assert ask_once(balancer.port, path)[0] == 404, path
        assert ask_once(balancer.port, "/health")[0] == 200
    assert ask_once(fleet.pods[0].port, "/%74asker/health/status")[0] == 200


def test_no_order_was_placed_twice(fleet):
    """Whatever happened above: what is not idempotent was sent to one server only."""
    placed = Counter(fleet.ledger.read_text().split())
    assert len(placed) > 100
    assert [name for name, times in placed.items() if times > 1] == []
