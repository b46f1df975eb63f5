"""The base of kustomize is the plain manifests, and its overlay changes what it says."""

from __future__ import annotations

import pytest

from command import run
from manifests import assert_valid, kustomized, pod, read


@pytest.fixture
def written(tmp_path):
    """Write the target with options; answers the folder and the plain objects of the same options."""

    def write(*options):
        port = {"TASKER_GUARD__PORT": "8081"}
        done = run("deploy", "kustomize", *options, "--output", str(tmp_path / "out"), **port)
        assert done.returncode == 0, done.stderr
        plain = run("deploy", "kubernetes", *options, "--output", str(tmp_path / "plain"), **port)
        assert plain.returncode == 0, plain.stderr
        text = "---\n".join(each.read_text() for each in sorted((tmp_path / "plain").iterdir()))
        return tmp_path / "out", read(text)

    return write


@pytest.mark.parametrize("options", [(), ("--form", "sidecar", "--namespace", "shop", "--service-monitor")])
def test_the_base_is_the_plain_manifests(options, written):
    """Object by object, as kubectl's own kustomize renders them."""
    folder, plain = written(*options)
    base = kustomized(folder / "base")
    assert base == plain
    assert_valid(base)


@pytest.mark.parametrize(
    "image", ["orders:1.2.3", "registry.internal:5000/shop/orders", "registry.internal:5000/shop/orders:7"]
)
def test_the_overlay_changes_replicas_tag_and_memory_and_nothing_else(image, written):
    """It is an example that works as it is."""
    folder, plain = written("--image", image)
    file = folder / "overlays" / "example" / "kustomization.yaml"
    tag = image.rpartition(":")[2] if "/" not in image.rpartition(":")[2] else "latest"
    assert f'newTag: "{tag}"' in file.read_text()
    file.write_text(file.read_text().replace(f'newTag: "{tag}"', "newTag: new").replace("count: 3", "count: 5"))
    changed = kustomized(file.parent)
    assert_valid(changed)
    assert changed["Deployment"]["spec"]["replicas"] == 5
    (container,) = pod(changed)["containers"]
    assert container["image"] == image.removesuffix(f":{tag}") + ":new"
    assert container["resources"]["limits"] == {"memory": "1Gi"}
    (before,) = pod(plain)["containers"]
    container |= {"image": before["image"], "resources": before["resources"]}
    changed["Deployment"]["spec"]["replicas"] = 3
    assert changed == plain


def test_several_files_want_a_folder():
    """One line that names them and the remedy; nothing is printed."""
    done = run("deploy", "kustomize", TASKER_GUARD__PORT="8081")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("tasker-health: base/kustomization.yaml, base/deployment.yaml, ")
    assert done.stderr.endswith(": several files; name a folder for them with --output\n")
