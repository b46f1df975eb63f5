"""`tasker-health deploy systemd`: a unit of the service, with systemd's watchdog."""

from __future__ import annotations

from typing import Annotated

import typer

from tasker_health.cli.deploy import app
from tasker_health.cli.deploy.common import Application, Force, Output, hand_over
from tasker_health.cli.options import Config


@app.command()
def systemd(
    config: Config = None,
    output: Output = None,
    application: Application = None,
    programs: Annotated[
        str | None,
        typer.Option("--programs", metavar="FOLDER", help="Where its programs lie; unset: /opt/<name>/bin."),
    ] = None,
    force: Force = False,
) -> None:
    """Write a unit that is ready when it says so, fed while it is alive, and allowed little."""
    from tasker_health.deploy.plan import plan_of
    from tasker_health.deploy.systemd import render
    from tasker_health.loading import load_settings

    settings = load_settings(config)
    hand_over(render(plan_of(settings), settings, app=application, programs=programs), output, force=force)
