"""A check that is as well as a test says."""

from __future__ import annotations

from tasker_health.errors import CheckDegraded, CheckFailed
from tasker_health.model import Reason
from tasker_health.testing.gate import Gate


class FakeCheck:
    """A check that is well, fails, or hangs, as the test says: `health.add_check(FakeCheck("payment_api"))`.

    What changes it may be called in any thread. One that hangs is told as `timeout` at the deadline, as any check is.

    Args:
        name: `[a-z][a-z0-9_-]{0,62}`.
        critical: Whether readiness depends on it.
        timeout_seconds: Its own deadline; `None`: that of the whole answer.
        groups: Names under which `/ready/<group>` answers it together with others.

    Attributes:
        name, critical, timeout_seconds, groups: The same.
        calls: How often it was called.
    """

    def __init__(
        self,
        name: str,
        *,
        critical: bool = True,
        timeout_seconds: float | None = None,
        groups: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.critical = critical
        self.timeout_seconds = timeout_seconds
        self.groups = groups
        self.calls: int = 0
        self._failure: CheckFailed | None = None
        self._gate = Gate()

    def succeed(self) -> None:
        """Be well from now on, and hang no longer."""
        self._failure = None
        self.release()

    def fail(self, reason: Reason | str = Reason.ERROR, detail: str = "") -> None:
        """Fail with *reason* from now on.

        Args:
            reason: From the closed list, such as `refused`.
            detail: For the log.

        Raises:
            ValueError: There is no such reason.
        """
        self._failure = CheckFailed(reason, detail)

    def degrade(self, reason: Reason | str = Reason.ERROR, detail: str = "") -> None:
        """Be impaired from now on, but good enough to serve; see `fail`."""
        self._failure = CheckDegraded(reason, detail)

    def hang(self) -> None:
        """Return to nobody from now on."""
        self._gate.clear()

    def release(self) -> None:
        """End the hanging: be as well as before."""
        self._gate.set()

    async def __call__(self) -> None:
        """Look once.

        Raises:
            CheckFailed: The test says so.
        """
        self.calls += 1
        await self._gate.wait()
        if self._failure is not None:
            raise type(self._failure)(self._failure.reason, str(self._failure))
