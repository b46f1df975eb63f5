"""What each process says of itself."""

from __future__ import annotations

from tasker_health.deploy.panels import CHOSEN, RATE, Panel, p95, rate

REPLICAS: tuple[Panel, ...] = (
    Panel(
        "Ready",
        "1 for each replica that should get traffic.",
        "bool_yes_no",
        (("{{instance}}", f"max by (instance) (tasker_health_ready{{{CHOSEN}}})"),),
        warning=1,
        is_worse_below=True,
    ),
    Panel(
        "Scraped",
        "1 for each replica that answers Prometheus.",
        "bool_yes_no",
        (("{{instance}}", f"max by (instance) (up{{{CHOSEN}}})"),),
        warning=1,
        is_worse_below=True,
    ),
    Panel(
        "Answers take",
        "A scrape is a status and all figures: more than 200 ms is worth a look.",
        "s",
        (("{{instance}}", f"max by (instance) (scrape_duration_seconds{{{CHOSEN}}})"),),
        warning=0.2,
    ),
    Panel(
        "Checks that are not ok",
        "In how many replicas, by check and state.",
        "short",
        (("{{check}} {{state}}", f'sum by (check, state) (tasker_health_check_state{{{CHOSEN}, state!="ok"}}) > 0'),),
    ),
    Panel(
        "Checks take",
        "Of twenty runs of a check nineteen take no longer.",
        "s",
        (("{{check}}", p95("tasker_health_check_duration_seconds", "check")),),
        warning=0.2,
    ),
    Panel(
        "Checks that time out",
        "Runs that ended with `timeout`, and checks that still run beyond their deadline.",
        "short",
        (
            ("{{check}}", f"sum by (check) (increase(tasker_health_check_timeouts_total{{{CHOSEN}}}{RATE}))"),
            ("held", f"sum(tasker_health_held_checks{{{CHOSEN}}})"),
        ),
    ),
    Panel(
        "Event loop",
        "How late its last heartbeat was.",
        "s",
        (("{{instance}}", f"max by (instance) (tasker_health_event_loop_lag_seconds{{{CHOSEN}}})"),),
    ),
    Panel(
        "Stalls and restarts",
        "How often an event loop began to stand still, and a guard was started again.",
        "short",
        (
            (
                "stalls {{instance}}",
                f"sum by (instance) (increase(tasker_health_event_loop_stalls_total{{{CHOSEN}}}{RATE}))",
            ),
            (
                "guard {{instance}}",
                f"sum by (instance) (increase(tasker_health_guard_restarts_total{{{CHOSEN}}}{RATE}))",
            ),
        ),
    ),
    Panel(
        "What runs",
        "Versions by replica: two of them while a new one is rolled out.",
        "none",
        (("", f"max by (instance, version, python_version) (tasker_health_build_info{{{CHOSEN}}})"),),
        "table",
    ),
)
"""Readiness, checks, event loops."""

OTHERS: tuple[Panel, ...] = (
    Panel(
        "Not let in",
        "Requests answered with 401 and with 403, and authenticators that broke.",
        "ops",
        (
            ("401", f"sum(rate(tasker_health_authentication_failures_total{{{CHOSEN}}}{RATE}))"),
            ("403", f"sum(rate(tasker_health_authorization_failures_total{{{CHOSEN}}}{RATE}))"),
            ("broken", f"sum(rate(tasker_health_access_faults_total{{{CHOSEN}}}{RATE}))"),
        ),
    ),
    Panel(
        "Deliveries",
        "What exporters and alerts have sent, by what came of it.",
        "ops",
        (("{{to}} {{result}}", rate("tasker_health_deliveries_total", "to", "result")),),
    ),
    Panel(
        "Undelivered",
        "What waits, and what nobody will get any more.",
        "short",
        (
            ("{{to}} waits", f"max by (to) (tasker_health_deliveries_pending{{{CHOSEN}}})"),
            (
                "{{to}} {{reason}}",
                f"sum by (to, reason) (increase(tasker_health_deliveries_dropped_total{{{CHOSEN}}}{RATE})) > 0",
            ),
        ),
    ),
)
"""Who asks, and who is told."""
