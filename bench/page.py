"""The pages of figures: each table stands between two markers, and is replaced there with its pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bench.machine import description
from bench.table import Table

DOCS = Path(__file__).parents[1] / "docs"
_ELSEWHERE = {"faults": "fault-matrix.md", "fault-peers": "fault-matrix.md"}
_KEPT = re.compile(r"<!-- ([a-z-]+): written by .*?<!-- end of \1 -->", re.DOTALL)


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


def arranged(page: str, names: Sequence[str]) -> str:
    """Return *page* with its tables in the order of *names*, those of other names after them; nothing is lost.

    What stands before the first table stays before, what stands after the last one stays after.
    """
    kept = {found[1]: found[0] for found in _KEPT.finditer(page)}
    if not kept:
        return page
    first, last = page.index(next(iter(kept.values()))), max(found.end() for found in _KEPT.finditer(page))
    between = _KEPT.sub("", page[first:last]).strip()
    order = [*(name for name in names if name in kept), *(name for name in kept if name not in names)]
    blocks = "\n\n".join([kept[name] for name in order] + ([between] if between else []))
    return page[:first] + blocks + page[last:]


def arrange(names: Sequence[str]) -> None:
    """Put the tables of the page of benchmarks into the order of *names*."""
    file = DOCS / "benchmarks.md"
    file.write_text(arranged(file.read_text(), names))
