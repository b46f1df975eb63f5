"""Where the figures come from, how old they are, and what the cache does for them."""

from __future__ import annotations

from tasker_health.deploy.panels import CHOSEN, FLEET, RATE, Panel, fleet, p95, rate

_LOOKUPS = "tasker_health_cache_lookups_total"

FACTS: tuple[Panel, ...] = (
    Panel(
        "Age of the facts",
        "It goes up to the cache's duration and down again, unless they cannot be read.",
        "s",
        (("age", fleet("tasker_health_status_age_seconds")),),
        warning="status_max_stale_seconds",
    ),
    Panel(
        "Sources",
        "1 while a source can be read.",
        "bool_yes_no",
        (("{{source}}", fleet("tasker_health_source_readable", "source")),),
        warning=1,
        is_worse_below=True,
    ),
    Panel(
        "Readings take",
        "Of twenty readings of a source nineteen take no longer.",
        "s",
        (("{{source}}", p95("tasker_health_source_read_duration_seconds", "source")),),
        warning=0.2,
    ),
    Panel(
        "Readings",
        "How often a source is read, and how often in vain.",
        "ops",
        (
            ("{{source}}", rate("tasker_health_source_refreshes_total", "source")),
            ("{{source}} {{reason}}", f"{rate('tasker_health_source_errors_total', 'source', 'reason')} > 0"),
        ),
    ),
    Panel(
        "Served from the cache",
        "Of the lookups of facts, those that found young ones.",
        "percentunit",
        (
            (
                "{{source}}",
                f"sum by (source) (rate({_LOOKUPS}{{{CHOSEN}, result='hit'}}{RATE})) / {rate(_LOOKUPS, 'source')}",
            ),
        ),
    ),
    Panel(
        "Shared cache",
        "Questions to it by what came of them; nothing where it is in memory.",
        "ops",
        (("{{operation}} {{result}}", rate("tasker_health_cache_requests_total", "operation", "result")),),
    ),
    Panel(
        "Trouble with the cache",
        "Questions that failed, and entries that were not believed.",
        "ops",
        (
            ("failed: {{reason}}", rate("tasker_health_cache_faults_total", "reason")),
            ("refused: {{reason}}", rate("tasker_health_cache_refused_entries_total", "reason")),
        ),
    ),
    Panel(
        "Tally",
        "By how much the latest verification found it wrong: 0.",
        "short",
        (("{{source}}", f"max by (source) (abs(tasker_health_source_drift{{{FLEET}}}))"),),
        warning=1,
    ),
    Panel(
        "Database connections",
        "Open ones, and how many the server allows.",
        "short",
        (
            ("open", fleet("tasker_health_database_connections")),
            ("allowed", fleet("tasker_health_database_connections_maximum")),
        ),
    ),
)
"""Sources, caches, ages."""
