"""Charts as SVG, without a script and without a style of their own: a page's style sheet gives the classes colours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Line(NamedTuple):
    """One line of a chart.

    Attributes:
        name: What it shows.
        colour: Its class: `good`, `warn`, `bad`, `plain`, `other`.
        values: At equal distances; `None` is a gap.
    """

    name: str
    colour: str
    values: Sequence[float | None]
