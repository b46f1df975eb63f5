"""One receiver of OTLP over HTTP, told by the official exporter; every call but `give_up` may block."""

from __future__ import annotations

import logging
import os
import re
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from uuid import uuid4

from opentelemetry.context import _SUPPRESS_INSTRUMENTATION_KEY, attach, detach, set_value
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.sdk.metrics.export import MetricExportResult
from opentelemetry.sdk.resources import (
    SERVICE_INSTANCE_ID,
    SERVICE_NAME,
    OTELResourceDetector,
    Resource,
)

from tasker_health.errors import DeliveryError
from tasker_health.exporters.instrument import Instrument
from tasker_health.exporters.otlp_data import Period, metrics_data
from tasker_health.exporters.otlp_session import MOST_BYTES, Outcome, Session
from tasker_health.reasons import reason_of
from tasker_health.settings import OpenTelemetrySettings

THREAD = "opentelemetry"
_OK = range(200, 300)
_AGAIN = frozenset({408, 429, *range(500, 600)})
_URL = re.compile(r"https?://[^/?#\s]", re.IGNORECASE)
_EXPORTER_LOG = "opentelemetry.exporter.otlp.proto.http.metric_exporter"


class Receiver:
    """Tells one receiver what this process is and what there is to tell.

    Args:
        settings: Where it is; without an address what `OTEL_EXPORTER_OTLP_ENDPOINT` says.
        service: The name of the service, where `OTEL_SERVICE_NAME` and others do not say another one.
        timeout_seconds: How long one telling may take.
    """

    def __init__(self, settings: OpenTelemetrySettings, service: str, timeout_seconds: float) -> None:
        logging.getLogger(_EXPORTER_LOG).addFilter(_not_of_ours)
        self._session = Session()
        self._exporter = OTLPMetricExporter(
            endpoint=settings.endpoint,
            headers={name: value.get_secret_value() for name, value in settings.headers.items()},
            timeout=timeout_seconds,
            session=self._session,
        )
        self.resource: Resource = _resource(settings, service)

    def tell(self, told: Iterable[Instrument], period: Period) -> None:
        """Tell *told*, counted during *period*.

        Raises:
            DeliveryError: It was not taken, or not all of it.
        """
        token = attach(set_value(_SUPPRESS_INSTRUMENTATION_KEY, True))  # noqa: FBT003 -- else it makes spans of its own
        try:
            self._session.outcome = None
            result = self._exporter.export(metrics_data(told, self.resource, period))
        finally:
            detach(token)
        outcome = self._session.outcome
        if outcome is not None:
            _judge(outcome)
        if result is not MetricExportResult.SUCCESS:
            raise DeliveryError("the exporter could not send it")

    def give_up(self) -> DeliveryError | None:
        """End whatever is under way, and close; at once. Return why there was no answer so far, where that is known."""
        outcome = self._session.outcome
        self._session.cut()
        self._exporter.shutdown()
        try:
            if outcome is not None:
                _judge(outcome)
        except DeliveryError as error:
            return error
        return None


def _judge(outcome: Outcome) -> None:
    """Raise what *outcome* means; the exporter itself takes redirects and anything with code 200 for a success.

    Raises:
        DeliveryError: It was not taken.
    """
    if outcome.error is not None:
        first = _first(outcome.error)
        raise DeliveryError(f"no answer: {reason_of(outcome.error)} ({type(first).__name__})") from outcome.error
    if outcome.status not in _OK:
        again = outcome.status in _AGAIN
        raise DeliveryError(f"HTTP {outcome.status}", again=again, after_seconds=_seconds(outcome.retry_after))
    rejected = _rejected(outcome)
    if rejected > 0:
        raise DeliveryError(f"{rejected} data points were rejected", again=False)


def _rejected(outcome: Outcome) -> int:
    """Return how many data points a receiver says it has not taken.

    Raises:
        DeliveryError: It is no receiver.
    """
    if not outcome.body or outcome.content_type == "application/json":
        return 0
    try:
        if outcome.content_type not in {"", "application/x-protobuf"} or len(outcome.body) >= MOST_BYTES:
            raise ValueError(outcome.content_type)  # noqa: TRY301 -- treated as what cannot be decoded
        return int(ExportMetricsServiceResponse.FromString(outcome.body).partial_success.rejected_data_points)
    except Exception:  # noqa: BLE001 -- the decoder's own, of whatever was sent
        raise DeliveryError("what answered is no receiver of OTLP: look at the address", again=False) from None


def _resource(settings: OpenTelemetrySettings, service: str) -> Resource:
    """Return what is told of this process: the settings before the environment, and that before what we know."""
    detected = Resource.create({})
    ours = {SERVICE_NAME: service, SERVICE_INSTANCE_ID: detected.attributes.get(SERVICE_INSTANCE_ID) or str(uuid4())}
    named = OTELResourceDetector().detect().attributes
    return detected.merge(Resource({**ours, **named, **settings.resource_attributes}))


def _first(error: BaseException) -> BaseException:
    """Return what was at the beginning of *error*: the other ones may repeat the address with its query."""
    seen: set[int] = set()
    while id(error) not in seen:
        seen.add(id(error))
        error = error.__cause__ or error.__context__ or error
    return error


def _seconds(retry_after: str) -> float | None:
    """Return how long that is, from now (RFC 9110, 10.2.3: seconds, or a date); `None`: it says neither."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after[:9])
    try:
        then = parsedate_to_datetime(retry_after)
    except (TypeError, ValueError):
        return None
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max(0.0, (then - datetime.now(UTC)).total_seconds())


def unusable_environment() -> str:
    """Return why the environment names no receiver that can be told; empty: it does."""
    variable = address_variable()
    address = os.environ.get(variable)
    if not address:
        return "no meter provider and no address: set exporters.opentelemetry.endpoint"
    if not _URL.match(address):
        return f"{variable}: a URL such as http://collector:4318, or set exporters.opentelemetry.endpoint"
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if (protocol or "http/protobuf") != "http/protobuf":
        return "OTEL_EXPORTER_OTLP_PROTOCOL: only http/protobuf is spoken; set exporters.opentelemetry.endpoint"
    return ""


def address_variable() -> str:
    """Return the variable of the environment that says where the receiver is, or could say it."""
    signal = "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"
    return signal if os.environ.get(signal) else "OTEL_EXPORTER_OTLP_ENDPOINT"


def _not_of_ours(_record: logging.LogRecord) -> bool:
    """Return whether a record of the exporter's comes of somebody else's use: what comes of ours, our own log tells."""
    return not threading.current_thread().name.endswith(f"-{THREAD}")
