"""The runner: runs checks together, each under its own deadline, never a hung one twice."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from msgspec.structs import replace

from tasker_health.checks import Check
from tasker_health.clock import Clock
from tasker_health.counters import CheckCounts, Counters
from tasker_health.damping import Damping
from tasker_health.deadline import in_thread, leave_to_parent, within
from tasker_health.errors import CheckDegraded
from tasker_health.model import CheckResult, CheckStatus, Reason
from tasker_health.reasons import reason_of, words_of

T = TypeVar("T")

log = logging.getLogger(__name__)

OK = CheckResult(status=CheckStatus.OK)
NOT_RUN = CheckResult(status=CheckStatus.UNKNOWN, reason=Reason.NOT_RUN)

_CLOSE_SECONDS = 1.0
"""How long a check may take to close what it keeps open."""


def failed(reason: Reason) -> CheckResult:
    """Return the result of a check that failed with *reason*."""
    return CheckResult(status=CheckStatus.ERROR, reason=reason)


class Runner:
    """Runs *checks* together.

    Args:
        checks: What is looked at, in the order of the answer.
        clock: Measures how long each took.
        counters: Where that is counted.
    """

    def __init__(self, checks: Iterable[Check], clock: Clock, counters: Counters | None = None) -> None:
        counters = counters or Counters()
        self._slots = [_Slot(check, clock, counters.check(check.name)) for check in checks]

    @property
    def held(self) -> int:
        """How many checks still run beyond their deadline; a blocking one of them holds a thread."""
        return sum(slot.overdue for slot in self._slots)

    async def run(self, deadline_seconds: float) -> dict[str, CheckResult]:
        """Return the result of every check by name, after *deadline_seconds* at the latest."""
        results = await asyncio.gather(*(slot.run(deadline_seconds) for slot in self._slots))
        return {slot.check.name: result for slot, result in zip(self._slots, results, strict=True)}

    def forget(self) -> None:
        """Leave the runs under way to the process that this one was forked from."""
        for slot in self._slots:
            slot.forget()

    async def stop(self) -> None:
        """Cancel what still runs, and close what checks keep open; a thread cannot be ended: its check keeps it."""
        for slot in self._slots:
            slot.cancel()
        await asyncio.sleep(0)
        await asyncio.gather(*(slot.close() for slot in self._slots))


class _Slot:
    """One check, its run under way, and what it answered last."""

    def __init__(self, check: Check, clock: Clock, counts: CheckCounts) -> None:
        self.check = check
        self._clock = clock
        self._counts = counts
        self._blocking = not _is_async(check)
        self._run: asyncio.Future[CheckResult] | None = None
        self._last: CheckResult = NOT_RUN
        self._damping = Damping(getattr(check, "fail_after", 1), getattr(check, "recover_after", 1))
        self.overdue = False

    async def run(self, deadline_seconds: float) -> CheckResult:
        """Return what the check finds within its deadline."""
        if self._run is not None and not self._run.done():
            return self._damping(
                failed(Reason.TIMEOUT)
            )  # the earlier call has not returned: told at once, not started again
        began = self._clock.monotonic()
        try:
            run = self._run = self._start()
        except Exception as error:  # noqa: BLE001 -- the machine has no thread left: that is this check's error
            result = self._damping(self._failure(error))
            self._note(result)
            return result
        seconds = min(deadline_seconds, self.check.timeout_seconds or deadline_seconds)
        await asyncio.wait({run}, timeout=seconds)
        if run.done():
            result, self.overdue = run.result(), False
        else:
            result, self.overdue = failed(Reason.TIMEOUT), True
            run.add_done_callback(self._returned)
            self.cancel()
        took = self._clock.monotonic() - began
        self._counts.ran(took)
        self._counts.timeouts += result.reason is Reason.TIMEOUT
        result = self._damping(result)
        if getattr(self.check, "timed", True):
            result = replace(result, response_time_ms=round(took * 1000))
        self._note(result)
        return result

    def cancel(self) -> None:
        """Cancel the run under way, unless it is a thread's, which cannot be."""
        if self._run is not None and not self._blocking:
            self._run.cancel()

    async def close(self) -> None:
        """Close what the check keeps open; one that hangs at that, or fails, keeps nobody from stopping."""
        close = getattr(self.check, "close", None)
        if not inspect.iscoroutinefunction(close):
            return
        try:
            await within(close(), _CLOSE_SECONDS)
        except Exception as error:  # noqa: BLE001 -- of a user's check, any
            log.warning("check %s: close: %s", self.check.name, words_of(error))

    def forget(self) -> None:
        """Leave the run under way to the process that this one was forked from."""
        leave_to_parent(self._run)
        self._run, self.overdue = None, False

    def _returned(self, _run: asyncio.Future[CheckResult]) -> None:
        self.overdue = False

    def _start(self) -> asyncio.Future[CheckResult]:
        if self._blocking:
            return in_thread(lambda: self._judge(self.check), f"check-{self.check.name}")
        return asyncio.get_running_loop().create_task(self._call_async())

    async def _call_async(self) -> CheckResult:
        try:
            return self._verdict(await self.check())
        except asyncio.CancelledError:
            if self.overdue:
                raise
            return self._failure(RuntimeError("the check cancelled itself"))
        except BaseException as error:  # noqa: BLE001 -- SystemExit in a task would end the application
            return self._failure(error)

    def _judge(self, call: Callable[[], Any]) -> CheckResult:
        try:
            return self._verdict(call())
        except BaseException as error:  # noqa: BLE001 -- as above, in a thread it would be lost
            return self._failure(error)

    def _verdict(self, answer: Any) -> CheckResult:
        if answer is None or answer is True:
            return OK
        if isinstance(answer, CheckResult):
            return self._normalised(answer)
        if answer is False:
            return failed(Reason.ERROR)
        if inspect.iscoroutine(answer):
            answer.close()
        log.warning("check %s: returned %s; return None, a bool or a CheckResult", self.check.name, type(answer))
        return failed(Reason.INVALID)

    def _normalised(self, answer: CheckResult) -> CheckResult:
        """Return *answer* with a status and a reason of the closed lists: nothing else may leave in an answer."""
        try:
            status = CheckStatus(answer.status)
            given = Reason(answer.reason) if answer.reason else None
        except ValueError:
            log.warning("check %s: its CheckResult has a status or a reason that there is not", self.check.name)
            return failed(Reason.INVALID)
        if status is CheckStatus.OK:
            return OK
        default = Reason.NOT_RUN if status is CheckStatus.UNKNOWN else Reason.ERROR
        return CheckResult(status=status, reason=given or default)

    def _failure(self, error: BaseException) -> CheckResult:
        self._detail = words_of(error)
        log.debug("check %s: %s", self.check.name, self._detail)
        status = CheckStatus.DEGRADED if isinstance(error, CheckDegraded) else CheckStatus.ERROR
        return CheckResult(status=status, reason=reason_of(error))

    _detail = ""

    def _note(self, result: CheckResult) -> None:
        """Log *result* when it differs from the last one, so that a long outage is two lines."""
        if (result.status, result.reason) != (self._last.status, self._last.reason):
            if result.status is not CheckStatus.OK:
                log.warning("check %s: %s (%s) %s", self.check.name, result.status, result.reason, self._detail)
            elif self._last is not NOT_RUN:
                log.warning("check %s: ok again", self.check.name)
        self._last, self._detail = result, ""


def _is_async(check: Check) -> bool:
    """Whether calling *check* gives a coroutine; a `FunctionCheck` is what its function is."""
    call = getattr(check, "function", check)
    return inspect.iscoroutinefunction(call) or inspect.iscoroutinefunction(type(call).__call__)
