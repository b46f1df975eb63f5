"""The room of checks: is this one thing well?

A check has a name and is called. The rules for whoever writes one:

* It answers by returning `None` or `True` (well), or a `CheckResult`; it fails by raising. `CheckFailed(reason)`
  and `CheckDegraded(reason)` say why; any other exception gets the reason that it stands for, or `error`.
  `False` is a failure, anything else is `error`/`invalid`.
* An `async` check runs on the event loop and must not block it. A plain one runs in a thread of its own.
* It is given until its deadline. After that an `async` one is cancelled; a plain one keeps its thread until it
  returns, and is not called again before.
* One that keeps something open has an `async` method `close`, awaited for a second at most when the monitor stops;
  it may be called again afterwards. In a process that was forked it lets what is open lie: that is the parent's.
* What it raises goes to the log, never into an answer: the log may hold hosts and users, an answer may not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from tasker_health.errors import ConfigurationError
from tasker_health.settings import CHECK_NAME


@runtime_checkable
class Check(Protocol):
    """One thing that is looked at.

    It may have more attributes: `timed`, whether the answer says how long it took (yes); `groups`, names under which
    `/ready/<group>` answers it together with others (none); `fail_after` and `recover_after`, how many runs in a row
    must fail before it does, and be well before it is again (1).
    """

    @property
    def name(self) -> str:
        """`[a-z][a-z0-9_-]{0,62}`; the last part of `/ready/<check>`."""

    @property
    def critical(self) -> bool:
        """Whether readiness depends on it."""

    @property
    def timeout_seconds(self) -> float | None:
        """Its own deadline, within that of the whole answer; `None`: that of the answer."""

    def __call__(self) -> Any:
        """Look once; see the rules of the room."""


@dataclass(frozen=True)
class FunctionCheck:
    """A function of the user's as a check. See `Health.check`."""

    name: str
    function: Callable[[], Any]
    critical: bool = True
    timeout_seconds: float | None = None
    groups: tuple[str, ...] = ()
    fail_after: int = 1
    recover_after: int = 1

    def __call__(self) -> Any:
        """Call the function."""
        return self.function()


def validated(check: Check) -> Check:
    """Return *check* when it has the form of one.

    Raises:
        ConfigurationError: It has not; the message says what is wrong.
    """
    if not isinstance(check, Check):
        raise ConfigurationError(
            f"check {check!r}: not a check; give it a name, critical, timeout_seconds and make it callable"
        )
    if not isinstance(check.name, str) or not CHECK_NAME.fullmatch(check.name):
        raise ConfigurationError(f"check name {check.name!r}: allowed are {CHECK_NAME.pattern}, such as payment_api")
    seconds = check.timeout_seconds
    if seconds is not None and (not isinstance(seconds, int | float) or not seconds > 0):
        raise ConfigurationError(f"check {check.name}: timeout_seconds = {seconds!r}: allowed are seconds above 0")
    for name in ("fail_after", "recover_after"):
        runs = getattr(check, name, 1)
        if isinstance(runs, bool) or not isinstance(runs, int) or runs < 1:
            raise ConfigurationError(f"check {check.name}: {name} = {runs!r}: allowed are whole numbers from 1 on")
    for group in getattr(check, "groups", ()):
        if not isinstance(group, str) or not CHECK_NAME.fullmatch(group):
            raise ConfigurationError(f"check {check.name}: group {group!r}: allowed are {CHECK_NAME.pattern}")
    return check
