"""The real Prometheus and the real Alertmanager, on free ports of the loopback interface, with folders of their own.

Debian's packages `prometheus` (with `promtool`) and `prometheus-alertmanager` (with `amtool`). Where a program is
absent the test is skipped and says why; with `CI` set it fails.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml

from server import PATIENCE_SECONDS, Server, missing_part

_PACKAGES = {"promtool": "prometheus", "amtool": "prometheus-alertmanager"}


class _Daemon(Server):
    """A server that is made of files and answers over HTTP.

    Args:
        files: Its configuration, by name; it stands in its folder.
    """

    first_database = ""
    stop_signal = signal.SIGTERM
    end_signal = signal.SIGKILL
    program: str

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self._client = httpx.Client(timeout=PATIENCE_SECONDS)
        super().__init__()

    @property
    def address(self) -> str:
        """Where it listens, as `host:port`."""
        return f"127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has written so far."""
        return (self.folder / "log").read_text(errors="replace")

    def execute(self, *statements: str, database: str | None = None) -> None:
        """Refuse: there is no SQL here."""
        raise NotImplementedError

    def write(self, files: Mapping[str, str]) -> None:
        """Put *files* into its folder."""
        for name, text in files.items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def reload(self, files: Mapping[str, str]) -> None:
        """Have it read *files* in place of what it was told before."""
        self.write(files)
        answer = self._client.post(f"http://{self.address}/-/reload")
        assert answer.status_code == 200, answer.text

    def end(self) -> None:
        """End it, and remove its data."""
        super().end()
        self._client.close()

    def _initialise(self) -> None:
        program(self.program)
        self.data.mkdir()
        if os.geteuid() == 0:
            shutil.chown(self.data, "nobody")
        self.write(self._files)

    def _answers(self) -> bool:
        try:
            return self._client.get(f"http://{self.address}/-/ready").status_code == 200
        except httpx.TransportError:
            return False

    def _get(self, path: str, **parameters: Any) -> Any:
        answer = self._client.get(f"http://{self.address}/api/{path}", params=parameters)
        assert answer.status_code == 200, f"{path} {parameters}: {answer.text}"
        return answer.json()


class PrometheusServer(_Daemon):
    """Prometheus of the Debian package `prometheus`; its configuration is the file `prometheus.yml`."""

    backend = "prometheus"
    program = "prometheus"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return what *expression* answers now, each with its `metric` and its `value`.

        A query that is wrong fails the test, and one that Prometheus warns of, too.
        """
        answer = self._get("v1/query", query=expression)
        assert "warnings" not in answer, f"{expression}: {answer['warnings']}"
        data = answer["data"]
        return data["result"] if data["resultType"] in {"vector", "matrix"} else [{"metric": {}, "value": data}]

    def value(self, expression: str) -> float | None:
        """Return the one figure that *expression* answers, or `None` where it answers nothing."""
        found = self.query(expression)
        assert len(found) <= 1, f"{expression}: {found}"
        return float(found[0]["value"][1]) if found else None

    def metadata(self, target: str) -> dict[str, dict[str, str]]:
        """Return type and help of every metric of the targets that *target*, a selector, names."""
        found = self._get("v1/targets/metadata", match_target=target)["data"]
        return {each["metric"]: {"type": each["type"], "help": each["help"]} for each in found}

    def targets(self) -> list[dict[str, Any]]:
        """Return what is scraped, and how the last scrape went."""
        return self._get("v1/targets", state="active")["data"]["activeTargets"]

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule that it evaluates, with its state, its `health` and its `lastError`."""
        groups = self._get("v1/rules")["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def alert_state(self, name: str) -> str:
        """Return how the alert *name* is: `inactive`, `pending` or `firing`."""
        (found,) = [rule["state"] for rule in self.rules() if rule["name"] == name]
        return found

    def wait_for_scrapes(self, count: int) -> None:
        """Wait until *count* targets are up."""
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            targets = self.targets()
            if sum(target["health"] == "up" for target in targets) == count:
                return
            said = {target["scrapeUrl"]: target["lastError"] for target in targets}
            assert time.monotonic() < ends_at, f"not within {PATIENCE_SECONDS} s: {count} targets are up: {said}"
            time.sleep(0.05)

    def _command(self) -> list[str]:
        return [
            *(program(self.program), f"--config.file={self.folder / 'prometheus.yml'}"),
            *(f"--web.listen-address={self.address}", f"--storage.tsdb.path={self.data}"),
            *("--web.enable-lifecycle", "--log.level=warn"),
        ]


class AlertmanagerServer(_Daemon):
    """Alertmanager of the Debian package `prometheus-alertmanager`; its configuration is `alertmanager.yml`."""

    backend = "alertmanager"
    program = "prometheus-alertmanager"

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are active, those that are inhibited, too."""
        return self._get("v2/alerts")

    def alert(self, **labels: str) -> dict[str, Any] | None:
        """Return the active alert with *labels*, or `None`."""
        found = [alert for alert in self.alerts() if labels.items() <= alert["labels"].items()]
        assert len(found) <= 1, found
        return found[0] if found else None

    def send(self, *alerts: Mapping[str, Any]) -> None:
        """Tell it *alerts*, as Prometheus does."""
        answer = self._client.post(f"http://{self.address}/api/v2/alerts", json=list(alerts))
        assert answer.status_code == 200, answer.text

    def _command(self) -> list[str]:
        return [
            *(program(self.program), f"--config.file={self.folder / 'alertmanager.yml'}"),
            *(f"--web.listen-address={self.address}", f"--storage.path={self.data}", "--cluster.listen-address="),
            "--log.level=warn",
        ]


def program(name: str) -> str:
    """Return the path of *name*, one of the programs of the two packages."""
    found = shutil.which(name)
    if found is None:
        missing_part(f"{name} is not here: apt-get install {_PACKAGES.get(name, name)}")
    return str(found)


def run(name: str, *arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Return the finished program *name* of the two packages, with *text* as its standard input."""
    return subprocess.run(
        [program(name), *map(str, arguments)],
        input=text,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


def configuration(jobs: Mapping[str, Mapping[str, Any]], **more: Any) -> dict[str, str]:
    """Return the files of a Prometheus that scrapes *jobs* every second.

    Args:
        jobs: Of each job its `targets`, and what else stands in its `scrape_config`.
        more: Other parts of `prometheus.yml`.
    """
    scrapes = [
        {
            "job_name": name,
            "metrics_path": "/tasker/metrics",
            "static_configs": [{"targets": list(job["targets"])}],
            **{key: value for key, value in job.items() if key != "targets"},
        }
        for name, job in jobs.items()
    ]
    every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    return {"prometheus.yml": yaml.safe_dump({"global": every, "scrape_configs": scrapes, **more})}
