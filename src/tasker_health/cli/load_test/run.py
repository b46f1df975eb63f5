"""One run from its first question to its last, or to Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace

from tasker_health.cli.load_test.asking import Asker, ask_within
from tasker_health.cli.load_test.pace import Lag, Pace
from tasker_health.cli.load_test.plan import Plan
from tasker_health.cli.load_test.record import Outcome, Record, percentile
from tasker_health.cli.load_test.target import Base
from tasker_health.errors import ConfigurationError

BUSY_LAG_MS = 5.0
"""Half of what `live` may take: with more of it, a missed mark may be this client's own doing."""

BUSY_SHARE = 0.9
"""Of one core: a client in Python has no more than one."""

_REFUSALS = {401: "give credentials: --token -, or --basic -", 403: "these credentials do not have the permission"}
_FIRST_REFUSAL, _LAST_REFUSAL = 300, 499
_NO_CONNECTION = {
    "refused": "connection refused; is the server started, and is this its address?",
    "unreachable": "cannot be reached; is this its address?",
    "tls": "no TLS connection; --ca-file names whom to trust, --server-name the name in its certificate",
    "garbage": "what answers there does not speak HTTP; is this the right port, and not https://?",
}


@dataclass
class Run:
    """What was asked and what came.

    Attributes:
        plan: As it was asked.
        records: By endpoint.
        seconds: How long it took.
        began_at: The time of day, in seconds since 1970.
        lag_ms: How late this client's own loop was: the 99th percentile.
        most_lag_ms: The same at worst.
        processor_share: What part of one core this client took.
        stopped_by: The signal that ended it early; 0: none did.
    """

    plan: Plan
    records: dict[str, Record]
    seconds: float = 0.0
    began_at: float = field(default_factory=time.time)
    lag_ms: float = 0.0
    most_lag_ms: float = 0.0
    processor_share: float = 0.0
    stopped_by: int = 0

    @property
    def is_client_busy(self) -> bool:
        """Whether this client was the bottleneck, so that what was slow may be its own doing."""
        exhausted = any(record.faults["exhausted"] for record in self.records.values())
        return exhausted or self.lag_ms > BUSY_LAG_MS or self.processor_share > BUSY_SHARE


async def look_first(asker: Asker, base: Base, plan: Plan) -> None:
    """Ask each endpoint once.

    Raises:
        ConfigurationError: There is nothing to be measured: nobody answers, or not to this caller, or not this.
    """
    for endpoint in plan.endpoints:
        found = await ask_within(asker, endpoint, plan.timeout_seconds)
        words = _NO_CONNECTION.get(found.fault, "")
        if _FIRST_REFUSAL <= found.code <= _LAST_REFUSAL:
            remedy = _REFUSALS.get(found.code, "is this the base of the health endpoints?")
            words = f"answers {found.code}, which is no answer about health; {remedy}"
        if words:
            raise ConfigurationError(f"{base.url}/{endpoint}: {words}")


async def carry_out(plan: Plan, asker: Asker, progress: Callable[[Run], None]) -> Run:
    """Return what came of *plan*; *progress* is told of the run before its first request is due."""
    run = Run(plan, {endpoint: Record(endpoint) for endpoint in plan.endpoints})
    current = asyncio.current_task()
    if current is None:
        raise RuntimeError("a run is carried out in a task")

    def stop(number: int) -> None:
        run.stopped_by = number
        current.cancel()

    with _stopped_by_signals(stop):
        try:
            if plan.warm_up_seconds:
                warm_up = replace(plan, seconds=plan.warm_up_seconds, requests=None)
                await _asked(Run(warm_up, {each: Record(each) for each in plan.endpoints}), asker)
            progress(run)
            await _asked(run, asker)
        except asyncio.CancelledError:
            if not run.stopped_by:
                raise
            current.uncancel()
    return run


async def _asked(run: Run, asker: Asker) -> None:
    loop = asyncio.get_running_loop()

    async def ask(endpoint: str, seconds: float) -> Outcome:
        return await ask_within(asker, endpoint, seconds)

    gc.collect()
    gc.freeze()  # what is imported is gone through no more: that would hold the loop for 20 ms and count as latency
    async with _watched(run):
        began = loop.time()
        if run.plan.in_turn:
            for record in run.records.values():
                await Pace(run.plan, ask, record, loop.time()).run()
        else:
            async with asyncio.TaskGroup() as group:
                for number, record in enumerate(run.records.values()):
                    offset = number / len(run.records)
                    group.create_task(Pace(run.plan, ask, record, began, offset).run())


@contextlib.asynccontextmanager
async def _watched(run: Run) -> AsyncIterator[None]:
    """Measure how long it takes, and what this client itself does meanwhile."""
    lag = Lag()
    watching = asyncio.create_task(lag.watch())
    run.began_at = time.time()
    began, processor_began = time.monotonic(), time.process_time()
    try:
        yield
    finally:
        watching.cancel()
        run.seconds = time.monotonic() - began
        run.processor_share = (time.process_time() - processor_began) / max(run.seconds, 0.001)
        late = sorted(lag.late_ms)
        run.lag_ms, run.most_lag_ms = percentile(late, 99) or 0.0, late[-1] if late else 0.0


@contextlib.contextmanager
def _stopped_by_signals(stop: Callable[[int], None]) -> Iterator[None]:
    """Call *stop* on the first SIGINT or SIGTERM; another one does what it does without us."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)

    def stop_once(number: int) -> None:
        for each in numbers:
            loop.remove_signal_handler(each)
        stop(number)

    try:
        for each in numbers:
            loop.add_signal_handler(each, stop_once, int(each))
    except (ValueError, RuntimeError):  # not in the main thread
        pass
    try:
        yield
    finally:
        for each in numbers:
            loop.remove_signal_handler(each)
