"""What one run asks: how often or how many at once, how long, of which endpoints; and how far that may go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from tasker_health.errors import ConfigurationError

ENDPOINTS = ("live", "ready", "status")

MOST_A_SECOND = 2000
"""Of one endpoint: about what one client in Python can ask; more needs a tool of several processes, such as wrk2."""

MOST_AT_ONCE = 256
"""Connections to one endpoint: three of them stay below the 1,024 files that a process may commonly have open."""

MOST_SECONDS = 3600
MOST_REQUESTS = 1_000_000
"""Of one run altogether: each keeps 25 bytes until the end, so a run never needs more than some 25 MB for them."""

MOST_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class Plan:
    """One run.

    Attributes:
        endpoints: What is asked: all at the same time, or, with *in_turn*, one after the other.
        rate: Requests a second on each endpoint, at times that are fixed in advance; `None`: closed loop.
        concurrency: How many askers each endpoint has, of which each asks when it has its answer; `None`: open loop.
        seconds: When the last request is due; `None`: when *requests* have been asked.
        requests: How many each endpoint is asked at most; `None`: as many as fit into *seconds*.
        timeout_seconds: How long after it was due an answer may come.
        warm_up_seconds: How long the same is asked before, without being counted.
        kept_alive: Whether connections are used again.
        in_turn: One endpoint after the other.
    """

    endpoints: tuple[str, ...] = ENDPOINTS
    rate: float | None = None
    concurrency: int | None = None
    seconds: float | None = None
    requests: int | None = None
    timeout_seconds: float = 5
    warm_up_seconds: float = 0
    kept_alive: bool = True
    in_turn: bool = False

    @classmethod
    def of_the_guide(cls) -> Plan:
        """Return the guide's three lines `ab -n 1000 -c 10 URL`.

        A new connection for each, because ab keeps none without `-k`, and 30 s of patience, as ab's `-s` has by
        default (Apache HTTP Server documentation, "ab").
        """
        return cls(concurrency=10, requests=1000, timeout_seconds=30, kept_alive=False, in_turn=True)

    @property
    def most_requests(self) -> int:
        """How many requests each endpoint gets at most."""
        most = MOST_REQUESTS // len(self.endpoints)
        if self.requests is not None:
            most = min(most, self.requests)
        if self.rate is not None and self.seconds is not None:
            most = min(most, max(1, int(self.rate * self.seconds)))
        return most

    @property
    def most_seconds(self) -> float:
        """When no request is due any more: in a closed loop a slow server must not make it endless."""
        return MOST_SECONDS if self.seconds is None else self.seconds

    @property
    def words(self) -> str:
        """What is asked, for a reader."""
        loop = (
            f"open loop, {self.rate:g} requests a second on each"
            if self.rate is not None
            else f"closed loop, {self.concurrency} at once on each"
        )
        bounds = [f"{self.seconds:g} s"] if self.seconds is not None else []
        bounds += [f"{self.requests} requests on each"] if self.requests is not None else []
        connections = "kept connections" if self.kept_alive else "a new connection for each"
        order = "one endpoint after the other" if self.in_turn else "all endpoints at the same time"
        return f"{loop}, {' or '.join(bounds)}, {connections}, {order}"


class Options(NamedTuple):
    """The words of a command line; `None` is what was not said."""

    rate: float | None = None
    concurrency: int | None = None
    seconds: float | None = None
    requests: int | None = None
    endpoints: str | None = None
    timeout_seconds: float | None = None
    warm_up_seconds: float = 0
    kept_alive: bool | None = None
    guide: bool = False


def plan_of(options: Options) -> Plan:
    """Return the run that *options* ask for.

    Raises:
        ConfigurationError: They exclude each other, or go beyond a limit.
    """
    rate, concurrency = options.rate, options.concurrency
    if options.guide:
        return within_limits(_of_the_guide(options))
    if rate is not None and concurrency is not None:
        raise ConfigurationError(
            f"--rate {rate:g} and --concurrency {concurrency}: one of them; at a rate it is known when each request"
            " is due, with a concurrency each waits for the one before"
        )
    return within_limits(
        Plan(
            endpoints=_named(options.endpoints),
            rate=50.0 if rate is None and concurrency is None else rate,
            concurrency=concurrency,
            seconds=10.0 if options.seconds is None and options.requests is None else options.seconds,
            requests=options.requests,
            timeout_seconds=5 if options.timeout_seconds is None else options.timeout_seconds,
            warm_up_seconds=options.warm_up_seconds,
            kept_alive=options.kept_alive is not False,
        )
    )


def _of_the_guide(options: Options) -> Plan:
    said = {
        "--rate": options.rate,
        "--concurrency": options.concurrency,
        "--duration": options.seconds,
        "--requests": options.requests,
        "--endpoints": options.endpoints,
    }
    for name, value in said.items():
        if value is not None:
            raise ConfigurationError(f"{name} {value}: --guide asks as the guide does; leave one of the two away")
    guide = Plan.of_the_guide()
    patience = guide.timeout_seconds if options.timeout_seconds is None else options.timeout_seconds
    kept_alive = options.kept_alive is True
    return replace(guide, timeout_seconds=patience, kept_alive=kept_alive, warm_up_seconds=options.warm_up_seconds)


def within_limits(plan: Plan) -> Plan:
    """Return *plan*.

    Raises:
        ConfigurationError: It goes beyond a limit; the line names the option and the limit.
    """
    _between("--rate", plan.rate, 0.1, MOST_A_SECOND, "requests a second on each endpoint")
    _between("--concurrency", plan.concurrency, 1, MOST_AT_ONCE, "askers on each endpoint")
    _between("--duration", plan.seconds, 0.1, MOST_SECONDS, "seconds")
    _between("--requests", plan.requests, 1, MOST_REQUESTS // len(plan.endpoints), "requests on each endpoint")
    _between("--timeout", plan.timeout_seconds, 0.01, MOST_PATIENCE_SECONDS, "seconds")
    _between("--warm-up", plan.warm_up_seconds, 0, 600, "seconds")
    if plan.rate is not None:
        seconds = plan.seconds if plan.requests is None else plan.requests / plan.rate
        if seconds is not None and plan.seconds is None and seconds > MOST_SECONDS:
            raise ConfigurationError(
                f"--requests {plan.requests} --rate {plan.rate:g}: would take {seconds:,.0f} s;"
                f" allowed are {MOST_SECONDS:,}"
            )
        asked = plan.rate * (plan.seconds or 0) * len(plan.endpoints)
        if plan.requests is None and asked > MOST_REQUESTS:
            raise ConfigurationError(
                f"--rate {plan.rate:g} --duration {plan.seconds:g}: would be {asked:,.0f} requests on"
                f" {len(plan.endpoints)} endpoints; a run keeps each one's time, {MOST_REQUESTS:,} at most"
            )
    return plan


def _between(option: str, value: float | None, least: float, most: float, unit: str) -> None:
    if value is not None and not least <= value <= most:  # refuses nan, too
        raise ConfigurationError(f"{option} {value:g}: allowed are {least:g} to {most:,g} {unit}")


def _named(words: str | None) -> tuple[str, ...]:
    if words is None:
        return ENDPOINTS
    names: Sequence[str] = [word.strip() for word in words.split(",")]
    for name in names:
        if name not in ENDPOINTS:
            raise ConfigurationError(f"--endpoints {words!r}: {name!r} is none; allowed are {', '.join(ENDPOINTS)}")
    return tuple(name for name in ENDPOINTS if name in names)
