"""What an operator decides about pods: the options that the targets of Kubernetes share."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import Literal

from tasker_health import __version__
from tasker_health.deploy.plan import GRACE_MARGIN_SECONDS, Plan
from tasker_health.errors import ConfigurationError, SettingsError
from tasker_health.settings import HealthSettings, Settings

PRE_STOP_SECONDS = 10
"""How long a pod that is to stop is left alone: until every node and every ingress knows that it gets no traffic."""

HIGHEST_PORT = 65535

SIDECAR_IMAGE = f"tasker-health:{__version__}"
"""What `tasker-health deploy docker` builds."""

_SIDECAR = "health"
_MOST_REPLICAS = 100_000
_LONGEST_SECONDS = 315_360_000  # ten years, as for the settings
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]*")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Workload:
    """Pods, as an operator wants them.

    Attributes:
        form: Who serves the endpoints: the application, or `tasker-health serve` beside it.
        image: The application's; `None`: named as the service is.
        sidecar_image: That of `tasker-health serve`.
        replicas: How many pods.
        namespace: Where; `None`: where the operator stands.
        app_port: Where the application serves. `None`: at `server.port`, or, with a sidecar, nowhere.
        startup_probe: Whether a startup probe holds the others back; without it they wait for their delays.
        service_monitor: Whether Prometheus' operator is told where the metrics are.
        prometheus_rule: Whether it is handed rules and alerts.
        worker_seconds: How long the application beside a sidecar may take to end.
        grpc_port: Where health is served over gRPC; `None`: nowhere.
        metrics_token: Whether the metrics are for those alone who have their token.
        health: The thresholds of the alerts.
    """

    form: Literal["in-app", "sidecar"] = "in-app"
    image: str | None = None
    sidecar_image: str = SIDECAR_IMAGE
    replicas: int = 3
    namespace: str | None = None
    app_port: int | None = None
    startup_probe: bool = True
    service_monitor: bool = False
    prometheus_rule: bool = False
    worker_seconds: int = 30
    grpc_port: int | None = None
    metrics_token: bool = False
    health: HealthSettings = field(default_factory=HealthSettings)

    @property
    def is_sidecar(self) -> bool:
        """Whether `tasker-health serve` stands beside the application."""
        return self.form == "sidecar"

    @property
    def serves(self) -> bool:
        """Whether the application itself serves HTTP."""
        return not self.is_sidecar or self.app_port is not None

    def fitted(self, settings: Settings) -> Workload:
        """Return this workload with what *settings* say of gRPC, of the metrics and of their alerts.

        Raises:
            SettingsError: Nothing serves the metrics that are to be scraped.
        """
        prometheus = settings.exporters.prometheus
        for option, wanted in (
            ("--service-monitor", self.service_monitor),
            ("--prometheus-rule", self.prometheus_rule),
        ):
            if wanted and prometheus.enabled is False:
                raise SettingsError("exporters.prometheus.enabled", "false", f"true with {option}")
        if settings.grpc.enabled and not settings.grpc.port:
            raise SettingsError("grpc.port", "0", "a deployment needs the number of a port")
        return replace(
            self,
            grpc_port=settings.grpc.port if settings.grpc.enabled else None,
            metrics_token=prometheus.access == "token" and prometheus.token is not None,
            health=settings.health,
        )

    def placed(self, plan: Plan) -> Plan:
        """Return *plan* as it is in these pods.

        Raises:
            ConfigurationError: An option is none that Kubernetes takes, or two of them want the same port.
        """
        self._require_names()
        if not 1 <= self.replicas <= _MOST_REPLICAS:  # Helm writes a million as 1e+06, which is no count
            raise ConfigurationError(f"--replicas {self.replicas}: 1 to {_MOST_REPLICAS}")
        if not 0 <= self.worker_seconds <= _LONGEST_SECONDS:
            raise ConfigurationError(f"--worker-seconds {self.worker_seconds}: 0 to {_LONGEST_SECONDS}")
        if self.app_port is not None and not 1 <= self.app_port <= HIGHEST_PORT:
            raise ConfigurationError(f"--app-port {self.app_port}: 1 to {HIGHEST_PORT}")
        if self.is_sidecar and plan.name == _SIDECAR:
            raise SettingsError("health.service_name", repr(plan.name), "another name than that of the sidecar")
        others = {plan.guard_port, plan.agent_port, self.grpc_port} | ({plan.port} if self.is_sidecar else set())
        if self.app_port is not None and self.app_port in others:
            raise ConfigurationError(f"--app-port {self.app_port}: the pod's containers share its ports; take another")
        pre_stop_seconds = PRE_STOP_SECONDS if self.serves else 0
        if self.is_sidecar:
            return replace(plan, pre_stop_seconds=pre_stop_seconds)
        port = plan.port if self.app_port is None else self.app_port
        return replace(plan, port=port, pre_stop_seconds=pre_stop_seconds, tls=False)  # its TLS is not of our settings

    def grace_seconds(self, plan: Plan) -> int:
        """Return how long the kubelet waits before it kills: a sidecar is told to stop after the application."""
        return plan.grace_seconds + (self.worker_seconds if self.is_sidecar else 0)

    @property
    def margin_seconds(self) -> int:
        """What is waited for beside `preStop` and the drain."""
        return GRACE_MARGIN_SECONDS + (self.worker_seconds if self.is_sidecar else 0)

    def _require_names(self) -> None:
        for option, image in (("--image", self.image), ("--sidecar-image", self.sidecar_image)):
            if image is not None and not _IMAGE.fullmatch(image):
                raise ConfigurationError(f"{option} {image!r}: the name of an image, such as orders:1.2.3")
        if self.namespace is not None and not _NAMESPACE.fullmatch(self.namespace):
            raise ConfigurationError(f"--namespace {self.namespace!r}: 1 to 63 of a-z, 0-9 and -, no - at an end")
