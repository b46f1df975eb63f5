"""Every exception that Tasker Health raises on purpose.

    TaskerHealthError
    ├── ConfigurationError      settings that cannot work; found at start, exit code 2
    │   └── SettingsError       one setting: its key, its value and what is allowed
    ├── CheckFailed             raised by a check: this thing is not well
    │   └── CheckDegraded       raised by a check: not well, but good enough to serve
    ├── DatabaseFault           a database did not do what it was asked, with a `Reason`
    ├── CacheFault              a shared cache did not do what it was asked, with a `Reason`
    ├── SourceFault             a workflow engine's data cannot be read, with a `Reason`
    ├── DeliveryError           somebody who is to be told did not take it; says whether to try again, and when
    ├── AuthenticationError     raised by an authenticator: these credentials are not valid
    ├── UnauthorizedError       raised by a coordinator: known, but not permitted
    └── MonitorLoopError        one monitor was used from two running event loops

A message names the thing, the value and the remedy. It never holds a secret.
"""

from __future__ import annotations

from tasker_health.model import Reason


class TaskerHealthError(Exception):
    """Base of all errors raised by Tasker Health."""


class ConfigurationError(TaskerHealthError):
    """The configuration cannot work: correct what the message names and start again."""


class SettingsError(ConfigurationError):
    """One setting has a bad value or an unknown name.

    Args:
        key: The setting as its source spells it, such as `server.port` or `TASKER_SERVER__PORT`.
        value: What was given, already safe to print.
        allowed: What is allowed, as a finished phrase.
    """

    def __init__(self, key: str, value: str, allowed: str) -> None:
        super().__init__(f"{key} = {value}: {allowed}")
        self.key = key
        self.value = value
        self.allowed = allowed


class CheckFailed(TaskerHealthError):  # noqa: N818 -- a verdict that a check reports, named as one reads it
    """What was checked is not well.

    Args:
        reason: Why, from the closed list that may leave in an answer.
        detail: For the log only; it never leaves in an answer.
    """

    def __init__(self, reason: Reason | str = Reason.ERROR, detail: str = "") -> None:
        self.reason: Reason = Reason(reason)
        super().__init__(detail or self.reason.value)


class CheckDegraded(CheckFailed):
    """What was checked is impaired, but good enough to serve."""


class DatabaseFault(TaskerHealthError):  # noqa: N818 -- "fault" is the word that the documentation uses
    """A database could not be asked, or did not answer in time.

    Args:
        reason: Why, from the closed list.
        detail: The driver's own words without the password, for the log only.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        self.reason = reason
        super().__init__(detail or reason.value)


class CacheFault(TaskerHealthError):  # noqa: N818 -- as above
    """A cache could not be asked, did not answer in time, or refused.

    Args:
        reason: Why, from the closed list.
        detail: The client's own words without the password, for the log only.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        self.reason = reason
        super().__init__(detail or reason.value)


class LedgerFault(TaskerHealthError):  # noqa: N818 -- as above
    """The store of the workers' heartbeats could not be asked, or did not answer in time.

    Args:
        reason: Why, from the closed list; `missing` when nothing was ever written there.
        detail: The client's own words without the password, for the log only.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        self.reason = reason
        super().__init__(detail or reason.value)


class SourceFault(TaskerHealthError):  # noqa: N818 -- as above
    """The data of a workflow engine cannot be read as it is.

    Args:
        reason: Why, from the closed list; `unknown_version` when the schema is not one that we know.
        detail: For the log only.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        self.reason = reason
        super().__init__(detail or reason.value)


class DeliveryError(TaskerHealthError):
    """Whoever was to be told something has not taken it.

    Args:
        detail: For the log and the doctor: without a secret, and without what the other side sent.
        again: Whether another attempt may succeed; false for what was refused for good.
        after_seconds: How long the other side wants to be left alone (`Retry-After`); `None`: it did not say.
    """

    def __init__(self, detail: str, *, again: bool = True, after_seconds: float | None = None) -> None:
        super().__init__(detail)
        self.again: bool = again
        self.after_seconds: float | None = after_seconds


class AuthenticationError(TaskerHealthError):
    """The credentials of this request are not valid: answered with 401."""


class UnauthorizedError(TaskerHealthError):
    """The caller is known, but not permitted: answered with 403."""


class MonitorLoopError(TaskerHealthError):
    """This monitor runs in another event loop: use one `Health` per loop, or stop it there first."""

    def __init__(self) -> None:
        super().__init__(str(self.__doc__))
