"""Manifests: valid, of figures that agree, without a secret, and refused in one line when they would contradict."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

import canary
from command import run
from manifests import assert_valid, files, plain, pod, printed, probed, read, told
from server import missing_part
from tasker_health.deploy import kubernetes
from tasker_health.deploy.workload import Workload
from tasker_health.errors import ConfigurationError

PAGE = Path(__file__).parents[3] / "docs" / "deploy" / "kubernetes.md"
EVERYTHING = {
    "TASKER_SERVER__PREFIX": "/ops",
    "TASKER_GUARD__AGENT_PORT": "8082",
    "TASKER_GRPC__ENABLED": "true",
    "TASKER_EXPORTERS__PROMETHEUS__ACCESS": "token",
    "TASKER_HEALTH__SERVICE_NAME": "on",
    "TASKER_HEALTH__STATUS_TIMEOUT_SECONDS": "40",
}


@pytest.mark.parametrize("form", ["in-app", "sidecar"])
@pytest.mark.parametrize("app_port", [None, 3000])
@pytest.mark.parametrize("startup_probe", [True, False])
@pytest.mark.parametrize("full", [False, True])
def test_every_form_is_valid(form, app_port, startup_probe, full):
    """Strictly, in the newest version and in the oldest."""
    workload = Workload(
        form=form,
        app_port=app_port,
        startup_probe=startup_probe,
        service_monitor=full,
        prometheus_rule=full,
        namespace="no" if full else None,
    )
    secret = {"TASKER_EXPORTERS__PROMETHEUS__TOKEN": canary.secret("metrics")} if full else {}
    objects = plain(workload, **(EVERYTHING if full else {}), **secret)
    kinds = {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"}
    assert set(objects) == (kinds | {"ServiceMonitor", "PrometheusRule"} if full else kinds)
    assert_valid(objects)
    named = {(each["metadata"]["name"], each["metadata"].get("namespace")) for each in objects.values()}
    assert named == {("on", "no") if full else ("tasker", None)}


def test_the_figures_are_the_guides_and_agree():
    """The guard is asked; the pod's address is listened at; it is ended only after preStop, drain and a margin."""
    objects = plain()
    container = probed(objects)
    figures = {
        name: {k: v for k, v in container[name].items() if k != "httpGet"} for name in container if "Probe" in name
    }
    assert figures == {
        "startupProbe": {"periodSeconds": 1, "timeoutSeconds": 1, "failureThreshold": 60},
        "readinessProbe": {"periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 3},
        "livenessProbe": {"periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3},
    }
    asked = {name: container[name]["httpGet"] for name in figures}
    assert asked == {
        "startupProbe": {"path": "/tasker/health/startup", "port": 8081},
        "readinessProbe": {"path": "/tasker/health/ready", "port": 8081},
        "livenessProbe": {"path": "/tasker/health/live", "port": 8081},
    }
    address = {"fieldRef": {"fieldPath": "status.podIP"}}
    sources = {each["name"]: each.get("valueFrom") for each in container["env"]}
    assert sources["TASKER_SERVER__HOST"] == sources["TASKER_GUARD__HOST"] == address
    assert told(container)["TASKER_GUARD__ENABLED"] == "true"
    sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    drain = float(told(container)["TASKER_SERVER__DRAIN_SECONDS"])
    assert (sleep, drain, pod(objects)["terminationGracePeriodSeconds"]) == (10, 20, 40)


def test_without_a_startup_probe_the_others_wait_for_their_delays():
    """10 and 30 seconds, as in the guide."""
    container = probed(plain(Workload(startup_probe=False)))
    assert "startupProbe" not in container
    assert container["readinessProbe"]["initialDelaySeconds"] == 10
    assert container["livenessProbe"]["initialDelaySeconds"] == 30


@pytest.mark.parametrize("form", ["in-app", "sidecar"])
def test_containers_may_do_next_to_nothing(form):
    """Not root, nothing written but /tmp, no capability, no service account's token, the runtime's own seccomp."""
    spec = pod(plain(Workload(form=form)))
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["runAsUser"] > 0
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    containers = [*spec.get("initContainers", []), *spec["containers"]]
    assert len(containers) == (2 if form == "sidecar" else 1)
    empty = {each["name"] for each in spec["volumes"] if "emptyDir" in each}
    for container in containers:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {each["mountPath"]: each["name"] in empty for each in container["volumeMounts"]} == {"/tmp": True}
        assert container["resources"]["requests"]["memory"]
        assert "cpu" not in container["resources"]["limits"]


def test_a_sidecar_starts_first_and_ends_last():
    """It alone is probed; the application ends within the grace; one that serves nothing has no port."""
    objects = plain(Workload(form="sidecar", image="crew:1", worker_seconds=120))
    (sidecar,), (worker,) = pod(objects)["initContainers"], pod(objects)["containers"]
    assert sidecar is probed(objects)
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["command"] == ["tasker-health", "serve"]
    assert (worker["image"], worker.get("ports"), worker.get("lifecycle")) == ("crew:1", None, None)
    assert pod(objects)["terminationGracePeriodSeconds"] == 120 + 20 + 10
    assert [each["name"] for each in objects["Service"]["spec"]["ports"]] == ["health"]
    serving = plain(Workload(form="sidecar", app_port=3000))
    assert pod(serving)["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 10}}}
    assert pod(serving)["terminationGracePeriodSeconds"] == 10 + 30 + 20 + 10
    assert {each["name"]: each["targetPort"] for each in serving["Service"]["spec"]["ports"]} == {
        "http": 3000,
        "health": 8080,
    }


@pytest.mark.parametrize("form", ["in-app", "sidecar"])
def test_no_rule_lets_anybody_but_the_node_probe(form):
    """The guard's port is in no rule; what is served is; and each port of a rule is one of a container."""
    objects = plain(Workload(form=form, app_port=3000), TASKER_GRPC__ENABLED="true")
    rules = objects["NetworkPolicy"]["spec"]["ingress"]
    opened = [port["port"] for rule in rules for port in rule["ports"]]
    assert opened == ([3000, 8080, 50051] if form == "sidecar" else [3000, 50051])
    containers = [*pod(objects).get("initContainers", []), *pod(objects)["containers"]]
    assert set(opened) == {port["containerPort"] for each in containers for port in each["ports"]} - {8081}
    assert [rule for rule in rules if "from" not in rule] == [{"ports": [{"port": 3000}]}]
    assert [rule["from"] for rule in rules if "from" in rule] == [[{"namespaceSelector": {}}]]


def test_without_a_guard_the_service_itself_is_probed():
    """In-app at the application's port; a sidecar with a certificate over TLS."""
    asked = probed(plain(Workload(app_port=3000), TASKER_GUARD__ENABLED="false"))["livenessProbe"]["httpGet"]
    assert asked == {"path": "/tasker/health/live", "port": 3000}
    tls = {"TASKER_SERVER__TLS_CERTIFICATE_FILE": "/tls/crt", "TASKER_SERVER__TLS_KEY_FILE": "/tls/key"}
    objects = plain(Workload(form="sidecar", service_monitor=True), TASKER_GUARD__ENABLED="false", **tls)
    assert probed(objects)["livenessProbe"]["httpGet"]["scheme"] == "HTTPS"
    assert objects["ServiceMonitor"]["spec"]["endpoints"][0]["scheme"] == "https"
    assert_valid(objects)


def test_metrics_are_scraped_where_they_are():
    """At a port of the Service, under the prefix, with the token of the Secret, and no sooner than they can be told."""
    token = canary.secret("metrics")
    for form, port in (("in-app", "http"), ("sidecar", "health")):
        objects = plain(
            Workload(form=form, service_monitor=True), **EVERYTHING, TASKER_EXPORTERS__PROMETHEUS__TOKEN=token
        )
        (endpoint,) = objects["ServiceMonitor"]["spec"]["endpoints"]
        assert endpoint == {
            "port": port,
            "path": "/ops/metrics",
            "interval": "45s",
            "scrapeTimeout": "45s",
            "authorization": {"credentials": {"name": "on-health", "key": "exporters.prometheus.token"}},
        }
        assert port in {each["name"] for each in objects["Service"]["spec"]["ports"]}
        selector = objects["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
        assert selector == objects["Service"]["metadata"]["labels"]


def test_secrets_are_files_of_a_secret_that_is_made_elsewhere(tmp_path):
    """The container is told names of files in a folder where the Secret is; its values are nowhere."""
    password = canary.secret("database")
    url = f"postgresql://health:{password}@db/orders"
    done = run("deploy", "kubernetes", "--namespace", "shop", TASKER_DATABASE__URL=url, TASKER_GUARD__PORT="8081")
    assert done.returncode == 0, done.stderr
    objects = read(done.stdout)
    assert told(probed(objects))["TASKER_DATABASE__URL_FILE"] == "/run/secrets/tasker-health/database.url"
    assert "TASKER_DATABASE__URL" not in told(probed(objects))
    mounts = {each["name"]: each["mountPath"] for each in probed(objects)["volumeMounts"]}
    assert mounts["secrets"] == "/run/secrets/tasker-health"
    (volume,) = [each for each in pod(objects)["volumes"] if each["name"] == "secrets"]
    assert volume["secret"] == {"secretName": "tasker-health", "defaultMode": 0o440}
    assert done.stdout.startswith("# The pods wait for a Secret")
    assert "kubectl create secret generic tasker-health --namespace shop" in done.stdout
    assert "--from-file=database.url=database.url\n" in done.stdout


@pytest.mark.parametrize("name", ["a $(HOME) $$ $x", "on: off # no", 'x \U0001f600 \u2028 {{ .x }} "', "x << y >>"])
def test_a_value_is_handed_over_letter_by_letter(name):
    """Whatever YAML or Kubernetes would make of it: its references $(NAME) are undone by a second dollar sign."""
    written = told(probed(plain(TASKER_HEALTH__SERVICE_NAME=name)))["TASKER_HEALTH__SERVICE_NAME"]
    assert written.replace("$$", "$") == name
    assert "$" not in written.replace("$$", "")


@pytest.mark.parametrize(
    ("options", "variables", "line"),
    [
        ({"replicas": 0}, {}, "--replicas 0: 1 to 100000"),
        ({"replicas": 2**31}, {}, "--replicas 2147483648: 1 to 100000"),
        ({"worker_seconds": -1}, {}, "--worker-seconds -1: 0 to 315360000"),
        ({"worker_seconds": 10**20}, {}, "--worker-seconds 100000000000000000000: 0 to 315360000"),
        ({"image": "a b"}, {}, "--image 'a b': the name of an image, such as orders:1.2.3"),
        ({"sidecar_image": ""}, {}, "--sidecar-image '': the name of an image, such as orders:1.2.3"),
        ({"namespace": "A"}, {}, "--namespace 'A': 1 to 63 of a-z, 0-9 and -, no - at an end"),
        ({"namespace": "a-"}, {}, "--namespace 'a-': 1 to 63 of a-z, 0-9 and -, no - at an end"),
        ({"app_port": 70000}, {}, "--app-port 70000: 1 to 65535"),
        ({"app_port": 8081}, {}, "--app-port 8081: the pod's containers share its ports; take another"),
        (
            {"form": "sidecar", "app_port": 8080},
            {},
            "--app-port 8080: the pod's containers share its ports; take another",
        ),
        (
            {"service_monitor": True},
            {"TASKER_EXPORTERS__PROMETHEUS__ENABLED": "false"},
            "exporters.prometheus.enabled = false: true with --service-monitor",
        ),
        (
            {"prometheus_rule": True},
            {"TASKER_EXPORTERS__PROMETHEUS__ENABLED": "false"},
            "exporters.prometheus.enabled = false: true with --prometheus-rule",
        ),
        (
            {},
            {"TASKER_GRPC__ENABLED": "true", "TASKER_GRPC__PORT": "0"},
            "grpc.port = 0: a deployment needs the number of a port",
        ),
        (
            {"form": "sidecar"},
            {"TASKER_HEALTH__SERVICE_NAME": "Health"},
            "health.service_name = 'health': another name than that of the sidecar",
        ),
        ({}, {"TASKER_GUARD__PORT": "0"}, "guard.port = 0: a deployment needs the number of a port"),
    ],
)
def test_what_contradicts_itself_is_one_line(options, variables, line):
    """The thing, the value, the remedy."""
    with pytest.raises(ConfigurationError) as raised:
        files(kubernetes, Workload(**options), **variables)
    assert str(raised.value) == line


@pytest.mark.parametrize("target", ["kubernetes", "kustomize", "helm"])
def test_nothing_is_written_of_what_contradicts_itself(target, tmp_path):
    """The command ends with 2 and its line."""
    done = run("deploy", target, "--replicas", "0", "--output", str(tmp_path / "out"), TASKER_GUARD__PORT="8081")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "tasker-health: --replicas 0: 1 to 100000\n"
    assert not (tmp_path / "out").exists()


def test_rules_are_about_the_series_of_this_service_alone(tmp_path):
    """The same service in another namespace has rules of its own; Prometheus takes what the operator hands on."""
    if shutil.which("promtool") is None:
        missing_part("promtool is not here: apt-get install prometheus")
    variables = {"TASKER_HEALTH__SERVICE_NAME": "Orders", "TASKER_HEALTH__DEGRADED_BLOCKED_TASKS": "7"}
    rule = plain(Workload(namespace="shop", prometheus_rule=True), **variables)["PrometheusRule"]
    rules = [each for group in rule["spec"]["groups"] for each in group["rules"]]
    for each in rules:
        assert 'namespace="shop", job="orders"' in each["expr"], each
        assert each["expr"].count('job="') == each["expr"].count('namespace="shop", job="orders"')
    assert any("blocked_tasks" in each["expr"] and ">= 7" in each["expr"] for each in rules)
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rule["spec"]))
    assert "SUCCESS" in printed(["promtool", "check", "rules", "--lint-fatal", str(tmp_path / "rules.yml")])


def test_files_are_not_overwritten(tmp_path):
    """Without --force nothing changes; with it, everything is written."""
    (tmp_path / "servicemonitor.yaml").write_text("mine")
    words = ["deploy", "kubernetes", "--service-monitor", "--output", str(tmp_path)]
    done = run(*words, TASKER_GUARD__PORT="8081")
    assert done.returncode == 2
    assert "--force replaces it" in done.stderr
    assert [each.read_text() for each in tmp_path.iterdir()] == ["mine"]
    done = run(*words, "--force", TASKER_GUARD__PORT="8081")
    assert done.stderr.splitlines() == [str(tmp_path / name) for name in ("kubernetes.yaml", "servicemonitor.yaml")]
    assert yaml.safe_load((tmp_path / "servicemonitor.yaml").read_text())["kind"] == "ServiceMonitor"


def test_the_page_shows_what_the_command_prints():
    """Letter by letter, for the default settings."""
    done = run("deploy", "kubernetes", TASKER_GUARD__PORT="8081")
    assert f"```yaml\n{done.stdout}```\n" in PAGE.read_text()
