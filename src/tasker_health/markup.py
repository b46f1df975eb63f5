"""Text into HTML and SVG: the one way in, for the page, for reports and for the charts on both."""

from __future__ import annotations

import re
from html import escape

MOST_CHARACTERS = 1000
"""Of a longer text the beginning is shown: a name of ten thousand letters would bury what is wrong."""

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
"""Controls, marks of direction and of no width, halves of characters: they make a text look like another one."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(text: str) -> Markup:
    """Return *text* so that it is text wherever it stands, in an element or in a quoted attribute.

    What cannot be seen shows as U+FFFD, and what is too long is cut, which is said.
    """
    if len(text) > MOST_CHARACTERS:
        text = f"{text[:MOST_CHARACTERS]}… ({len(text):,} characters)"
    return Markup(escape(_UNSEEN.sub("\ufffd", text)))
