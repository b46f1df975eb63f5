"""`tasker-health deploy datadog`: a check for a Datadog Agent that scrapes."""

from __future__ import annotations

from typing import Annotated

import typer

from tasker_health.cli.deploy import app
from tasker_health.cli.deploy.common import Force, Output, Servers, hand_over
from tasker_health.cli.options import Config


@app.command()
def datadog(
    config: Config = None,
    server: Servers = None,
    token_file: Annotated[
        str | None,
        typer.Option("--token-file", help="File of the token, read by the Agent where the metrics need one."),
    ] = None,
    ca_file: Annotated[
        str | None,
        typer.Option("--ca-file", help="PEM file of who signs the servers' certificates; unset: who the Agent trusts."),
    ] = None,
    output: Output = None,
    force: Force = False,
) -> None:
    """Write a check of the Datadog Agent, which reads the metrics and tells them under Datadog's names."""
    from tasker_health.deploy.backend import backends_of
    from tasker_health.deploy.datadog import render
    from tasker_health.deploy.plan import plan_of
    from tasker_health.loading import load_settings

    settings = load_settings(config)
    plan = plan_of(settings)
    files = render(plan, settings, backends_of(server or [], plan), token_file=token_file, ca_file=ca_file)
    hand_over(files, output, force=force)
