"""`tasker-health top`: the status page in a terminal.

`target` says who is asked, `exchange` asks once and only blocks, `asking` asks from an event loop and cannot hang it,
`snapshot` believes or does not, `sections` says it in lines, `once` prints them and `app` keeps them on a screen.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from tasker_health.cli.top.target import Target
from tasker_health.errors import ConfigurationError

_NEEDED = "textual is not installed: pip install 'tasker-health[top]'; or use --once"


@dataclass(frozen=True)
class Manner:
    """How it is shown.

    Attributes:
        once: Print it and end.
        interval_seconds: From one question to the next.
        timeout_seconds: Longest wait for a round of answers.
        fail_on: From which state on the code is 1, where it is printed once.
    """

    once: bool
    interval_seconds: float
    timeout_seconds: float
    fail_on: str


def run_top(target: Target, manner: Manner) -> int:
    """Show how *target* is; return 0, 1 or 2 where it is printed once, and 0 when the screen is left.

    Raises:
        ConfigurationError: Textual is not installed.
    """
    if manner.once or not (sys.stdout is not None and sys.stdout.isatty() and _has_keyboard()):
        from tasker_health.cli.top.once import show_once

        return show_once(target, patience_seconds=manner.timeout_seconds, fail_on=manner.fail_on)
    try:
        from tasker_health.cli.top.app import Top
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise ConfigurationError(_NEEDED) from None
    from tasker_health.cli.top.asking import Asking

    asking = Asking(target, manner.timeout_seconds)
    try:
        Top(asking, target.url, manner.interval_seconds).run()
    finally:
        asking.close()
    return 0


def _has_keyboard() -> bool:
    """Whether standard input is a terminal; where a token was piped into it, the terminal itself takes its place."""
    if sys.stdin is not None and sys.stdin.isatty():
        return True
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY)
    except OSError:
        return False
    os.dup2(terminal, 0)
    os.close(terminal)
    return True
