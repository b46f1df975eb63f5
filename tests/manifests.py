"""Kubernetes' manifests as a test reads them: parsed, valid in more than one version, and found by kind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import yaml

from tasker_health.deploy import kubernetes
from tasker_health.deploy.environment import environment_of
from tasker_health.deploy.plan import plan_of
from tasker_health.deploy.workload import Workload
from tasker_health.deploy.writing import write
from tasker_health.loading import load_settings

OLDEST = "1.30.0"
"""The first that knows everything that is written: a `preStop` that sleeps is of 1.30."""

PATIENCE_SECONDS = 60
KUBECTL = str(Path(sys.executable).parent / "kubectl")

# What a ServiceMonitor may have, of the operator's own description of it; nothing here knows that kind.
_MONITOR = {"apiVersion", "kind", "metadata", "spec"}
_ENDPOINT = {"port", "path", "interval", "scrapeTimeout", "scheme", "tlsConfig", "authorization"}


def files(target, workload, **variables):
    """Return what *target* makes of one workload with these settings alone."""
    settings = load_settings(environ=variables)
    workload = (workload or Workload()).fitted(settings)
    plan = workload.placed(plan_of(settings))
    return target.render(plan, environment_of(settings, plan), workload)


def plain(workload=None, **variables):
    """Return the plain objects of one workload with these settings alone, by their kind."""
    return read("---\n".join(files(kubernetes, workload, **variables).values()))


def written(target, folder, workload=None, **variables):
    """Return *folder* with the files that *target* makes."""
    write(files(target, workload, **variables), folder, force=False)
    return folder


def read(text):
    """Return the objects of *text* by their kind; there is one of each."""
    objects = [each for each in yaml.safe_load_all(text) if each]
    found = {each["kind"]: each for each in objects}
    assert len(found) == len(objects), "two of a kind"
    return found


def assert_valid(objects):
    """Every object is what Kubernetes takes, strictly, in its newest version and in the oldest that we name."""
    for kind, each in objects.items():
        if kind in OF_THE_OPERATOR:
            OF_THE_OPERATOR[kind](each)
            continue
        for version in (kubernetes_validate.latest_version(), OLDEST):
            kubernetes_validate.validate(each, version, strict=True)


def assert_monitor(monitor):
    """A ServiceMonitor selects by labels, and names ports of a Service."""
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(monitor) == _MONITOR
    assert set(monitor["spec"]) == {"selector", "endpoints"}
    assert monitor["spec"]["selector"]["matchLabels"]
    for endpoint in monitor["spec"]["endpoints"]:
        assert set(endpoint) <= _ENDPOINT
        assert isinstance(endpoint["port"], str)
        assert endpoint["path"].startswith("/")
        assert int(endpoint["scrapeTimeout"][:-1]) <= int(endpoint["interval"][:-1])


def assert_rule(rule):
    """A PrometheusRule has groups of rules, as Prometheus' own files have them: what promtool says of those."""
    assert rule["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(rule) == _MONITOR
    assert set(rule["spec"]) == {"groups"}
    for group in rule["spec"]["groups"]:
        assert set(group) == {"name", "interval", "rules"}
        for each in group["rules"]:
            assert set(each) in ({"record", "expr"}, {"alert", "expr", "for", "labels", "annotations"})


OF_THE_OPERATOR = {"ServiceMonitor": assert_monitor, "PrometheusRule": assert_rule}


def kustomized(folder):
    """Return the objects that kubectl's own kustomize makes of *folder*, by their kind."""
    return read(printed([KUBECTL, "kustomize", str(folder)]))


def printed(words):
    """Return what a command printed that ended well."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    assert done.returncode == 0, (words, done.stdout, done.stderr)
    return done.stdout


def pod(objects):
    """Return the pod of the Deployment."""
    return objects["Deployment"]["spec"]["template"]["spec"]


def probed(objects):
    """Return the container that is probed."""
    each = [*pod(objects).get("initContainers", []), *pod(objects)["containers"]]
    (found,) = [container for container in each if "livenessProbe" in container]
    return found


def told(container):
    """Return the variables of *container* that have a value."""
    return {each["name"]: each["value"] for each in container["env"] if "value" in each}
