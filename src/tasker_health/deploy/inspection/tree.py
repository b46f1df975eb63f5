"""YAML with the line of everything, read without believing it: bounded in size, depth and anchors, and no tags run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tasker_health.deploy.inspection.faults import Fault, Place, shown
from tasker_health.errors import ConfigurationError

try:
    import yaml
except ModuleNotFoundError as error:
    if error.name != "yaml":
        raise
    raise ConfigurationError("deploy: pyyaml is not installed: pip install 'tasker-health[deploy]'") from None

DEEPEST = 100
MOST_VALUES = 400_000
_MERGE = "<<"
_NULLS = {"", "~", "null", "Null", "NULL"}


@dataclass(frozen=True)
class Tree:
    """One value of a document.

    Attributes:
        place: Where it begins; of what stands under a key, where the key stands.
        text: Of a scalar; `None` for `null` and for what is no scalar.
        keys: Of a mapping.
        items: Of a sequence.
    """

    place: Place
    text: str | None = None
    keys: dict[str, Tree] = field(default_factory=dict)
    items: tuple[Tree, ...] = ()

    def at(self, *path: str) -> Tree | None:
        """Return what stands at *path*, if it is there."""
        found: Tree | None = self
        for key in path:
            found = found.keys.get(key) if found is not None else None
        return found

    def words(self, *path: str) -> str:
        """Return the text at *path*, or nothing."""
        found = self.at(*path)
        return (found.text if found is not None else "") or ""

    def list_at(self, *path: str) -> tuple[Tree, ...]:
        """Return the sequence at *path*, or an empty one."""
        found = self.at(*path)
        return found.items if found is not None else ()

    def number(self, *path: str, default: float) -> float:
        """Return the figure at *path*, or *default*."""
        try:
            return float(self.words(*path)[:30])
        except ValueError:
            return default


def documents(text: str, file: str) -> tuple[list[Tree], list[Fault]]:
    """Return the documents of *text*, and the keys that are written twice in one mapping.

    Raises:
        ConfigurationError: It is not YAML, or larger or deeper than a manifest can be.
    """
    grower = _Grower(file)
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            grower.take(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else grower.line
        words = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read")
        remedy = "correct that place"
        if "{{" in text:
            remedy = "render it first: helm template ... | tasker-health deploy check -"
        raise ConfigurationError(f"{file}:{line}: not YAML: {words}; {remedy}") from None
    return grower.documents, grower.faults


@dataclass
class _Open:
    """A mapping or a sequence whose end has not come."""

    place: Place
    anchor: str | None
    is_mapping: bool
    values: list[tuple[Tree, bool]] = field(default_factory=list)
    """Each value, and whether it is a plain scalar: only such a `<<` merges."""


class _Grower:
    """Makes trees of events; what an anchor names is made once, however often it is spoken of.

    Attributes:
        documents: Those that are complete.
        faults: Keys that were written twice.
        line: How far it has come.
    """

    def __init__(self, file: str) -> None:
        self.documents: list[Tree] = []
        self.faults: list[Fault] = []
        self.line = 1
        self._file = file
        self._count = 0
        self._open: list[_Open] = []
        self._named: dict[str, Tree | None] = {}

    def take(self, event: yaml.Event) -> None:
        """Take the next event.

        Raises:
            ConfigurationError: There are too many, or an anchor holds itself.
        """
        self.line = event.start_mark.line + 1 if event.start_mark is not None else self.line
        place = Place(self._file, self.line)
        if isinstance(event, yaml.DocumentStartEvent):
            self._named = {}
        elif isinstance(event, yaml.AliasEvent):
            self._put(self._spoken_of(event.anchor, place), is_plain=False)
        elif isinstance(event, yaml.ScalarEvent):
            is_plain = event.implicit[0] and not event.style
            tree = Tree(place, text=None if is_plain and event.value in _NULLS else str(event.value))
            self._name(event.anchor, tree)
            self._put(tree, is_plain=is_plain)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._name(event.anchor, None)
            self._open.append(_Open(place, event.anchor, isinstance(event, yaml.MappingStartEvent)))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._close()
        self._count += 1
        self._bound(place)

    def _bound(self, place: Place) -> None:
        if len(self._open) > DEEPEST or self._count > MOST_VALUES:
            what = "deeper" if len(self._open) > DEEPEST else "more"
            raise ConfigurationError(f"{place}: {what} than a manifest can be; give the manifest alone")

    def _spoken_of(self, anchor: str | None, place: Place) -> Tree:
        tree = self._named.get(anchor or "")
        if tree is None:
            why = "holds itself" if anchor in self._named else "is not there"
            raise ConfigurationError(f"{place}: not YAML: an anchor {why}; write out what is meant")
        return tree

    def _name(self, anchor: str | None, tree: Tree | None) -> None:
        if anchor is not None:
            self._named[anchor] = tree

    def _close(self) -> None:
        ended = self._open.pop()
        if ended.is_mapping:
            tree = Tree(ended.place, keys=self._mapping(ended.values))
        else:
            tree = Tree(ended.place, items=tuple(each for each, _ in ended.values))
        self._name(ended.anchor, tree)
        self._put(tree, is_plain=False)

    def _put(self, tree: Tree, *, is_plain: bool) -> None:
        if self._open:
            self._open[-1].values.append((tree, is_plain))
        else:
            self.documents.append(tree)

    def _mapping(self, values: list[tuple[Tree, bool]]) -> dict[str, Tree]:
        own: dict[str, Tree] = {}
        below: dict[str, Tree] = {}
        for (key, is_plain), (value, _) in zip(values[::2], values[1::2], strict=True):
            if is_plain and key.text == _MERGE:
                for merged in _merged(value):
                    self._count += len(merged.keys)  # each costs what its keys do, however short its alias is
                    self._bound(key.place)
                    below |= merged.keys
                continue
            name = key.text if key.text is not None else "?"
            if name in own:
                first = own[name].place.line
                remedy = f"it stands in line {first}, too; keep one"
                self.faults.append(Fault(key.place, "duplicate-key", shown(name), "written twice", remedy))
            own[name] = Tree(key.place, value.text, value.keys, value.items)
        return below | own


def _merged(tree: Tree) -> Iterator[Tree]:
    """Yield the mappings of a `<<`: one, or several of which an earlier one wins."""
    yield from reversed(tree.items) if tree.items else (tree,)
