"""Restarts of all kinds, as often as a test wants them, and what is left after them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import signal
import threading

from beside import Beside
from census import census, connections_to, family_of, own, zombies_of
from fakes import settings_of
from frameworks.exchange import Connection
from frameworks.serving import Serving
from server import free_port, wait_until
from tasker_health.health import Health

WORKERS = 4
_LOOKS = 20
"""So many times the same is seen, at least 0.02 s apart."""

HOOK = """
def post_worker_init(worker):
    getattr(worker.wsgi, "start", lambda: None)()
    open(f"booted-{worker.pid}", "w").close()
"""


class Supervised:
    """A server with workers and a guard, and a check of a real database.

    Args:
        folder: Where it runs.
        database: URL of a PostgreSQL.
        skin, server, words: See `Serving`.
        count: How many of its processes ask the database.
    """

    def __init__(self, folder, database, skin, server, *words, count=1):
        self.database = database
        self._count = count
        self.folder = folder
        self.guard = Beside(free_port())
        self.serving = Serving(
            skin,
            server,
            folder,
            *words,
            TASKER_DATABASE__URL=database,
            TASKER_GUARD__ENABLED="true",
            TASKER_GUARD__PORT=str(self.guard.port),
            TASKER_SERVER__DRAIN_SECONDS="0",
        )

    @property
    def leader(self):
        """Process id of the supervisor."""
        return self.serving.process.pid

    @property
    def workers(self):
        """Process ids of all that it has started, but the guard."""
        return [pid for pid in family_of(self.leader) if pid != self.leader and not _is_guard(pid)]

    def census(self):
        """Return what all of them hold."""
        return census(family_of(self.leader), self.database)

    def booted(self):
        """Return the process ids of the workers, when there are as many as there shall be and each handles signals.

        One that was just forked has the supervisor's handlers, and a signal that comes then is lost.
        """
        workers = set(self.workers)
        there = len(workers) == self._count and all((self.folder / f"booted-{each}").exists() for each in workers)
        return workers if there else set()

    def ready(self):
        """Return whether a worker, having asked the database, says that it is ready."""
        connection = Connection(self.serving.port, 10)
        try:
            return connection.ask("GET", "/tasker/health/ready").code == 200
        except OSError:
            return False
        finally:
            connection.close()

    def settle(self):
        """Wait until it is ready, in front and at the guard, and each worker has its connection."""
        wait_until(self.ready, f"it is ready: {self.serving.log[-2000:]}")
        self.guard.becomes("ready", 200, '"database":{"status":"ok"')
        wait_until(lambda: connections_to(self.database) == self._count, "each worker has asked the database")

    def steady(self):
        """Return what all of them hold when that no longer changes: nobody is about to join the guard, say."""
        looks = []

        def unchanged():
            looks.append(self.census())
            return len(looks) > _LOOKS and len(set(looks[-_LOOKS:])) == 1

        self.settle()
        wait_until(unchanged, "what is held no longer changes")
        return looks[-1]

    def assert_back_to(self, before):
        """Wait until nothing more is held than *before*, with as many processes."""
        wait_until(
            lambda: (now := self.census()).at_most(before) and now.processes == before.processes,
            f"{self.census()} is again {before}",
        )
        assert zombies_of(self.leader) == 0

    def end(self):
        """End it, and wait until nothing of it is left."""
        family = [*family_of(self.leader)]
        self.serving.process.send_signal(signal.SIGTERM)
        try:
            wait_until(lambda: self.serving.process.poll() is not None, "it ends")
            wait_until(lambda: census(family).processes == 0, "so do all of its processes")
            wait_until(lambda: connections_to(self.database) == 0, "and their connections")
            assert self.guard.get("live") is None
        finally:
            self.serving.kill()


def _is_guard(pid):
    try:
        with open(f"/proc/{pid}/comm") as comm:  # noqa: PTH123 -- read in a loop of thousands
            return comm.read().strip() == "tasker-guard"
    except OSError:
        return True


def replace_workers(folder, database, times, skin, server):
    """Have *times* workers of gunicorn end in every way, and return what was held before."""
    (folder / "hook.py").write_text(HOOK)
    words = ("--workers", str(WORKERS), "--preload", "--config", "hook.py", "--graceful-timeout", "5")
    pod = Supervised(folder, database, skin, server, *words, count=WORKERS)
    try:
        wait_until(pod.booted, "its workers are there")
        pod.settle()
        done, before = 0, None
        for number in itertools.count():
            done += _replace(pod, number)
            if number == 4:  # the worker that started the guard is gone as well, which held it otherwise
                before = pod.steady()
            if before is not None and done >= times:
                break
        pod.settle()
        pod.assert_back_to(before)
        assert "Traceback" not in pod.serving.log, pod.serving.log[-3000:]
    finally:
        pod.end()
    return before, done


def _replace(pod, number):
    """End some workers, wait for others, and return how many it were."""
    old = set(pod.workers)
    if number % 5 == 4:
        os.kill(pod.leader, signal.SIGHUP)
        ended = old
    else:
        ended = set(sorted(old)[: 2 + number % 3])
        for worker in ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, (signal.SIGTERM, signal.SIGKILL)[number % 2])
    wait_until(lambda: (now := pod.booted()) and not ended & now, f"{ended} are replaced: {pod.serving.log[-2000:]}")
    for worker in ended:
        (pod.folder / f"booted-{worker}").unlink(missing_ok=True)
    if number % 3 == 0:
        wait_until(pod.ready, "it is ready")  # not at once on a busy machine: a new worker has 0.8 s to log in
    return len(ended)


def reload(folder, database, times, skin, server):
    """Touch the source *times* times under a reloader, and return what was held before."""
    (folder / "hook.py").write_text(HOOK)
    source = folder / "reloaded.py"
    source.write_text("from frameworks.application import app\n")
    pod = Supervised(folder, database, skin, server)
    try:
        before = pod.steady()
        for number in range(times):
            old = set(pod.workers)
            source.write_text(f"from frameworks.application import app\n# {number}\n")
            wait_until(lambda: set(pod.workers) - old, "another process serves")  # noqa: B023
            pod.settle()
        pod.assert_back_to(before)
    finally:
        pod.end()
    return before


def health_with(database):
    """Return a Health with a check of *database* and a guard."""
    return Health(settings_of(database={"url": database}, guard={"enabled": True, "port": 0}))


async def start_and_stop(database, times):
    """Start and stop *times* objects on one loop; return what this process held before and after."""
    before = None
    for number in range(times + 1):
        health = health_with(database)
        await health.start()
        assert (await health.ready()).ready
        await health.stop()
        if number == 0:
            before = own(database)
    del health
    gc.collect()
    await asyncio.sleep(0)
    return before, own(database)


def start_and_stop_bridges(database, times, abreast=4):
    """Start and stop *times* bridges, some in threads at the same time; return what was held before and after."""

    def run(count):
        for _ in range(count):
            skin = health_with(database).wsgi()
            skin.start()
            answer = skin(_environ(), lambda status, _headers: statuses.append(status))
            assert b"".join(answer)
            skin.stop()

    statuses = []
    run(1)
    before = own(database)
    threads = [threading.Thread(target=run, args=[times // abreast]) for _ in range(abreast)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert set(statuses) == {"200 OK"}
    assert len(statuses) == 1 + times // abreast * abreast
    gc.collect()
    wait_until(lambda: own(database).at_most(before), f"{own(database)} is again {before}")
    return before, own(database)


def _environ():
    return {"REQUEST_METHOD": "GET", "PATH_INFO": "/tasker/health/ready", "REMOTE_ADDR": "127.0.0.1"}
