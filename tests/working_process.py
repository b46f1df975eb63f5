"""A process that works and beats, driven by words on its standard input; and what its beats say."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request

from fakes import settings_of
from server import PATIENCE_SECONDS, wait_until
from tasker_health.clock import SystemClock
from tasker_health.workers.chosen import chosen_ledger
from tasker_health.workers.roster import LedgerRoster

BEAT_SECONDS = 0.3

SCRIPT = """
import asyncio, contextlib, sys, threading, time
from tasker_health import Health

health, on_loop = Health(), sys.argv[1] == "loop"
ready = [None]
tasks = contextlib.ExitStack()

def obey(worker, word):
    word, _, rest = word.partition(" ")
    if word == "take":
        tasks.enter_context(worker.task(rest, "compute", "numbers"))
    elif word == "done":
        tasks.pop_all().close()
    elif word == "waiting":
        ready[0] = None if rest == "?" else int(rest)
    elif word == "compute":
        until = time.monotonic() + float(rest)
        while time.monotonic() < until:
            sum(range(1000))
    elif word == "end":
        worker.stop()
    print(f"{word} {worker.guard_url}", flush=True)
    return word != "end"

def begin():
    return health.worker(name="numbers", queues=["numbers"], version="7", waiting=lambda: ready[0])

async def main():
    worker = begin()
    while obey(worker, (await asyncio.to_thread(sys.stdin.readline)).strip()):
        pass
    await asyncio.sleep(0.1)

if on_loop:
    asyncio.run(main())
else:
    worker = begin()
    while obey(worker, sys.stdin.readline().strip()):
        pass
"""


class Working:
    """A worker in a process of its own.

    Args:
        url: Where it beats.
        kind: `loop`: on an event loop; `thread`: without one.
        stall_seconds: When it is wedged.
    """

    def __init__(self, url, kind="thread", stall_seconds=5):
        variables = {
            "TASKER_WORKERS__URL": url,
            "TASKER_WORKERS__HEARTBEAT_SECONDS": str(BEAT_SECONDS),
            "TASKER_HEALTH__WORKER_STALL_SECONDS": str(stall_seconds),
            "TASKER_HEALTH__LIVENESS_STALL_SECONDS": "5",
            "TASKER_GUARD__PORT": "0",
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, kind],
            env={**os.environ, **variables},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.name = ""
        self.guard_url = self.say("hello")

    def say(self, words):
        """Have it do something, and wait until it has."""
        self.begin(words)
        return self.process.stdout.readline().split()[-1]

    def begin(self, words):
        """Have it begin to do something."""
        self.process.stdin.write(f"{words}\n")
        self.process.stdin.flush()

    def live(self):
        """Return code and body of its guard's liveness."""
        try:
            with urllib.request.urlopen(f"{self.guard_url}/live", timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def signal(self, number):
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self):
        """End it, however it is."""
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.signal(signal.SIGCONT)
        self.end()


class Watching:
    """Who reads the beats, in this process."""

    def __init__(self, url):
        self.settings = settings_of(workers={"url": url, "heartbeat_seconds": BEAT_SECONDS})
        self.runner = asyncio.Runner()
        self.roster = LedgerRoster(chosen_ledger(self.settings), heartbeat_seconds=BEAT_SECONDS, clock=SystemClock())

    def look(self):
        """Return everybody after some turns of the loop, so that it looks on meanwhile."""

        async def look():
            await asyncio.sleep(BEAT_SECONDS / 4)
            return await self.roster.read(10)

        workers = self.runner.run(look())
        return () if workers is None else workers.all

    def until(self, condition, what):
        """Return the one worker when *condition* holds of it."""

        def found():
            workers = self.look()
            return workers[0] if workers and condition(workers[0]) else None

        return wait_until(found, what, PATIENCE_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.runner.run(self.roster.close())
        self.runner.close()
