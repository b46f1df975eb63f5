"""Runs the tests of every example in one process as if each were alone in its folder.

Not part of the examples: whoever copies a folder has only one `app.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent


class Rooms:
    """Which example is at home: its folder leads `sys.path`, and its modules, and no other's, are those imported."""

    def __init__(self):
        self._home = None
        self._away = {}

    def enter(self, folder):
        """Have the example in *folder* at home."""
        if folder == self._home or ROOT not in folder.parents:
            return
        self.leave()
        self._home = folder
        sys.path.insert(0, str(folder))
        sys.modules.update(self._away.pop(folder, {}))

    def leave(self):
        """Have no example at home."""
        if self._home is None:
            return
        sys.path.remove(str(self._home))
        own = {name: module for name, module in sys.modules.items() if self._is_own(name, module)}
        for name in own:
            del sys.modules[name]
        self._away[self._home] = own
        self._home = None

    def _is_own(self, name, module):
        file = getattr(module, "__file__", None)
        return file is not None and self._home in Path(file).parents and not name.startswith("examples.")


rooms = Rooms()


@pytest.hookimpl(tryfirst=True)
def pytest_collectstart(collector):
    """The module of tests is about to be imported, with what it imports."""
    if isinstance(collector, pytest.Module):
        rooms.enter(collector.path.parent)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """A test may import something late."""
    rooms.enter(item.path.parent)


def pytest_ignore_collect(collection_path, config):
    """Django is set up once in a process: each of its examples has one of its own, which tests/e2e gives it.

    Who stands in its folder, or names it, means it.
    """
    here = config.invocation_params.dir
    meant = [here, *(here / word.partition("::")[0] for word in config.invocation_params.args)]
    is_meant = any(collection_path == each or collection_path in each.parents for each in meant)
    is_django = collection_path.parent == ROOT and collection_path.name.startswith("django")
    return True if is_django and not is_meant else None
