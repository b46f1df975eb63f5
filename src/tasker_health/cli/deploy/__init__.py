"""`tasker-health deploy`: writes what an operator needs, made from the settings in force.

Each target is a file here, imported below, that adds its command to `app`; it imports its room only when it is run.
"""

from __future__ import annotations

import typer

app = typer.Typer(help="Write what an operator needs, made from the settings in force.", no_args_is_help=True)
