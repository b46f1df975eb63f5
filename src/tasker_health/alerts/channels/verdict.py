"""What the status of an answer says of an event that was not taken: once more, when, or never.

RFC 9110 (sections 10.2.3 and 15), PagerDuty's "Response Codes & Retry Logic" (Events API v2 Overview) and Standard
Webhooks ("Delivery success and failure") agree on it.
"""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Callable, Mapping
from datetime import UTC

from tasker_health.errors import DeliveryError

WRONG_ADDRESS_SECONDS = 300.0
"""Rest after an answer that says that a key or an address is wrong: only an operator ends that."""

_NEVER = frozenset({400, 413, 422, 431})
"""This event is not taken, whoever sends it again."""

_LATER = frozenset({408, 425, 429})
_SERVER_ERRORS = range(500, 600)


def delivery_error(status: int, headers: Mapping[str, str], key: str) -> DeliveryError:
    """Return what an answer with *status*, which is no success, says.

    Args:
        status: Of the answer.
        headers: Of the answer.
        key: The setting that names whom we asked, for who is to correct it.
    """
    if status in _NEVER:
        return DeliveryError(f"answered {status}: this event is not taken", again=False)
    if status in _LATER or status in _SERVER_ERRORS:
        return DeliveryError(f"answered {status}", after_seconds=retry_after(headers.get("retry-after")))
    return wrong_address(f"answered {status}", key)


def wrong_address(what: str, key: str) -> DeliveryError:
    """Return that *what* was answered as the setting *key* is wrong: events wait until it is put right, or expire."""
    return DeliveryError(f"{what}: put {key} right; events wait meanwhile", after_seconds=WRONG_ADDRESS_SECONDS)


def retry_after(value: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Return how many seconds *value*, that of the header `Retry-After`, asks to wait; `None`: it says nothing.

    It is a number of seconds or an HTTP date (RFC 9110, section 10.2.3). Who listens bounds it.
    """
    words = (value or "").strip()
    if words.isascii() and words.isdigit():
        return float(words) if len(words) < 10 else math.inf  # noqa: PLR2004 -- longer than anybody waits
    try:
        at = email.utils.parsedate_to_datetime(words)
        # The oldest of its forms names no zone; all of them are GMT (section 5.6.7).
        seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now()
    except (ValueError, OverflowError, TypeError):
        return None
    return max(0.0, seconds)
