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
