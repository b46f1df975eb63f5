"""What PagerDuty's Events API v2 refuses, by its public documentation.

"Events API v2 Overview" (response codes, limits) and "Send an Alert Event" (parameters) in PagerDuty's developer
documentation.
"""

from __future__ import annotations

import datetime as dt
import json

MOST_BYTES = 512 * 1024
SEVERITIES = {"critical", "error", "warning", "info"}
ACTIONS = {"trigger", "acknowledge", "resolve"}


def errors_of(body: bytes, routing_key: str) -> list[str]:
    """Return what is wrong with an event of the Events API v2; empty: nothing."""
    try:
        event = json.loads(body)
    except ValueError:
        return ["JSON is invalid"]
    if not isinstance(event, dict):
        return ["Event object is no object"]
    errors = []
    if len(str(event.get("routing_key", ""))) != 32:
        errors.append("Length of 'routing_key' is incorrect (should be 32 characters)")
    elif event["routing_key"] != routing_key:
        errors.append("'routing_key' is unknown")
    action, key = event.get("event_action"), event.get("dedup_key")
    if action not in ACTIONS:
        errors.append("'event_action' is none of trigger, acknowledge, resolve")
    if key is not None and not (isinstance(key, str) and len(key) <= 255):
        errors.append("'dedup_key' is no text of at most 255 characters")
    if action in {"acknowledge", "resolve"} and not key:
        errors.append("'dedup_key' is missing or blank")
    if action == "trigger":
        errors += _errors_of_payload(event.get("payload"))
    for name, needed in (("links", "href"), ("images", "src")):
        errors += [
            f"'{name}' is no list of objects with {needed}"
            for each in event.get(name, [])
            if not (isinstance(each, dict) and isinstance(each.get(needed), str))
        ]
    errors += [f"'{name}' is no text" for name in ("client", "client_url") if not _is_text(event.get(name, ""))]
    return errors


def _errors_of_payload(payload: object) -> list[str]:
    if not isinstance(payload, dict):
        return ["'payload' is missing or no object"]
    errors = [f"'payload.{name}' is missing or blank" for name in ("summary", "source") if not payload.get(name)]
    named = ("summary", "source", "component", "group", "class")
    errors += [f"'payload.{name}' is no text" for name in named if not _is_text(payload.get(name, ""))]
    if len(str(payload.get("summary", ""))) > 1024:
        errors.append("'payload.summary' is longer than 1024 characters")
    if payload.get("severity") not in SEVERITIES:
        errors.append("'payload.severity' is none of critical, error, warning, info")
    if not isinstance(payload.get("custom_details", {}), dict):
        errors.append("'payload.custom_details' is no object")
    try:
        dt.datetime.fromisoformat(payload.get("timestamp", "2015-07-17T08:42:58.315+0000"))
    except (TypeError, ValueError):
        errors.append("'payload.timestamp' is no ISO 8601")
    return errors


def _is_text(value: object) -> bool:
    return isinstance(value, str)
