"""One file an engine, each with `attachment_of(it)`; see `tasker_health.workers.attachment`."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from tasker_health.errors import ConfigurationError
from tasker_health.workers.attachment import Attachment

_PACKAGES = {"temporalio": "temporal"}
"""Engines whose package has another name than they."""


def attachment_of(it: Any) -> Attachment:
    """Return what joins *it*: an engine's application, broker, worker or client.

    The engine is the package that its type is of, or one that it is derived from.

    Raises:
        ConfigurationError: It is of no engine that is known here.
    """
    kind = it if isinstance(it, type) else type(it)
    for each in kind.__mro__:
        package = each.__module__.partition(".")[0]
        name = f"{__name__}.{_PACKAGES.get(package, package)}"
        if package.isidentifier() and not package.startswith("_") and package != "builtins" and find_spec(name):
            made: Attachment = import_module(name).attachment_of(it)
            return made
    raise ConfigurationError(
        f"health.worker({kind.__module__}.{kind.__qualname__}): no engine that is known; leave it out, and tell what"
        " runs with `worker.task(id, name)`"
    )
