"""`tasker-health deploy kubernetes`, `kustomize` and `helm`: pods that are probed, in three spellings."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from tasker_health.cli.deploy import app
from tasker_health.cli.deploy.common import Force, Output, hand_over
from tasker_health.cli.options import Config

Form = Annotated[
    Literal["in-app", "sidecar"],
    typer.Option(help="Who serves the endpoints: the application itself, or `tasker-health serve` beside it."),
]
Image = Annotated[str | None, typer.Option(help="Image of the application.  [default: named as the service]")]
SidecarImage = Annotated[str | None, typer.Option(help="Image of `tasker-health serve`, as `deploy docker` makes it.")]
Replicas = Annotated[int, typer.Option(help="How many pods.")]
Namespace = Annotated[str | None, typer.Option(help="Where; unset: where you stand.")]
AppPort = Annotated[
    int | None,
    typer.Option(help="Where the application serves; unset: at server.port, or, beside a sidecar, nowhere."),
]
WorkerSeconds = Annotated[int, typer.Option(help="How long the application beside a sidecar may take to end.")]
StartupProbe = Annotated[
    bool, typer.Option(help="A startup probe holds the others back; without it they wait for their delays.")
]
ServiceMonitor = Annotated[bool, typer.Option("--service-monitor", help="For Prometheus' operator.")]
PrometheusRule = Annotated[bool, typer.Option("--prometheus-rule", help="Rules and alerts for Prometheus' operator.")]


def pods(  # noqa: PLR0913, PLR0917 -- each is an option of the command
    context: typer.Context,
    config: Config = None,
    form: Form = "in-app",
    image: Image = None,
    sidecar_image: SidecarImage = None,
    replicas: Replicas = 3,
    namespace: Namespace = None,
    app_port: AppPort = None,
    worker_seconds: WorkerSeconds = 30,
    startup_probe: StartupProbe = True,
    service_monitor: ServiceMonitor = False,
    prometheus_rule: PrometheusRule = False,
    output: Output = None,
    force: Force = False,
) -> None:
    """Write what the command is named for, of the same pods."""
    from tasker_health.deploy import helm, kubernetes, kustomize
    from tasker_health.deploy.environment import environment_of
    from tasker_health.deploy.plan import plan_of
    from tasker_health.deploy.workload import SIDECAR_IMAGE, Workload
    from tasker_health.loading import load_settings

    render = {"kubernetes": kubernetes.render, "kustomize": kustomize.render, "helm": helm.render}
    settings = load_settings(config)
    workload = Workload(
        form=form,
        image=image,
        sidecar_image=SIDECAR_IMAGE if sidecar_image is None else sidecar_image,
        replicas=replicas,
        namespace=namespace,
        app_port=app_port,
        worker_seconds=worker_seconds,
        startup_probe=startup_probe,
        service_monitor=service_monitor,
        prometheus_rule=prometheus_rule,
    ).fitted(settings)
    plan = workload.placed(plan_of(settings))
    files = render[context.command.name or ""](plan, environment_of(settings, plan), workload)
    hand_over(files, output, force=force)


app.command("kubernetes", help="Write manifests: pods, Service, disruption budget and network policy.")(pods)
app.command("kustomize", help="Write the same as a base of kustomize, with an example of an overlay.")(pods)
app.command("helm", help="Write the same as a chart of Helm, whose values are the figures.")(pods)
