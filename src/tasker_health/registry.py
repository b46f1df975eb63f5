"""What is looked at: the checks and the sources of one service, until the first question closes the list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from tasker_health.checks import Check, FunctionCheck, validated
from tasker_health.errors import ConfigurationError
from tasker_health.sources import Source

F = TypeVar("F", bound=Callable[[], Any])


class Registry:
    """Takes checks and sources, each under a name of its own."""

    def __init__(self) -> None:
        self._checks: dict[str, Check] = {}
        self._sources: dict[str, Source] = {}
        self._is_open = True

    def check(
        self,
        name: str,
        *,
        critical: bool = True,
        timeout_seconds: float | None = None,
        groups: Sequence[str] = (),
        fail_after: int = 1,
        recover_after: int = 1,
    ) -> Callable[[F], F]:
        """Return a decorator that adds a function as the check *name*.

        Args:
            name: `[a-z][a-z0-9_-]{0,62}`.
            critical: Whether readiness depends on it.
            timeout_seconds: Its own deadline, within that of the whole answer.
            groups: Names under which `/ready/<group>` answers it together with others.
            fail_after: So many runs in a row must fail before it does; until then it is degraded.
            recover_after: So many runs in a row must be well before a failed one is again.

        Raises:
            ConfigurationError: The name is taken or not one, or it comes too late.
        """

        def add(function: F) -> F:
            self.add_check(
                FunctionCheck(name, function, critical, timeout_seconds, tuple(groups), fail_after, recover_after)
            )
            return function

        return add

    def add_check(self, check: Check) -> None:
        """Add *check*, an object with `name`, `critical` and `timeout_seconds` that can be called.

        Raises:
            ConfigurationError: It has not the form of a check, its name is taken, or it comes too late.
        """
        self._still_open(f"check {validated(check).name}")
        groups = {group for each in self._checks.values() for group in getattr(each, "groups", ())}
        if check.name in self._checks or check.name in groups:
            raise ConfigurationError(f"check {check.name}: there is one of that name already; choose another")
        for group in getattr(check, "groups", ()):
            if group in self._checks or group == check.name:
                raise ConfigurationError(f"group {group}: a check has that name; choose another")
        self._checks[check.name] = check

    def add_source(self, source: Source) -> None:
        """Add *source*, a reader of a workflow engine of your own.

        Raises:
            ConfigurationError: Its name is taken, or it comes too late.
        """
        if not isinstance(source, Source):
            raise ConfigurationError(
                f"source {source!r}: not a source; give it a name, read(deadline_seconds) and close"
            )
        self._still_open(f"source {source.name}")
        if source.name in self._sources:
            raise ConfigurationError(f"source {source.name}: there is one of that name already; choose another")
        self._sources[source.name] = source

    def _still_open(self, what: str) -> None:
        if not self._is_open:
            raise ConfigurationError(
                f"{what}: comes too late; add it before the first question, and before asgi() and wait_for()"
            )
