"""What stands around every page: its frame, style and script, and the headers that permit these and nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from string import Template
from typing import NamedTuple

from tasker_health import charts
from tasker_health.markup import escaped
from tasker_health.web.negotiation import PAGE
from tasker_health.web.render import VARY, Answer, RawHeaders

_CONTENT_TYPE = f"{PAGE}; charset=utf-8"


class Frame(NamedTuple):
    """The parts that never change.

    Attributes:
        template: The document, with places for the rest.
        style: The style sheet.
        script: The script.
        headers: What permits both.
    """

    template: Template
    style: str
    script: str
    headers: RawHeaders


def framed(
    status: int,
    title: str,
    body: Iterable[str],
    data: Mapping[str, str],
    *,
    refresh_seconds: int | None = None,
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> Answer:
    """Return *body* as a page with the code *status*.

    Args:
        status: The code.
        title: Of the page.
        body: Its parts, as HTML; empty ones are left out.
        data: What the script is told, by name.
        refresh_seconds: After how long a browser without scripts fetches it anew; `None`: never.
        headers: More of them.
    """
    parts = frame()
    again = f'\n<noscript><meta http-equiv="refresh" content="{refresh_seconds}"></noscript>' if refresh_seconds else ""
    html = parts.template.substitute(
        refresh=again,
        title=escaped(title),
        style=parts.style,
        script=parts.script,
        data="".join(f' data-{name}="{escaped(value)}"' for name, value in data.items()),
        body="\n".join(filter(None, body)),
    )
    return Answer(status, html.encode(), [*parts.headers, *headers], _CONTENT_TYPE)


@cache
def frame() -> Frame:
    """Return the parts, read once: they are the same for all."""
    here = files("tasker_health.web.page")
    style = here.joinpath("page.css").read_text("utf-8") + charts.STYLE
    script = here.joinpath("page.js").read_text("utf-8")
    policy = "; ".join(
        (
            "default-src 'none'",
            f"style-src 'sha256-{_digest(style)}'",
            f"script-src 'sha256-{_digest(script)}'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types tasker-health",
        )
    )
    headers = [
        VARY,
        (b"content-security-policy", policy.encode()),
        (b"referrer-policy", b"no-referrer"),
        (b"x-frame-options", b"DENY"),
    ]
    return Frame(Template(here.joinpath("page.html").read_text("utf-8")), style, script, headers)


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
