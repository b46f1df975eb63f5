"""At home in a framework: its own idiom for the same endpoints, one thin file a framework.

The rules for whoever writes one:

* It decides nothing: a request goes to the skin of `Health` (`health.asgi()`, `health.wsgi()`) or to its endpoints, and
  what they answer goes back unchanged, header by header.
* Every path below the prefix is claimed, so that what is not there is our 404 and no redirect of the framework's.
* The framework's own way of starting and stopping starts and stops the monitor.
* It imports its framework, and nobody imports it who does not name it.

The framework's middleware runs before such a route. Where nothing may stand before a probe, wrap the outermost callable
instead: `health.asgi(app)`, `health.wsgi(app)`.
"""

from __future__ import annotations

from tasker_health.errors import ConfigurationError
from tasker_health.health import Health


def require_health(health: object, call: str) -> None:
    """Pass when *health* is one, as it has to be in *call*.

    Raises:
        ConfigurationError: It is not.
    """
    if not isinstance(health, Health):
        what = health.__name__ if isinstance(health, type) else type(health).__name__
        raise ConfigurationError(f"{call}: health is a {what}; hand over the object that Health() has made")


def require_plain(prefix: str, call: str) -> None:
    """Pass when *prefix* has no variable: a probe asks for one path.

    Raises:
        ConfigurationError: It has.
    """
    if "<" in prefix:
        raise ConfigurationError(f"{call}: url_prefix = {prefix!r}: a variable; register it under a plain prefix")
