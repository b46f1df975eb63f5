"""Settings of the exporters, a group for each."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, SecretStr

from tasker_health.settings.kinds import Group


class PrometheusSettings(Group):
    """Metrics for Prometheus, at `/metrics` under the prefix."""

    enabled: bool | None = Field(None, description="Serve them; unset means where prometheus-client is installed.")
    access: Literal["inherit", "open", "token"] = Field(
        "inherit", description="Who may read them: as for the status, everybody, or who has the token."
    )
    token: SecretStr | None = Field(None, description="The bearer token, needed where access is token.")
    guide_names: bool = Field(True, description="Tell them under the guide's names as well.")


class ExporterSettings(Group):
    """Exporters by name."""

    prometheus: PrometheusSettings = Field(PrometheusSettings(), description="Metrics for Prometheus.")
