"""A framework that is not there: one line that says so, and what to install."""

from __future__ import annotations

import json
import subprocess
import sys

FRAMEWORKS = ["aiohttp", "fastapi", "litestar", "quart", "starlette"]

WITHOUT = """
import importlib, json, sys

frameworks = json.loads(sys.argv[1])

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in frameworks:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])

sys.meta_path.insert(0, Absent())
said = {}
for framework in frameworks:
    try:
        importlib.import_module(f"tasker_health.frameworks.{framework}")
    except Exception as error:
        said[framework] = [type(error).__name__, str(error)]
print(json.dumps(said))
"""


def test_what_to_install_is_said_in_a_line():
    """A `ConfigurationError`, and no traceback through imports."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, json.dumps(FRAMEWORKS)], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == {
        name: ["ConfigurationError", f"{name} is not installed; pip install {name}"] for name in FRAMEWORKS
    }
