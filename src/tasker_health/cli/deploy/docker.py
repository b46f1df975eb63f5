"""`tasker-health deploy docker`: an image of the service, with a health check."""

from __future__ import annotations

from tasker_health.cli.deploy import app
from tasker_health.cli.deploy.common import Application, Force, Output, hand_over
from tasker_health.cli.options import Config


@app.command()
def docker(
    config: Config = None,
    output: Output = None,
    application: Application = None,
    force: Force = False,
) -> None:
    """Write a Dockerfile and what belongs to it."""
    from tasker_health.deploy.docker import DOCKER, render
    from tasker_health.deploy.plan import plan_of
    from tasker_health.loading import load_settings

    settings = load_settings(config)
    hand_over(render(plan_of(settings, liveness=DOCKER), settings, app=application), output, force=force)
