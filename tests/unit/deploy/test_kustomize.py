"""The base of kustomize is the plain manifests, and its overlay changes what it says."""

from __future__ import annotations

import pytest

from command import run
from manifests import assert_valid, kustomized, plain, pod, written
from tasker_health.deploy import kustomize
from tasker_health.deploy.workload import Workload


@pytest.mark.parametrize(
    "workload", [Workload(), Workload("sidecar", namespace="shop", service_monitor=True, prometheus_rule=True)]
)
def test_the_base_is_the_plain_manifests(workload, tmp_path):
    """Object by object, as kubectl's own kustomize renders them."""
    base = kustomized(written(kustomize, tmp_path, workload) / "base")
    assert base == plain(workload)
    assert_valid(base)


@pytest.mark.parametrize(
    "image", ["orders:1.2.3", "registry.internal:5000/shop/orders", "registry.internal:5000/shop/orders:7"]
)
def test_the_overlay_changes_replicas_tag_and_memory_and_nothing_else(image, tmp_path):
    """It is an example that works as it is."""
    workload = Workload(image=image)
    file = written(kustomize, tmp_path, workload) / "overlays" / "example" / "kustomization.yaml"
    tag = image.rpartition(":")[2] if "/" not in image.rpartition(":")[2] else "latest"
    assert f'newTag: "{tag}"' in file.read_text()
    file.write_text(file.read_text().replace(f'newTag: "{tag}"', "newTag: new").replace("count: 3", "count: 5"))
    changed = kustomized(file.parent)
    assert_valid(changed)
    assert changed["Deployment"]["spec"]["replicas"] == 5
    (container,) = pod(changed)["containers"]
    assert container["image"] == image.removesuffix(f":{tag}") + ":new"
    assert container["resources"]["limits"] == {"memory": "1Gi"}
    before = plain(workload)
    container |= {name: pod(before)["containers"][0][name] for name in ("image", "resources")}
    changed["Deployment"]["spec"]["replicas"] = 3
    assert changed == before


@pytest.mark.parametrize("image", ["shop/orders", "registry.internal:5000/orders:7"])
def test_the_overlay_keeps_a_digest(image, tmp_path):
    """What is pinned stays pinned: a new tag in its place would be another image."""
    digest = f"sha256:{'0123456789abcdef' * 4}"
    folder = written(kustomize, tmp_path, Workload(image=f"{image}@{digest}")) / "overlays" / "example"
    (container,) = pod(kustomized(folder))["containers"]
    name = image.removesuffix(":7")
    assert container["image"] in {f"{image}@{digest}", f"{name}@{digest}"}


def test_several_files_want_a_folder():
    """One line that names them and the remedy; nothing is printed."""
    done = run("deploy", "kustomize", TASKER_GUARD__PORT="8081")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tasker-health: base/kustomization.yaml, base/deployment.yaml, ")
    assert done.stderr.endswith(": several files; name a folder for them with --output\n")
