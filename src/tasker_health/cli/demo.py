"""`tasker-health demo`: an order shop on DBOS with its health endpoints beside it."""

from __future__ import annotations

from tasker_health.settings import Settings


def run_demo(settings: Settings, database_url: str | None) -> int:
    """Run the shop until SIGTERM or Ctrl-C."""
    del settings, database_url
    return 0
