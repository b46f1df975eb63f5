"""The room of alerts: what is wrong, since when, and who is told of it, once for a whole fleet.

A snapshot becomes **observations** (`rules`), observations become **incidents** (`incidents`), which begin and end
slowly enough that flapping pages nobody, and incidents become **events** that wait in a **ledger** until every
**channel** has taken them (`dispatch`). The ledger lies in the shared cache, so one process tells for the fleet,
another one goes on when it dies, and what waits survives a restart.

The rules for whoever writes a channel:

* It is handed an `Event` and sends it, once: when to try again is decided by `dispatch`.
* Whoever is told may hang, die, refuse or flood: `send` ends within the time-out it was made with, and reads no more
  of an answer than it needs.
* Sending the same event twice must do no harm: events are delivered at least once, under a key that does not change.
* Nothing secret is told: details are figures, names of checks and reasons from closed lists.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct


class Severity(StrEnum):
    """How bad it is: the severities of PagerDuty's Common Event Format (PD-CEF)."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Action(StrEnum):
    """What an event says of its incident."""

    TRIGGER = "trigger"
    UPDATE = "update"
    RESOLVE = "resolve"


class Observation(Struct, frozen=True, kw_only=True):
    """What one rule says at one moment.

    Attributes:
        rule: Its name, the same in every process: `total_failure_ratio`, `status`, `check:database`.
        holds: Whether it is so; `None`: it cannot be known, which neither begins an incident nor ends one.
        is_of_fleet: Whether every process would say the same; false where it is about the process that looked.
        severity, summary: What is told when it is so.
        details: Figures behind it: JSON without secrets.
    """

    rule: str
    holds: bool | None
    is_of_fleet: bool
    severity: Severity
    summary: str
    details: dict[str, Any]


class Event(Struct, frozen=True, kw_only=True):
    """What is told to every channel.

    Attributes:
        id: Of this event, of no other; the same when it is sent again.
        action: Whether the incident begins, goes on with other figures, or is over.
        dedup_key: Of the incident: the same in the whole fleet and from one incident of a rule to the next, 1 to 255
            characters (PagerDuty's limit).
        rule, severity, summary, details: See `Observation`.
        service: Name of the service.
        at: When this was seen, seconds since the epoch.
        since: When the incident began.
        links: URLs that are told along.
    """

    id: str
    action: Action
    dedup_key: str
    rule: str
    severity: Severity
    summary: str
    details: dict[str, Any]
    service: str
    at: float
    since: float
    links: tuple[str, ...] = ()


class Channel(Protocol):
    """Brings events to somebody.

    Attributes:
        name: `pagerduty`, or that of a webhook: the same in every process of the fleet.
    """

    name: str

    async def send(self, event: Event) -> None:
        """Bring *event* there.

        Raises:
            DeliveryError: It was not taken; says whether another attempt may succeed, and when.
        """

    async def close(self) -> None:
        """Give up connections; the next `send` opens new ones. Raises nothing."""
