"""What a server imports: the application of the skin that the environment names, such as `flask.wsgi`."""

from __future__ import annotations

import importlib
import os
import sys

_module, _, _way = os.environ["SKIN"].partition(".")
app = getattr(importlib.import_module(f"frameworks.{_module}"), _way)()


if __name__ == "__main__":
    from aiohttp import web

    web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None)
