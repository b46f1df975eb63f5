"""The pages of figures: each table stands between two markers, and is replaced there with its pictures."""

from __future__ import annotations

import re
from pathlib import Path

from bench.machine import description
from bench.table import Table

DOCS = Path(__file__).parents[1] / "docs"
_ELSEWHERE = {"faults": "fault-matrix.md", "fault-peers": "fault-matrix.md"}


def write(name: str, table: Table) -> None:
    """Put *table* between the markers of *name* in its page, with the date and the machine.

    Raises:
        ValueError: The page has no such markers.
    """
    begin, end = f"<!-- {name}: written by ./dev bench {name} --write -->", f"<!-- end of {name} -->"
    file = DOCS / _ELSEWHERE.get(name, "benchmarks.md")
    page = file.read_text()
    if begin not in page or end not in page:
        raise ValueError(f"{file.name} has no place for {name}; add {begin} and {end}")
    body = f"{begin}\n{table.markdown()}\n\nMeasured on {description()}.\n{end}"
    for picture, content in table.pictures.items():
        folder = DOCS / "images"
        folder.mkdir(exist_ok=True)
        (folder / picture).write_bytes(content)
    file.write_text(re.sub(f"{re.escape(begin)}.*{re.escape(end)}", lambda _: body, page, flags=re.DOTALL))
