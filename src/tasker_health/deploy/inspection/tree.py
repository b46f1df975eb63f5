"""YAML with the line of everything, read without believing it: bounded in size, depth and anchors, and no tags run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tasker_health.deploy.inspection.faults import Fault, Place
from tasker_health.errors import ConfigurationError

try:
    import yaml
except ModuleNotFoundError as error:
    if error.name != "yaml":
        raise
    raise ConfigurationError("deploy: pyyaml is not installed: pip install 'tasker-health[deploy]'") from None

DEEPEST = 100
MOST_NODES = 400_000
_MERGE = "tag:yaml.org,2002:merge"
_NULL = "tag:yaml.org,2002:null"


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
    loader = _Bounded(text, file)
    try:
        nodes: list[yaml.Node | None] = []
        while loader.check_node():
            nodes.append(loader.get_node())
        planted = _Planter(file)
        return [planted.tree(node) for node in nodes if node is not None], planted.faults
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        words = str(getattr(error, "problem", None) or getattr(error, "reason", None) or "it cannot be read")
        template = "{{" in text
        remedy = (
            "render it first: helm template ... | tasker-health deploy check -" if template else "correct that place"
        )
        raise ConfigurationError(f"{file}:{line}: not YAML: {words}; {remedy}") from None
    finally:
        loader.dispose()


class _Bounded(yaml.SafeLoader):
    """Composes nodes and constructs nothing."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._depth = self._count = 0
        try:
            super().__init__(text)
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise ConfigurationError(f"{file}:{line}: not YAML: {error.reason}; correct that place") from None

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Return the next node, unless there are too many."""
        self._depth += 1
        self._count += 1
        if self._depth > DEEPEST or self._count > MOST_NODES:
            what = "deeper" if self._depth > DEEPEST else "more"
            raise ConfigurationError(f"{self._file}: {what} than a manifest can be; give the manifest alone")
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Planter:
    """Makes trees of nodes; what an anchor names is made once, however often it is spoken of."""

    def __init__(self, file: str) -> None:
        self.faults: list[Fault] = []
        self._file = file
        self._made: dict[int, Tree] = {}
        self._under_way: set[int] = set()

    def tree(self, node: yaml.Node) -> Tree:
        """Return *node* as a tree."""
        known = self._made.get(id(node))
        if known is not None:
            return known
        place = Place(self._file, node.start_mark.line + 1)
        if id(node) in self._under_way:
            raise ConfigurationError(f"{place}: an anchor holds itself; write out what is meant")
        self._under_way.add(id(node))
        if isinstance(node, yaml.MappingNode):
            made = Tree(place, keys=self._mapping(node))
        elif isinstance(node, yaml.SequenceNode):
            made = Tree(place, items=tuple(self.tree(each) for each in node.value))
        else:
            made = Tree(place, text=None if node.tag == _NULL else str(node.value))
        self._under_way.discard(id(node))
        self._made[id(node)] = made
        return made

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Tree]:
        own: dict[str, Tree] = {}
        below: dict[str, Tree] = {}
        for key, value in node.value:
            line = Place(self._file, key.start_mark.line + 1)
            planted = self.tree(value)
            if key.tag == _MERGE:
                below |= {name: each for merged in _merged(planted) for name, each in merged.keys.items()}
                continue
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            if name in own:
                first = own[name].place.line
                self.faults.append(
                    Fault(line, "duplicate-key", name, "written twice", f"it stands in line {first}, too; keep one")
                )
            own[name] = Tree(line, planted.text, planted.keys, planted.items)
        return below | own


def _merged(tree: Tree) -> Iterator[Tree]:
    """Yield the mappings of a `<<`: one, or several of which an earlier one wins."""
    yield from reversed(tree.items) if tree.items else (tree,)
