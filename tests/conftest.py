"""What every test shares: the real servers, the watch over secrets, and how generated examples are run."""

from __future__ import annotations

import gc
import importlib
import pkgutil

from hypothesis import HealthCheck, settings

import tasker_health

pytest_plugins = ["canary", "servers", "caches"]

# pytest rewrites the modules of a package that has a plugin, and CPython 3.11 may fail to parse in two threads at a
# time ("AST constructor recursion depth mismatch"). So everything is imported here, before there is a second thread.
for _each in pkgutil.walk_packages(tasker_health.__path__, "tasker_health."):
    if not _each.name.endswith((".__main__", ".django.urls")):  # those do something when they are imported
        importlib.import_module(_each.name)

# Examples ask real databases on a shared machine: their speed is no property under test. They are the same in each
# run, so that a change is not blamed for another one's fault; `--hypothesis-profile=explore` draws new and more.
_ALWAYS = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("house", derandomize=True, **_ALWAYS)
settings.register_profile("explore", max_examples=2000, **_ALWAYS)
settings.load_profile("house")


def pytest_collection_finish():
    """Keep what is imported and collected out of the garbage collector: it stopped every event loop for 0.25 s."""
    gc.collect()
    gc.freeze()
