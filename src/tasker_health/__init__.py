"""Health endpoints for Python services and their workflow engines.

Everything here is imported at its first use, so that `import tasker_health` costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` has it, which imports `re`: the probe of a container starts every few seconds
if TYPE_CHECKING:
    from typing import Any

    from tasker_health.access import BaseCoordinator
    from tasker_health.errors import (
        AuthenticationError,
        CheckDegraded,
        CheckFailed,
        ConfigurationError,
        TaskerHealthError,
        UnauthorizedError,
    )
    from tasker_health.health import Health
    from tasker_health.loading import load_settings
    from tasker_health.model import (
        CheckResult,
        CheckStatus,
        Liveness,
        Readiness,
        Reason,
        Startup,
        StatusReport,
    )
    from tasker_health.settings import Settings

__version__ = "0.1.0"

_HOMES = {
    "AuthenticationError": "errors",
    "BaseCoordinator": "access",
    "CheckDegraded": "errors",
    "CheckFailed": "errors",
    "CheckResult": "model",
    "CheckStatus": "model",
    "ConfigurationError": "errors",
    "Health": "health",
    "Liveness": "model",
    "Readiness": "model",
    "Reason": "model",
    "Settings": "settings",
    "Startup": "model",
    "StatusReport": "model",
    "TaskerHealthError": "errors",
    "UnauthorizedError": "errors",
    "load_settings": "loading",
}

__all__ = [
    "AuthenticationError",
    "BaseCoordinator",
    "CheckDegraded",
    "CheckFailed",
    "CheckResult",
    "CheckStatus",
    "ConfigurationError",
    "Health",
    "Liveness",
    "Readiness",
    "Reason",
    "Settings",
    "Startup",
    "StatusReport",
    "TaskerHealthError",
    "UnauthorizedError",
    "load_settings",
]


def __getattr__(name: str) -> Any:
    """Import *name* from its home at first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
