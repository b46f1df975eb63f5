"""The command `tasker-health`.

`probe` runs in containers every few seconds: it is looked at first, and imports nothing outside the standard
library. Everything else is Typer's.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command that `sys.argv` names and exit with its code: 0 healthy, 1 unhealthy, 2 could not ask."""
    from tasker_health.cli.probe import run, say

    if sys.argv[1:2] == ["probe"]:
        sys.exit(run(sys.argv[2:]))
    if sys.argv[1:2] in (["serve"], ["demo"]):
        _end_cleanly_from_the_first_moment()
    try:
        from tasker_health.cli.commands import run_command
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("tasker_health"):
            raise
        say(sys.stderr, f"tasker-health: {error.name} is not installed: pip install 'tasker-health[standalone]'\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    code = run_command()
    say(sys.stdout, "")  # what is left in its buffer, while a failure still changes nothing
    sys.exit(code)


def _end_cleanly_from_the_first_moment() -> None:
    """End with 0 when told to while the imports run: nothing has been started by then."""
    import os
    import signal

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: os._exit(0))
