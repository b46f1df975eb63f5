"""What every test shares: the real servers, the watch over secrets, and how generated examples are run."""

from __future__ import annotations

import gc
import importlib
import pkgutil
from pathlib import Path

from hypothesis import HealthCheck, settings

import tasker_health

pytest_plugins = ["canary", "servers", "caches"]

# pytest rewrites the modules of a package that has a plugin, and CPython 3.11 may fail to parse in two threads at a
# time ("AST constructor recursion depth mismatch"). So everything is imported here, before there is a second thread.
for _each in pkgutil.walk_packages(tasker_health.__path__, "tasker_health."):
    if not _each.name.endswith((".__main__", ".django.urls", ".migrations.env")):  # they do something then
        importlib.import_module(_each.name)

# Examples ask real databases on a shared machine: their speed is no property under test. They are the same in each
# run, so that a change is not blamed for another one's fault; `--hypothesis-profile=explore` draws new and more.
_ALWAYS = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("house", derandomize=True, **_ALWAYS)
settings.register_profile("explore", max_examples=2000, **_ALWAYS)
settings.load_profile("house")

LONGEST_FIRST = (
    *("contract/test_sources.py", "integration/test_tasker_tally.py", "e2e/test_demo.py", "e2e/test_docker.py"),
    *("e2e/test_wsgi.py", "faults/test_database_away.py", "e2e/test_monitoring.py", "e2e/test_monitoring_scrapes.py"),
    *("e2e/test_doctor_database.py", "integration/test_dbos_tally.py", "integration/test_django_checks.py"),
    *("integration/test_migrations.py", "e2e/test_tls.py", "e2e/test_secrets.py", "contract/test_dependencies.py"),
    *("faults/test_alerts.py", "integration/test_alerts.py", "integration/test_alert_channels.py"),
    *("integration/test_django_users.py", "contract/test_caches.py", "e2e/test_guard_workers.py", "e2e/test_guard.py"),
    *("types/test_users_code.py", "e2e/test_restarts.py", "integration/test_doctor_cache.py"),
    *("integration/test_framework_django.py", "e2e/test_token_command.py", "docs/test_pages.py"),
    *("e2e/test_examples.py", "e2e/test_commands.py", "integration/test_sql_cache.py", "contract/test_frameworks.py"),
    *("unit/cli/test_serve.py", "e2e/test_systemd.py", "e2e/test_deploy_balancers.py", "e2e/test_schemathesis.py"),
)
"""Files of the most seconds. They go first, so that the last minutes of a run are made of short ones for everybody."""


def pytest_collection_modifyitems(items):
    """Put the files that take longest first; within a file nothing changes."""
    place = {Path(__file__).parent / name: at for at, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


def pytest_collection_finish():
    """Keep what is imported and collected out of the garbage collector: it stopped every event loop for 0.25 s."""
    gc.collect()
    gc.freeze()
