"""The plain manifests as a base, and one overlay to begin with."""

from __future__ import annotations

from tasker_health.deploy import Files
from tasker_health.deploy.environment import Environment
from tasker_health.deploy.kubernetes import resources
from tasker_health.deploy.plan import Plan
from tasker_health.deploy.rendering import quoted, word
from tasker_health.deploy.rendering import render as rendered
from tasker_health.deploy.workload import Workload


def render(plan: Plan, environment: Environment, workload: Workload) -> Files:
    """Return `base/` with a file for each resource, and `overlays/example/`, which changes what is changed most often.

    Raises:
        ConfigurationError: *workload* contradicts itself or *plan*.
    """
    base = resources(plan, environment, workload)
    image, digest = (workload.image or f"{plan.name}:1.0.0").partition("@")[::2]
    image, tag = _named(image)
    values = {
        "files": list(base),
        "name": word(plan.name),
        "image": quoted(image),
        "tag": quoted(tag),
        "digest": digest,
        "replicas": workload.replicas,
    }
    return {
        "base/kustomization.yaml": rendered("kustomize/base.yaml", **values),
        **{f"base/{name}": text for name, text in base.items()},
        "overlays/example/kustomization.yaml": rendered("kustomize/overlay.yaml", **values),
    }


def _named(image: str) -> tuple[str, str]:
    """Return the name of *image* as kustomize knows it, and its tag; a port of its registry is none."""
    before, colon, tag = image.rpartition(":")
    return (before, tag) if colon and "/" not in tag else (image, "latest")
