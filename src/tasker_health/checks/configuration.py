"""The check `configuration`: does everything that the settings name exist, load and fit?"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tasker_health.errors import CheckDegraded, CheckFailed
from tasker_health.model import Reason


class ConfigurationCheck:
    """Collects what is wrong with the configuration at run time.

    What is wrong at start stops the start. This check is for what turns out later: an authenticator that raises,
    a file that vanished.

    Args:
        inspectors: Each answers the problems that it knows of now, as finished sentences for the log.

    Attributes:
        cautions: Inspectors too; what they know of leaves this process fit to serve, for now.
    """

    name = "configuration"
    critical = True
    timed = False
    timeout_seconds: float | None = None

    def __init__(self, inspectors: Iterable[Callable[[], list[str]]]) -> None:
        self._inspectors = tuple(inspectors)
        self.cautions: list[Callable[[], list[str]]] = []

    async def __call__(self) -> None:
        """Ask every inspector.

        Raises:
            CheckFailed: At least one knows of a problem (`invalid`).
            CheckDegraded: Only one of the cautions does.
        """
        problems = [problem for inspect in self._inspectors for problem in inspect()]
        if problems:
            raise CheckFailed(Reason.INVALID, "; ".join(problems))
        cautions = [problem for inspect in self.cautions for problem in inspect()]
        if cautions:
            raise CheckDegraded(Reason.INVALID, "; ".join(cautions))
