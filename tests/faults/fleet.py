"""Two servers of orders, each with a database of its own, behind HAProxy and NGINX, each under a load of its own."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import canary
from caches import RedisServer
from faults.balancer import Haproxy, Nginx
from faults.load import Load
from faults.pod import Pod
from server import wait_until
from servers import PostgresServer
from tasker_health.deploy.backend import backends_of
from tasker_health.deploy.haproxy import HAPROXY
from tasker_health.deploy.plan import Plan, Prober

PROBER = Prober(period_seconds=0.2, timeout_seconds=1, success_threshold=2)
REQUEST_TIMEOUT_SECONDS, FAIL_TIMEOUT_SECONDS, DRAIN_SECONDS = 2, 2, 2
PASSWORD = canary.secret("orders")
PLAN = Plan("orders", "/tasker", 8080, 8081, readiness_timeout_seconds=0.8, drain_seconds=DRAIN_SECONDS)


@dataclass(frozen=True)
class Outcome:
    """What one balancer made of a fault.

    Attributes:
        requests: All that were sent to it, from before the fault until after it.
        out_at: When it took the faulty server out; `None`: it did not.
        back_at: When the first request was sent, after the fault, that this server answered.
    """

    requests: list
    out_at: float | None
    back_at: float | None

    def failed(self, method=None):
        """Return those that were not answered with 200."""
        return [each for each in self.requests if each.code != 200 and method in {None, each.method}]

    def unexplained(self, method, since, until):
        """Return the failed ones of *method* that were not on their way at any moment from *since* to *until*."""
        return [each for each in self.failed(method) if each.began > until or each.began + each.seconds < since]

    def sent(self, since, until, method=None):
        """Return those that were sent in that time."""
        return [each for each in self.requests if since <= each.began < until and method in {None, each.method}]


@dataclass(frozen=True)
class Play:
    """One fault, played before both balancers; times are by CLOCK_MONOTONIC.

    Attributes:
        began: Just before the fault.
        done: Just after it had begun.
        ended: Just before its end.
        haproxy: What HAProxy made of it.
        nginx: What NGINX did.
    """

    began: float
    done: float
    ended: float
    haproxy: Outcome
    nginx: Outcome

    def lines(self, name):
        """Return it as rows of a table: fault, balancer, seconds until out and back in, failed GETs and POSTs."""
        for balancer, outcome in (("HAProxy", self.haproxy), ("NGINX", self.nginx)):
            out = "stays in" if outcome.out_at is None else f"{outcome.out_at - self.began:.1f}"
            back = "" if outcome.out_at is None else f"{outcome.back_at - self.ended:.1f}"
            failed = " | ".join(f"{len(outcome.failed(each))} of {len(_of(outcome, each))}" for each in ("GET", "POST"))
            yield f"| {name} | {balancer} | {out} | {back} | {failed} |"


def _of(outcome, method):
    return [each for each in outcome.requests if each.method == method]


class Fleet:
    """Everything; the first server is the one in which something is wrong.

    Attributes:
        ledger: File of the orders that were placed, by both servers.
    """

    def __init__(self, folder):
        self._folder, self.ledger = folder, folder / "ledger"
        self._close = contextlib.ExitStack()
        try:
            # The threads stay until the end: a server ends with the thread that has started it.
            pool = self._close.enter_context(ThreadPoolExecutor())
            made = [pool.submit(each) for each in (PostgresServer, PostgresServer, RedisServer)]
            *self.databases, self.cache = [self._kept(each.result()) for each in made]
            for each in self.databases:
                each.execute(f"CREATE ROLE orders LOGIN PASSWORD '{PASSWORD}'")
            self.pods = list(pool.map(self._pod, self.databases))
            self._close.callback(lambda: [each.end() for each in self.pods])
            self.haproxy = self._haproxy("haproxy", replace(PLAN, readiness=PROBER))
            named = backends_of(self._servers(), PLAN)
            self.nginx = self._kept(
                Nginx(self._made("nginx"), PLAN, named, REQUEST_TIMEOUT_SECONDS, FAIL_TIMEOUT_SECONDS)
            )
        except BaseException:
            self.close()
            raise

    def patient_haproxy(self):
        """Return a HAProxy with the template's figures less `timeout check`, that asks the applications' ports."""
        plan = replace(PLAN, guard_port=None, readiness=HAPROXY)
        return self._haproxy("patient", plan, without="timeout check")

    def restart(self):
        """Start the first server again, in the place of the one that has ended."""
        old = self.pods[0]
        old.end()
        self.pods[0] = self._pod(self.databases[0], like=old)

    def play(self, begin, end, over=None):
        """Play a fault that *begin* begins and *end* ends, under the load.

        Args:
            begin: Begins it.
            end: Ends it.
            over: Waits until it has been noticed, from the moment of the fault on; unset: nothing is waited for.
        """
        balancers = (self.haproxy, self.nginx)
        with Load(self.haproxy.port) as first, Load(self.nginx.port) as second:
            loads = (first, second)
            wait_until(lambda: all(len(each.requests) > 30 for each in loads), "there is a load")
            began = time.monotonic()
            begin()
            done = time.monotonic()
            if over:
                over(began)
            ended = time.monotonic()
            end()
            again = time.monotonic()
            faulty = self.pods[0].port
            for balancer, load in zip(balancers, loads, strict=True):
                wait_until(lambda one=load: _first(one, faulty, again), f"it is back: {balancer.log[-2000:]}")
            wait_until(lambda: time.monotonic() > again + 0.5, "it goes on")
        outcomes = (
            Outcome(load.requests, balancer.changed(faulty, up=False, since=began), _first(load, faulty, ended))
            for balancer, load in zip(balancers, loads, strict=True)
        )
        return Play(began, done, ended, *outcomes)

    def out(self, *balancers):
        """Return what waits until *balancers* have taken the first server out."""
        faulty = self.pods[0].port

        def wait(began):
            for each in balancers:
                wait_until(lambda one=each: one.changed(faulty, up=False, since=began), f"out of {each.log[-2000:]}")

        return wait

    def close(self):
        """End everything."""
        self._close.close()

    def _pod(self, database, like=None):
        url = database.url_of("postgres", user="orders", password=PASSWORD)
        return Pod(
            url,
            self.cache.url,
            application="orders",
            like=like,
            ORDERS_LEDGER=str(self.ledger),
            TASKER_SERVER__DRAIN_SECONDS=str(DRAIN_SECONDS),
        )

    def _haproxy(self, name, plan, **options):
        made = Haproxy(
            self._made(name), plan, backends_of(self._servers(plan), plan), REQUEST_TIMEOUT_SECONDS, **options
        )
        return self._kept(made)

    def _servers(self, plan=PLAN):
        guard = (lambda pod: f",guard={pod.guard_port}") if plan.guard_port else lambda _pod: ""
        return [f"127.0.0.1:{pod.port}{guard(pod)}" for pod in self.pods]

    def _kept(self, made):
        self._close.callback(made.end)
        return made

    def _made(self, name):
        folder = self._folder / name
        folder.mkdir()
        return folder


def _first(load, server, since):
    """Return when the first request after *since* was sent that *server* answered."""
    return min(
        (each.began for each in list(load.requests) if each.server == server and each.began >= since), default=None
    )
