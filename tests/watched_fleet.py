"""Three replicas and a real Prometheus that watches them with what `deploy prometheus` has written."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from caches import RedisServer
from command import run
from contract.tasker_backend import TaskerOnPostgres
from dbos_tables import empty_engine
from prometheus_servers import PrometheusServer
from scrape_recorder import ScrapeRecorder
from served import Served
from server import free_port
from servers import PostgresServer

TEXT = "text/plain;version=0.0.4"
REPLICAS = 3
JOB = "orders"
STATUS_SECONDS, STALE_SECONDS, INTERVAL_SECONDS = 0.5, 2, 2
SETTINGS = {
    "TASKER_HEALTH__SERVICE_NAME": JOB,
    "TASKER_HEALTH__CACHE_DURATION_SECONDS": "0.2",
    "TASKER_HEALTH__STATUS_TIMEOUT_SECONDS": str(STATUS_SECONDS),
    "TASKER_HEALTH__READINESS_TIMEOUT_SECONDS": str(STATUS_SECONDS),
    "TASKER_HEALTH__STATUS_MAX_STALE_SECONDS": str(STALE_SECONDS),
}


@dataclass
class WatchedFleet:
    """Servers of ours and the Prometheus that scrapes them.

    Attributes:
        engine: Tasker's tables in `postgres`, which the replicas read.
        replicas: Their addresses; the job `orders` scrapes them.
        servers: The same replicas.
        single: Reads an engine of DBOS in SQLite.
        unhealthy: Reads an engine whose tables are not there.
        asked: What is said between Prometheus and `single`: as Prometheus asks, and asked for text.
        dashboard: What Grafana is given.
    """

    postgres: PostgresServer
    engine: TaskerOnPostgres
    replicas: list[str]
    servers: list[Served]
    single: Served
    unhealthy: Served
    asked: dict[str, ScrapeRecorder]
    prometheus: PrometheusServer
    dashboard: dict[str, Any]


@contextlib.contextmanager
def watched_fleet(folder: Path) -> Iterator[WatchedFleet]:
    """Yield all of them, running and scraped."""
    with contextlib.ExitStack() as running:
        ports = [free_port() for _ in range(REPLICAS + 2)]
        addresses = [f"127.0.0.1:{port}" for port in ports]
        asked = {
            name: running.enter_context(ScrapeRecorder(addresses[REPLICAS], accept))
            for name, accept in (("openmetrics", None), ("text", TEXT))
        }
        jobs = {name: recorder.address for name, recorder in asked.items()} | {"unhealthy": addresses[-1]}
        files, dashboard = _deployed(folder, addresses[:REPLICAS], jobs)
        prometheus = PrometheusServer(files)  # first: it takes seconds before it scrapes anybody
        running.callback(prometheus.end)
        postgres = PostgresServer()
        running.callback(postgres.end)
        cache = RedisServer()
        running.callback(cache.end)
        engine = TaskerOnPostgres(postgres)
        engine.write(engine.lively, engine.now_ms())
        fleet = {
            **_source("tasker", engine.url),
            "TASKER_SOURCES__SHOP__BREAKDOWN": "namespaces",
            "TASKER_CACHE__URL": cache.url,
            "TASKER_EXPORTERS__DATADOG__ENABLED": "true",
            "TASKER_EXPORTERS__DATADOG__ADDRESS": f"127.0.0.1:{free_port()}",
            "TASKER_EXPORTERS__DATADOG__INTERVAL_SECONDS": "1",
        }
        (folder / "empty.sqlite").touch()
        alone = [
            _source("dbos", f"sqlite:///{file}")
            for file in (empty_engine(folder / "engine.sqlite"), folder / "empty.sqlite")
        ]
        *servers, single, unhealthy = _started(running, ports, [*([fleet] * REPLICAS), *alone])
        prometheus.wait_for_scrapes(REPLICAS + len(jobs))
        yield WatchedFleet(
            *(postgres, engine, addresses[:REPLICAS], servers, single, unhealthy, asked, prometheus, dashboard)
        )


def _started(running: contextlib.ExitStack, ports: list[int], variables: list[dict[str, str]]) -> list[Served]:
    """Return servers on *ports*, started side by side, which end with *running*."""
    servers: list[Served] = []
    running.callback(_end, servers)  # those that were started are ended, also where another one was not

    def start(port: int, own: dict[str, str]) -> Served:
        server = Served(**SETTINGS, **own, TASKER_SERVER__PORT=str(port))
        servers.append(server)
        return server

    with ThreadPoolExecutor() as threads:
        return list(threads.map(start, ports, variables))


def _end(servers: list[Served]) -> None:
    """End *servers* side by side; each must end cleanly."""
    with ThreadPoolExecutor() as threads:
        codes = list(threads.map(Served.stop, servers))
    logs = [server.log for server in servers]
    for server in servers:
        server.close()
    assert codes == [0] * len(servers), logs
    assert not [log for log in logs if "Traceback" in log or "Warning" in log]


def _source(kind: str, url: str) -> dict[str, str]:
    return {"TASKER_DATABASE__URL": url, "TASKER_SOURCES__SHOP__KIND": kind}


def _deployed(folder: Path, replicas: list[str], jobs: Mapping[str, str]) -> tuple[dict[str, str], dict[str, Any]]:
    """Return what `deploy prometheus` writes for *replicas*, with *jobs* beside them, and the dashboard."""
    servers = [word for address in replicas for word in ("--server", address)]
    pace = ("--interval", str(INTERVAL_SECONDS), "--for-seconds", "0")
    done = run(
        *("deploy", "prometheus", *servers, *pace, "--output", str(folder / "monitoring")),
        **{**SETTINGS, "TASKER_GUARD__PORT": "8081"},
    )
    assert done.returncode == 0, done.stderr
    files = {file.name: file.read_text() for file in (folder / "monitoring" / "prometheus").iterdir()}
    configuration = yaml.safe_load(files["prometheus.yml"])
    configuration["scrape_configs"] += [
        {"job_name": name, "metrics_path": "/tasker/metrics", "static_configs": [{"targets": [address]}]}
        for name, address in jobs.items()
    ]
    files["prometheus.yml"] = yaml.safe_dump(configuration)
    return files, json.loads((folder / "monitoring" / "grafana" / "dashboard.json").read_text())
