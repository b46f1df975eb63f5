"""A table of results and the goals that it is held against, printed and written as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Goal:
    """A figure that is to stay below *limit*.

    Attributes:
        name: What is judged.
        figure: What was measured; `None`: it could not be.
        limit: What is allowed at most.
        unit: Of both, printed after them; empty for a ratio.
    """

    name: str
    figure: float | None
    limit: float
    unit: str = ""

    @property
    def verdict(self) -> str:
        """The goal in words: reached or not, with the figure."""
        wanted = f"at most {self.limit:g}{self.unit}"
        if self.figure is None:
            return f"{self.name}: not measured ({wanted})"
        word = "reached" if self.figure <= self.limit else "NOT REACHED"
        return f"{self.name}: {word}, {self.figure:.3g}{self.unit} ({wanted})"


@dataclass
class Table:
    """Rows under *columns*; the first column is text, the others are figures.

    Attributes:
        title: What is compared.
        columns: What each column holds, with its unit.
        rows: A cell is text already; an empty one has no figure.
        goals: What the figures are held against.
        notes: How to read the figures.
        pictures: What is drawn of them, by the name of its file; it stands in the documentation only.
    """

    title: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)

    def text(self) -> str:
        """Return the table for a terminal."""
        widths = [max(len(row[n]) for row in [self.columns, *self.rows]) for n in range(len(self.columns))]
        lines = [self.title, "", _aligned(self.columns, widths), _aligned(["-" * width for width in widths], widths)]
        lines += [_aligned(row, widths) for row in self.rows]
        lines += ["", *(f"* {note}" for note in self.notes), *(f"> {goal.verdict}" for goal in self.goals)]
        return "\n".join(lines)

    def markdown(self) -> str:
        """Return the table for the documentation."""
        rule = ["---", *["---:"] * (len(self.columns) - 1)]
        lines = [f"## {self.title}", "", *map(_piped, [self.columns, rule, *self.rows]), ""]
        lines += [line for name in self.pictures for line in (f"![{self.title}](images/{name})", "")]
        lines += [f"- **{goal.verdict}**" for goal in self.goals]
        lines += [f"- {note}" for note in self.notes]
        return "\n".join(lines)


def _aligned(cells: Iterable[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    return "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]).rstrip()


def _piped(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
