"""What a server imports: the application of the skin that the environment names, such as `flask.wsgi`."""

from __future__ import annotations

import importlib
import os

_module, _, _way = os.environ["SKIN"].partition(".")
app = getattr(importlib.import_module(f"frameworks.{_module}"), _way)()


def for_aiohttp(_words):
    """Return it to `python -m aiohttp.web`."""
    return app
