"""A Datadog Agent that scrapes: a check of its own, and which servers it is to ask."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tasker_health.deploy import Files
from tasker_health.deploy.backend import Backend
from tasker_health.deploy.plan import Plan
from tasker_health.deploy.rendering import render as rendered
from tasker_health.errors import ConfigurationError, SettingsError
from tasker_health.exporters.datadog_series import GUIDE, constant_tags
from tasker_health.settings import Settings

TOKEN_FILE = "/etc/datadog-agent/conf.d/tasker_health.d/token"  # noqa: S105 -- where it lies  # nosec B105
"""Where the token lies for the Agent's eyes alone, unless the operator says otherwise."""


def render(
    plan: Plan,
    settings: Settings,
    servers: Sequence[Backend],
    *,
    token_file: str | None = None,
    ca_file: str | None = None,
) -> Files:
    """Return the check and its configuration, as they lie below `/etc/datadog-agent`.

    Args:
        plan: Of the service.
        settings: In force: tags, names, and who may read the metrics.
        servers: Who is asked.
        token_file: File of the token, where one is needed; `None`: `TOKEN_FILE`.
        ca_file: PEM file of who signs the servers' certificates; `None`: who the Agent trusts.

    Raises:
        ConfigurationError: There are no metrics to read, or a file is meant for nothing.
    """
    prometheus, datadog = settings.exporters.prometheus, settings.exporters.datadog
    if prometheus.enabled is False:
        raise SettingsError("exporters.prometheus.enabled", "false", "true: the Agent's check reads the metrics")
    needs_token = prometheus.access == "token" or (
        prometheus.access == "inherit" and settings.health.status_requires_authentication
    )
    if token_file is not None and not needs_token:
        raise ConfigurationError(f"--token-file {token_file!r}: no token is needed; set exporters.prometheus.access")
    if ca_file is not None and not plan.tls:
        raise ConfigurationError(f"--ca-file {ca_file!r}: the servers speak no TLS; set server.tls_certificate_file")
    conf = rendered(
        "datadog/conf.yaml",
        plan=plan,
        servers=servers,
        scheme="https" if plan.tls else "http",
        interval_seconds=max(1, math.ceil(datadog.interval_seconds)),
        token_file=(token_file or TOKEN_FILE) if needs_token else None,
        ca_file=ca_file,
        tags=constant_tags(datadog.tags, (), settings.health.service_name, version=None),
    )
    # The guide's names are told where the metrics have them.
    guide = GUIDE if datadog.guide_names else {}
    return {
        "checks.d/tasker_health.py": rendered("datadog/tasker_health.py.txt", guide=guide),
        "conf.d/tasker_health.d/conf.yaml": conf,
    }
