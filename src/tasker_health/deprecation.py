"""Names of settings that have changed: the old one is still read, and one line of the log says what to write.

How long an old name is kept stands in docs/releases.md. A name is moved within known groups only, since a variable of
an unknown group is somebody else's.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

from tasker_health.errors import SettingsError

log = logging.getLogger(__name__)

Path = tuple[str, ...]


class Renamed(NamedTuple):
    """What has become of a setting.

    Attributes:
        path: Where it is now.
        ends_with: Version from which on the old name is unknown.
    """

    path: Path
    ends_with: str


RENAMED: Mapping[Path, Renamed] = {}
"""By the old path, such as `("server", "prot"): Renamed(("server", "port"), "0.4")`."""


def with_new_names(values: dict[str, Any], origins: dict[Path, str], renamed: Mapping[Path, Renamed]) -> dict[str, Any]:
    """Move what *values* say under an old name of *renamed* to the new one, in place, and return them.

    Args:
        values: What one place says: a file, or the environment. Each place is looked at by itself, so that a new name
            in the environment still goes before an old one in the file.
        origins: How each place spells it; moved with the values, so that errors name what the user wrote.
        renamed: The old names.

    Raises:
        SettingsError: One place says the old name and the new one.
    """
    for old, new in renamed.items():
        group = _group_at(values, old[:-1])
        if group is None or old[-1] not in group:
            continue
        spelt = origins.pop(old, ".".join(old))
        called = ".".join(new.path)
        value = group.pop(old[-1])
        below = _made_at(values, new.path[:-1])
        if below is None:  # `server = 1`: the settings themselves refuse that
            continue
        if new.path[-1] in below:
            raise SettingsError(spelt, "set", f"is the old name of {called}, which is set too; keep {called}")
        below[new.path[-1]] = value
        origins[new.path] = spelt
        log.warning("%s is now called %s; its old name ends with version %s", spelt, called, new.ends_with)
    return values


def _group_at(values: dict[str, Any], path: Path) -> dict[str, Any] | None:
    group: Any = values
    for part in path:
        group = group.get(part) if isinstance(group, dict) else None
    return group if isinstance(group, dict) else None


def _made_at(values: dict[str, Any], path: Path) -> dict[str, Any] | None:
    group: Any = values
    for part in path:
        group = group.setdefault(part, {}) if isinstance(group, dict) else None
    return group if isinstance(group, dict) else None
