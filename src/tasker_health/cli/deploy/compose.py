"""`tasker-health deploy compose`: the service and what stands around it, for one machine."""

from __future__ import annotations

import os
from pathlib import Path

from tasker_health.cli.deploy import app
from tasker_health.cli.deploy.common import Config, Force, Output, hand_over
from tasker_health.settings import Settings


@app.command()
def compose(config: Config = None, output: Output = None, force: Force = False) -> None:
    """Write compose.yaml: the service, PostgreSQL, Valkey, Prometheus, Alertmanager and Grafana."""
    from tasker_health.deploy.compose import render
    from tasker_health.deploy.docker import DOCKER
    from tasker_health.deploy.plan import plan_of
    from tasker_health.loading import load_settings

    settings = load_settings(config)
    plan = plan_of(settings, liveness=DOCKER)
    files = render(plan, config=_seen_from(output, config), metrics=_access(settings))
    hand_over(files, output, force=force)


def _seen_from(output: Path | None, config: Path | None) -> str | None:
    """Return the path of *config* as a file in *output* has to write it: Compose takes one without `.` for a volume."""
    if config is None:
        return None
    path = os.path.relpath(config, output or Path())
    return path if path.startswith(".") else f"./{path}"


def _access(settings: Settings) -> str:
    access = settings.exporters.prometheus.access
    if access == "inherit":
        return "caller" if settings.health.status_requires_authentication else "open"
    return access
