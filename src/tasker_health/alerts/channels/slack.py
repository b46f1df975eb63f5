"""Slack's incoming webhooks, whose form Mattermost, Rocket.Chat and others understand too.

Source: "Sending messages using incoming webhooks", "Formatting text for app surfaces" and the reference of blocks
(docs.slack.dev).
"""

from __future__ import annotations

from typing import Any

import msgspec

from tasker_health.alerts import Action, Event, Severity
from tasker_health.alerts.channels.details import bounded, moment
from tasker_health.alerts.channels.endpoint import Endpoint

_MOST_TEXT = 500
"""A section's text has 3000 characters at most, and a sign that is escaped becomes up to five."""

_MOST_FIELDS = 10
"""Slack's limit of a section; the details are figures, and whoever wants all of them follows a link."""

_MOST_FIELD = 150
"""Of a name and of a value: both of a field, escaped, have 2000 characters at most."""

_MOST_LINKS = 5
_MOST_LINK = 500

_SIGNS = {
    Severity.CRITICAL: "\N{LARGE RED CIRCLE}",
    Severity.ERROR: "\N{LARGE RED CIRCLE}",
    Severity.WARNING: "\N{LARGE ORANGE CIRCLE}",
    Severity.INFO: "\N{LARGE BLUE CIRCLE}",
}
_OVER = "\N{LARGE GREEN CIRCLE}"


class SlackChannel:
    """Writes into a channel of a chat.

    Args:
        name: Of the webhook.
        endpoint: Where it is.
    """

    def __init__(self, name: str, endpoint: Endpoint) -> None:
        self.name = name
        self._endpoint = endpoint

    async def send(self, event: Event) -> None:
        """Bring *event* there.

        Raises:
            DeliveryError: It was not taken.
        """
        await self._endpoint.post(msgspec.json.encode(message(event)), {"content-type": "application/json"})

    async def close(self) -> None:
        """Have nothing to give up: each event has a connection of its own."""


def message(event: Event) -> dict[str, Any]:
    """Return what is written: `text` for notifications and for those who know no blocks, and the same as blocks."""
    headline = _headline(event)
    context = f"{_plain(event.service, _MOST_FIELD)}: {_plain(event.rule, _MOST_FIELD)} since {moment(event.since)}"
    blocks: list[dict[str, Any]] = [{"type": "section", "text": {"type": "mrkdwn", "text": headline}}]
    fields = [
        {"type": "mrkdwn", "text": f"*{_plain(name, _MOST_FIELD)}*\n{_plain(_value(value), _MOST_FIELD)}"}
        for name, value in list(event.details.items())[:_MOST_FIELDS]
    ]
    if fields:
        blocks.append({"type": "section", "fields": fields})
    links = " ".join(f"<{_escaped(link)}>" for link in event.links[:_MOST_LINKS] if len(link) <= _MOST_LINK)
    elements = [{"type": "mrkdwn", "text": words} for words in (context, links) if words]
    return {"text": headline, "blocks": [*blocks, {"type": "context", "elements": elements}]}


def _headline(event: Event) -> str:
    summary = _plain(event.summary, _MOST_TEXT)
    if event.action is Action.RESOLVE:
        return f"{_OVER} Resolved: {summary}"
    goes_on = " (goes on)" if event.action is Action.UPDATE else ""
    return f"{_SIGNS[event.severity]} {event.severity.value.capitalize()}: {summary}{goes_on}"


def _plain(text: str, most: int) -> str:
    """Return *text* so that it is read as it is: no mention, no link, no formatting can be made of a name.

    Only `&`, `<` and `>` have an escape ("Escaping text"); between signs of formatting and words stands a space of no
    width, so that they format nothing.
    """
    escaped = _escaped(bounded(text, most))
    return "".join(f"\N{ZERO WIDTH SPACE}{each}\N{ZERO WIDTH SPACE}" if each in "*_~`@" else each for each in escaped)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _value(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
