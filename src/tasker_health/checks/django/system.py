"""The check `system`: what `manage.py check` says of the project. It is run once; a project does not change."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tasker_health.errors import CheckDegraded, CheckFailed
from tasker_health.model import Reason
from tasker_health.reasons import words_of

_MOST_SHOWN = 5


class _Found(NamedTuple):
    errors: Sequence[str]
    warnings: Sequence[str]


class SystemCheck:
    """Runs Django's system checks, in a thread, when it is first called.

    Args:
        deploy: Whether those of `--deploy` are run too.
        warnings: Whether a warning is degraded; otherwise it is nobody's concern.
    """

    name = "system"
    critical = True
    timed = False
    timeout_seconds: float | None = None

    def __init__(self, *, deploy: bool = False, warnings: bool = False) -> None:
        self._deploy = deploy
        self._heeds_warnings = warnings
        self._found: _Found | None = None

    def __call__(self) -> None:
        """Say what was found.

        Raises:
            CheckFailed: An error, or the checks themselves fail (`invalid`); the words are for the log.
            CheckDegraded: A warning, where they count.
        """
        if self._found is None:
            self._found = _look(deploy=self._deploy)
        if self._found.errors:
            raise CheckFailed(Reason.INVALID, _listed(self._found.errors))
        if self._heeds_warnings and self._found.warnings:
            raise CheckDegraded(Reason.INVALID, _listed(self._found.warnings))


def _look(*, deploy: bool) -> _Found:
    from django.core.checks import ERROR, WARNING, run_checks

    try:
        messages = [each for each in run_checks(include_deployment_checks=deploy) if not each.is_silenced()]
    except Exception as error:  # noqa: BLE001 -- checks are code of the user's, and so are the URLs that they load
        return _Found([words_of(error)], ())
    errors = [_told(each) for each in messages if each.level >= ERROR]
    return _Found(errors, [_told(each) for each in messages if WARNING <= each.level < ERROR])


def _told(message: object) -> str:
    return " ".join(str(message).partition("\n\tHINT:")[0].split())


def _listed(words: Sequence[str]) -> str:
    shown = "; ".join(words[:_MOST_SHOWN])
    return shown if len(words) <= _MOST_SHOWN else f"{shown}; and {len(words) - _MOST_SHOWN} more"
