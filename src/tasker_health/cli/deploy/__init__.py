"""`tasker-health deploy`: writes what an operator needs, made from the settings in force.

Each target is a file here, imported below, that adds its command to `app`; it imports its room only when it is run.
"""

from __future__ import annotations

import typer

app = typer.Typer(help="Write what an operator needs, made from the settings in force.", no_args_is_help=True)

from tasker_health.cli.deploy import (  # noqa: E402 -- they add their commands to what is above
    caddy,  # noqa: F401
    check,  # noqa: F401
    compose,  # noqa: F401
    datadog,  # noqa: F401
    docker,  # noqa: F401
    envoy,  # noqa: F401
    haproxy,  # noqa: F401
    kubernetes,  # noqa: F401
    nginx,  # noqa: F401
    prometheus,  # noqa: F401
    systemd,  # noqa: F401
    traefik,  # noqa: F401
)
