"""The parts that `tasker-health doctor` looks at, in the order of causes: an earlier one explains a later one."""

from __future__ import annotations

from collections.abc import Sequence

from tasker_health.cli.doctor.walk import Registered
from tasker_health.errors import ConfigurationError

_HERE = "tasker_health.cli.doctor"

PARTS = (
    Registered("settings", f"{_HERE}.origins:look"),
    Registered("ports", f"{_HERE}.ports:look"),
    Registered("clock", f"{_HERE}.clock:look", after=("pool",)),
    Registered("database", f"{_HERE}.database:look"),
    Registered("pool", f"{_HERE}.pool:look", after=("database",)),
    Registered("migrations", f"{_HERE}.migrations:look", after=("database", "pool")),
    Registered("sources", f"{_HERE}.sources:look", after=("database", "pool")),
    Registered("workers", f"{_HERE}.workers:look", after=("database", "pool")),
    Registered("cache", f"{_HERE}.cache:look", after=("database", "pool")),
    Registered("access", f"{_HERE}.access:look"),
    Registered("probes", f"{_HERE}.probes:visited"),
    Registered("guard", f"{_HERE}.guard:look", after=("ports",)),
    Registered(
        "service",
        f"{_HERE}.service:look",
        after=("ports", "guard", "database", "pool", "migrations", "sources", "cache", "access"),
    ),
    Registered("exporters", f"{_HERE}.exporters:look"),
    Registered("speed", f"{_HERE}.speed:look", after=("database", "pool", "migrations", "sources", "cache")),
)
"""One line makes a part: its name, `async def look(visit) -> list[Finding]`, and whose findings it waits for."""


def chosen_parts(names: Sequence[str]) -> list[Registered]:
    """Return the parts called *names*, or all when there is none.

    Raises:
        ConfigurationError: A name is not known.
    """
    known = {each.name: each for each in PARTS}
    for name in names:
        if name not in known:
            raise ConfigurationError(f"--part {name}: no part; known are {', '.join(known)}")
    return [each for each in PARTS if not names or each.name in names]
