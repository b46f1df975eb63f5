"""Which trace a log record belongs to: `trace_id` and `span_id`, as W3C Trace Context writes them.

OpenTelemetry is asked only where somebody has imported it: elsewhere no span can be current.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

INCOMING: ContextVar[Iterable[tuple[bytes, bytes]]] = ContextVar("INCOMING", default=())
"""Headers of the request that is being answered; they are looked at only when a record is made."""

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-[!-~]*)?")
_FORBIDDEN_VERSION = b"ff"
_FIRST_VERSION = b"00"

Ids = tuple[str, str]


class TraceIds(logging.Filter):
    """Gives each record `trace_id` and `span_id` of the current span; both are empty where there is none.

    For handlers of your own. It keeps what a record has already, and lets every record through.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Mark *record*, in the thread and the context that it was made in."""
        if not hasattr(record, "trace_id"):
            record.trace_id, record.span_id = current_ids()
        return True


def ids_of(record: logging.LogRecord) -> Ids | None:
    """Return the ids that *record* was marked with; `None`: it belongs to no trace."""
    trace_id, span_id = getattr(record, "trace_id", ""), getattr(record, "span_id", "")
    return (str(trace_id), str(span_id)) if trace_id else None


def current_ids() -> Ids:
    """Return trace and span id of the current span, else of the caller's `traceparent`; else two empty texts."""
    return _of_span(sys.modules.get("opentelemetry.trace")) or ids_of_headers(INCOMING.get()) or ("", "")


def ids_of_headers(headers: Iterable[tuple[bytes, bytes]]) -> Ids | None:
    """Return the ids of the one valid `traceparent` among *headers*; names are in lower case.

    Whatever is not valid is none (W3C Trace Context, 3.2.2): ids of zeros, the version ff, more than one header. A
    later version may have more fields at its end.
    """
    values = [value for name, value in headers if name == b"traceparent"]
    found = _TRACEPARENT.fullmatch(values[0].strip(b" \t")) if len(values) == 1 else None
    if found is None:
        return None
    version, trace_id, span_id, more = found.groups()
    if version == _FORBIDDEN_VERSION or (version == _FIRST_VERSION and more):
        return None
    return (trace_id.decode(), span_id.decode()) if trace_id.strip(b"0") and span_id.strip(b"0") else None


def _of_span(trace: Any) -> Ids | None:
    if trace is None:
        return None
    try:
        context = trace.get_current_span().get_span_context()
        ids = f"{context.trace_id:032x}", f"{context.span_id:016x}"
        is_valid = context.is_valid
    except Exception:  # noqa: BLE001 -- a tracer of the application's; a record must not fail of it
        return None
    return ids if is_valid else None
