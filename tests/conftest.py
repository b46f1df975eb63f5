"""What every test shares: the real servers, the watch over secrets, and how generated examples are run."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

pytest_plugins = ["canary", "servers", "caches"]

# Examples ask real databases on a shared machine: their speed is no property under test. They are the same in each
# run, so that a change is not blamed for another one's fault; `--hypothesis-profile=explore` draws new and more.
_ALWAYS = {"deadline": None, "database": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("house", derandomize=True, **_ALWAYS)
settings.register_profile("explore", max_examples=2000, **_ALWAYS)
settings.load_profile("house")
