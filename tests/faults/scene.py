"""Where faults happen: a database and a cache behind proxies, another database to fail over to, and the application."""

from __future__ import annotations

import contextlib
import resource
import time

import psycopg

import canary
from caches import RedisServer
from faults.asker import Asker
from faults.cache_stranger import NOISE, Stranger
from faults.pod import PATIENCE_SECONDS, Pod
from faulty_proxy import FaultyProxy
from server import wait_until
from servers import PostgresServer

PASSWORD = canary.secret("prober")
BLOCK_SECONDS = 9
SPARE_BYTES = 1 << 19
"""The application has no memory when it may take less than this; what fits in it is soon taken too."""

FLOOD = 256
"""Clients at once; a request takes the application 1 ms."""


class Scene:
    """A PostgreSQL behind a proxy, another one to fail over to, a Redis, and the application that is asked.

    Attributes:
        server: The database that the application is to reach.
        proxy: What stands between them, in every row.
        cache: The cache of the application, in the rows of caches.
        pod: The application of this row.
        ends_at: When a fault ends by itself, by CLOCK_MONOTONIC.
    """

    def __init__(self):
        self.server, self._spare = PostgresServer(), PostgresServer()
        self.proxy = FaultyProxy(self.server.port)
        for each in (self.server, self._spare):
            each.execute(f"CREATE ROLE prober LOGIN PASSWORD '{PASSWORD}'")
        self.url = self.proxy.url_for(self.server.url_of("postgres", user="prober", password=PASSWORD))
        self.cache = RedisServer()
        self._cache_proxy = FaultyProxy(self.cache.port)
        self.cache_url = self.cache.url.replace(str(self.cache.port), str(self._cache_proxy.port))
        self._stranger = Stranger(NOISE, speaks_first=True)
        self.held = []
        self.pod: Pod | None = None
        self.flood: Asker | None = None
        self.block_seconds = BLOCK_SECONDS
        self.ends_at = 0.0

    def lose_server(self):
        """Kill the server, with another one ready to fail over to: that of the last time, if it was done before."""
        if not self._spare.running:
            self._spare.start()
        self.server.kill()

    def fail_over(self):
        """Let the other server be the one behind the proxy."""
        self.server, self._spare = self._spare, self.server
        self.proxy.forward_to(self.server.port)

    def let_stranger_answer(self):
        """Have a program that makes noise take the place of the cache."""
        self._put_behind(self._stranger.port)

    def dismiss_stranger(self):
        """Have the cache answer again."""
        self._put_behind(self.cache.port)

    def _put_behind(self, port):
        self._cache_proxy.forward_to(port)
        self._cache_proxy.set("reset")
        self._cache_proxy.set("pass")

    def connections(self):
        """Return how many connections the database has from the application, as it counts them itself."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'prober'"
        with psycopg.connect(self.server.url) as connection:
            return connection.execute(query).fetchone()[0]

    def take_all_connections(self):
        """Hold every connection that the server has, those of the application too."""
        url = self.server.url_of("postgres", user="prober", password=PASSWORD)
        ends_at = time.monotonic() + PATIENCE_SECONDS
        refusals = 0
        administrator = psycopg.connect(self.server.url, autocommit=True)
        self.held.append(administrator)  # its place is one of them
        # Who was sent away frees a place a little later: only the second refusal in a row is the last.
        while refusals < 2 and time.monotonic() < ends_at:
            try:
                self.held.append(psycopg.connect(url))
                refusals = 0
            except psycopg.OperationalError:
                refusals = 0 if self._send_others_away(administrator) else refusals + 1

    def _send_others_away(self, administrator):
        """End the connections of the application; return how many there were."""
        mine = [each.info.backend_pid for each in self.held]
        query = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'prober' AND pid <> ALL(%s)"
        )
        return administrator.execute(query, [mine]).fetchone()[0]

    def let_go(self):
        """Give back what `take_all_connections` took."""
        while self.held:
            self.held.pop().close()
        # Within one transaction the server would show the same moment again and again.
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            query = "SELECT count(*) > 5 FROM pg_stat_activity WHERE usename = 'prober'"
            wait_until(lambda: not connection.execute(query).fetchone()[0], "the server has let go")

    def block(self, how):
        """Block the application's event loop for `block_seconds`."""
        self.ends_at = time.monotonic() + self.block_seconds
        self.pod.begin(f"/block/{how}/{self.block_seconds}")

    def start_flood(self):
        """Have more clients ask than the application can serve, until `calm`."""
        self.flood = Asker(self.pod.port, "/work", 10_000_000, at_once=FLOOD)

    def exhaust_memory(self):
        """Leave the application no memory; the answer is not waited for, as it may need some."""
        self.pod.begin("/memory")
        wait_until(lambda: self.pod.spare_bytes() < SPARE_BYTES, "the memory is taken")

    def give_memory(self):
        """Lift the limit from outside, and have the application give back what it took."""
        resource.prlimit(self.pod.process.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        self.calm()

    def calm(self):
        """End what the application was told to do, and the flood."""
        self.stop_flood()
        self.pod.tell("/calm")

    def stop_flood(self):
        """Let the clients of the flood leave."""
        if self.flood is not None:
            self.flood.end()
            self.flood = None

    def revive(self):
        """Have everything but the application well again, whatever was done to it."""
        self.stop_flood()
        self.block_seconds = BLOCK_SECONDS
        self.server.resume()
        if not self.server.running:
            self.server.start()
        if not self._spare.running:
            self._spare.start()
        self.cache.resume()
        if not self.cache.running:
            self.cache.start()
        self.dismiss_stranger()
        self.proxy.set("pass")
        self.let_go()

    def close(self):
        """End everything."""
        self.stop_flood()
        if self.pod is not None:
            self.pod.end()
        while self.held:
            with contextlib.suppress(psycopg.Error):
                self.held.pop().close()
        self.proxy.close()
        self._cache_proxy.close()
        self._stranger.close()
        for each in (self.server, self._spare, self.cache):
            each.end()
