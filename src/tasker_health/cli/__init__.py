"""The command `tasker-health`.

`probe` runs in containers every few seconds: it is looked at first, and imports nothing outside the standard
library. Everything else is Typer's.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command that `sys.argv` names and exit with its code: 0 healthy, 1 unhealthy, 2 could not ask."""
    if sys.argv[1:2] == ["probe"]:
        from tasker_health.cli.probe import run

        sys.exit(run(sys.argv[2:]))
    try:
        from tasker_health.cli.commands import run_command
    except ModuleNotFoundError as error:
        if not error.name or error.name.startswith("tasker_health"):
            raise
        sys.stderr.write(f"tasker-health: {error.name} is not installed: pip install 'tasker-health[standalone]'\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(run_command())
