"""Objects found by dotted path: `package.module:Name` or `package.module.Name`."""

from __future__ import annotations

import importlib
from typing import Any

from tasker_health.errors import SettingsError
from tasker_health.reasons import words_of


def load_dotted(path: str, key: str) -> Any:
    """Return the object that *path* names; *key* is the setting that named it.

    Raises:
        SettingsError: Nothing can be imported under that path.
    """
    module_name, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    if not module_name or not name:
        raise SettingsError(key, repr(path), "allowed: a dotted path such as package.module.ClassName")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 -- a module of the user's may raise anything at import
        why = words_of(error)
        raise SettingsError(
            key, repr(path), f"does not import ({why}); correct the path, or the module, or PYTHONPATH"
        ) from None
    try:
        return getattr(module, name)
    except AttributeError:
        raise SettingsError(key, repr(path), f"module {module_name} has no {name}; correct the name") from None
