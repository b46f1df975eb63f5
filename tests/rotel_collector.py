"""OpenTelemetry's other side: a receiver of OTLP that decodes, and a real collector that hands on to it.

The collector is rotel, a program in a wheel. It speaks OTLP over HTTP to both sides.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import httpx
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

import canary
from server import missing_part, wait_until

CUMULATIVE = 2
"""AggregationTemporality of the protocol."""


class Answer(NamedTuple):
    """What the receiver answers."""

    status: int = 200
    body: bytes = ExportMetricsServiceResponse().SerializeToString()
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/x-protobuf"),)


class Told(NamedTuple):
    """One metric as it came.

    Attributes:
        kind: Such as `gauge`.
        unit: As it came.
        points: By their attributes, sorted.
        data: All of it.
    """

    kind: str
    unit: str
    points: dict
    data: object


class OtlpReceiver:
    """Takes OTLP over HTTP on a free port, and keeps what came.

    Attributes:
        url: Where metrics are taken.
        requests: What came, decoded.
        headers: With which headers.
        answer: What is answered; called, it may take its time.
    """

    def __init__(self) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.answer: Answer | Callable[[], Answer] = Answer()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
                receiver.requests.append(ExportMetricsServiceRequest.FromString(body))
                with contextlib.suppress(OSError):
                    self._answer(receiver.answer if isinstance(receiver.answer, Answer) else receiver.answer())

            def _answer(self, answer: Answer) -> None:
                self.send_response(answer.status)
                for name, value in (*answer.headers, ("Content-Length", str(len(answer.body)))):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """Say nothing of whoever left."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1/metrics"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(30)

    def metrics(self, number: int = -1) -> dict[str, Told]:
        """Return what came with request *number* in the scope `tasker_health`, by name."""
        found = {}
        for resource in self.requests[number].resource_metrics:
            for scope in resource.scope_metrics:
                assert scope.scope.name == "tasker_health"
                found |= {metric.name: told_of(metric) for metric in scope.metrics}
        return found

    def resource(self, number: int = -1) -> dict[str, str]:
        """Return the attributes of the one resource of request *number*."""
        [resource] = self.requests[number].resource_metrics
        return {each.key: each.value.string_value for each in resource.resource.attributes}


def told_of(metric) -> Told:
    """Return *metric* of the protocol."""
    kind = metric.WhichOneof("data")
    data = getattr(metric, kind)
    points = {
        tuple(sorted((each.key, each.value.string_value) for each in point.attributes)): point
        for point in data.data_points
    }
    assert len(points) == len(data.data_points)
    return Told(kind, metric.unit, points, data)


def number_of(point) -> float:
    """Return the value of *point*."""
    return getattr(point, point.WhichOneof("value"))


@contextlib.contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """Yield a receiver that is listening."""
    receiver = OtlpReceiver()
    try:
        yield receiver
    finally:
        receiver.close()


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def collector(target: OtlpReceiver, folder: Path) -> Iterator[str]:
    """Yield the URL of a real collector that hands on to *target*; its files are in *folder*."""
    spec = find_spec("rotel")
    program = Path(str(spec.origin)).parent / "rotel-agent" if spec else None
    if program is None or not os.access(program, os.X_OK):
        missing_part("the wheel rotel has no program here")
    port = free_port()
    log = folder / "rotel.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(program, "start", f"--otlp-http-endpoint=127.0.0.1:{port}"),
                f"--otlp-grpc-endpoint=127.0.0.1:{free_port()}",
                f"--otlp-exporter-endpoint=http://127.0.0.1:{target.port}",
                *("--otlp-exporter-protocol=http", "--batch-timeout=20ms"),
                *(f"--pid-file={folder / 'rotel.pid'}", f"--log-file={folder / 'rotel.agent.log'}"),
            ],
            stdout=output,
            stderr=output,
            env={name: value for name, value in os.environ.items() if not name.startswith(("ROTEL_", "OTEL_"))},
        )
    url = f"http://127.0.0.1:{port}/v1/metrics"
    try:
        wait_until(lambda: process.poll() is not None or _answers(url), "the collector is listening")
        assert process.poll() is None, log.read_text()
        yield url
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()
        canary.look("the log of the collector", log.read_text(errors="replace"))


def _answers(url: str) -> bool:
    empty = ExportMetricsServiceRequest().SerializeToString()
    with contextlib.suppress(httpx.TransportError):
        headers = {"Content-Type": "application/x-protobuf"}
        return httpx.post(url, content=empty, headers=headers, timeout=5).status_code == 200
    return False
