"""`tasker-health deploy envoy`: a balancer that asks `/ready`."""

from __future__ import annotations

from tasker_health.cli.deploy import app
from tasker_health.cli.deploy.common import Force, Listen, Output, RequestTimeout, Servers, hand_over
from tasker_health.cli.options import Config


@app.command()
def envoy(
    config: Config = None,
    server: Servers = None,
    listen: Listen = "80",
    request_timeout: RequestTimeout = 30,
    output: Output = None,
    force: Force = False,
) -> None:
    """Write a configuration of Envoy, which takes out a server that is not ready."""
    from tasker_health.deploy.backend import backends_of
    from tasker_health.deploy.envoy import ENVOY, render
    from tasker_health.deploy.plan import plan_of
    from tasker_health.deploy.proxy import Proxy
    from tasker_health.loading import load_settings

    plan = plan_of(load_settings(config), readiness=ENVOY)
    hand_over(render(plan, backends_of(server or [], plan), Proxy(listen, request_timeout)), output, force=force)
