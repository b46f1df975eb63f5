"""`tasker-health deploy prometheus`: rules, alerts, routes and a dashboard."""

from __future__ import annotations

from typing import Annotated

import typer

from tasker_health.cli.deploy import app
from tasker_health.cli.deploy.common import Force, Output, Servers, hand_over
from tasker_health.cli.options import Config


@app.command()
def prometheus(  # noqa: PLR0913, PLR0917 -- each is an option of the command
    config: Config = None,
    server: Servers = None,
    job: Annotated[
        str | None, typer.Option(help="Label `job` of its series.  [default: the name of the service]")
    ] = None,
    interval: Annotated[
        int | None, typer.Option(help="Seconds from one scrape, and one look at the rules, to the next.  [default: 15]")
    ] = None,
    for_seconds: Annotated[
        int | None,
        typer.Option(help="Every alert fires after so long, as for a trial.  [default: as long as is fit for each]"),
    ] = None,
    alertmanager: Annotated[str, typer.Option(help="Where Alertmanager is, HOST:PORT.")] = "127.0.0.1:9093",
    prometheus: Annotated[str, typer.Option(help="Where Grafana finds Prometheus, HOST:PORT.")] = "127.0.0.1:9090",
    credentials_file: Annotated[
        str | None, typer.Option(help="File with the bearer token, where the metrics ask for one.")
    ] = None,
    runbooks: Annotated[
        str | None, typer.Option(help="URL of the page that says what to do.  [default: docs/monitoring.md]")
    ] = None,
    output: Output = None,
    force: Force = False,
) -> None:
    """Write Prometheus' scrapes, rules and alerts, their tests, Alertmanager's routes and Grafana's dashboard."""
    from tasker_health.deploy.backend import backends_of
    from tasker_health.deploy.plan import plan_of
    from tasker_health.deploy.prometheus import RUNBOOKS, render, watch_of
    from tasker_health.loading import load_settings

    settings = load_settings(config)
    plan = plan_of(settings)
    watch = watch_of(
        plan,
        settings,
        targets=tuple(each.address for each in backends_of(server or [], plan)),
        job=job,
        interval_seconds=interval,
        for_seconds=for_seconds,
        alertmanager=alertmanager,
        prometheus=prometheus,
        credentials_file=credentials_file,
        runbooks=RUNBOOKS if runbooks is None else runbooks,
    )
    hand_over(render(plan, settings, watch), output, force=force)
