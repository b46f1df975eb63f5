"""The command line as a user types it: run to its end, with settings from the environment alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PATIENCE_SECONDS = 60
COMMAND = [sys.executable, "-m", "tasker_health"]
SCRIPT = str(Path(sys.executable).parent / "tasker-health")


def run(*arguments, command=COMMAND, input=None, **variables):  # noqa: A002 -- as subprocess has it
    """Return the finished command."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TASKER_")}
    return subprocess.run(
        [*command, *arguments],
        env={**environment, "TASKER_GUARD__PORT": "0", **variables},
        input=input,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
