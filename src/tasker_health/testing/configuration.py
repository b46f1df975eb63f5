"""Settings as a test says them."""

from __future__ import annotations

from collections.abc import Mapping

from tasker_health.settings import Settings


def settings_of(**groups: Mapping[str, object]) -> Settings:
    """Return the settings of *groups* over the defaults, such as `health={"cache_duration_seconds": 0}`.

    No environment variable and no file is read: what the machine is set to changes no test.

    Raises:
        pydantic.ValidationError: A name is unknown, or a value is bad.
    """
    return Settings.model_validate(groups)
