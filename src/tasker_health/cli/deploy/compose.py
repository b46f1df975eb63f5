"""`tasker-health deploy compose`: the service and what stands around it, for one machine."""

from __future__ import annotations

from tasker_health.cli.deploy import app
from tasker_health.cli.deploy.common import Force, Output, hand_over
from tasker_health.cli.options import Config


@app.command()
def compose(config: Config = None, output: Output = None, force: Force = False) -> None:
    """Write compose.yaml: the service, PostgreSQL, Valkey, Prometheus, Alertmanager and Grafana."""
    from tasker_health.deploy.compose import render
    from tasker_health.deploy.docker import DOCKER
    from tasker_health.deploy.plan import plan_of
    from tasker_health.loading import load_settings

    settings = load_settings(config)
    hand_over(render(plan_of(settings, liveness=DOCKER), settings), output, force=force)
