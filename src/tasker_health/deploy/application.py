"""An ASGI application of the user's own, as a server is told of it."""

from __future__ import annotations

import re

from tasker_health.errors import ConfigurationError

_APPLICATION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def require_application(app: str | None) -> None:
    """Refuse what names none; it becomes a word of a command.

    Raises:
        ConfigurationError: It is not a module and a name in it.
    """
    if app is not None and not _APPLICATION.fullmatch(app):
        raise ConfigurationError(f"--app {app!r}: a module and a name in it, such as orders.main:app")
