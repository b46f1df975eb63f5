"""No global state: what a module holds does not change, except for the few things that are the process's own."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

import tasker_health

SOURCE = Path(tasker_health.__file__).parent

OF_THE_PROCESS = {
    "bridge._bridges": "weak: which loops to forget in a forked child and to stop at exit; nothing is looked up in it",
    "web/background._all": "the same of servers beside a worker",
    "working._all": "the same of workers",
    "workers/migrations/__init__._writing": "one at a time: Alembic has one place to write in for a whole process",
    "deadline._lock": "guards the count below; replaced in a forked child, where a thread of the parent's may hold it",
    "deadline._running": "how many threads hang, of each name: threads are the process's, and so is their bound",
    "deadline._of_the_parent": "what a forked child must not collect: sockets and threads of its parent",
    "access/faults.REQUEST": "a context variable: of one request",
    "exporters/trace_ids.INCOMING": "as above",
    "access/threads.PATIENCE_SECONDS": "a context variable: of one request",
    "access/threads.THREADS": "as above",
    "access/threads._OF_NO_GATE": "threads of those who ask a coordinator themselves: the process's, as is their bound",
    "web/page/frame.frame": "three files of the package, read once; they are the same for all",
    "cli/commands.app": "of Typer: the commands, put together while they are imported",
    "cli/deploy/__init__.app": "of Typer, as above",
    "cli/doctor/__init__.app": "of Typer, as above",
    "cli/token.app": "of Typer, as above",
    "cli/workers.app": "of Typer, as above",
    "__init__.__getattr__": "the shop window keeps what it has shown: a class, which is the same for all",
    "testing/__init__.__getattr__": "as above",
}
"""Every name at the level of a module whose value may change, and why that is not state of anybody's."""

UNCHANGEABLE = {
    *(
        "BeforeValidator",
        "CheckResult",
        "Keys",
        "Ids",
        "Admission",
        "Facts",
        "Dialect",
        "Driver",
        "Path",
        "Prober",
        "TypeVar",
    ),
    *("bytes", "frozenset", "get_args", "logging.getLogger", "range", "re.compile", "sa.table", "str", "struct.Struct"),
    *("attrgetter", "sa.Float", "struct.pack", "tuple", "int.from_bytes", "ParamSpec", "StructMeta"),
    "CacheFault",  # a sentinel, compared by identity and never raised
    "_NextTurn",  # it has no attributes
}
"""What makes values that cannot change: constants, frozen values of ours, types."""

CONTAINERS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
CHANGES = {
    *("append", "extend", "insert", "remove", "clear", "sort", "reverse", "add", "discard", "pop", "popitem", "update"),
    *("setdefault", "appendleft", "popleft", "__setitem__", "__delitem__"),
}


def modules():
    """Return the tree of every module by its path below the package, without `.py`."""
    return {str(file.relative_to(SOURCE).with_suffix("")): ast.parse(file.read_text()) for file in SOURCE.rglob("*.py")}


def changeable(tree):
    """Yield each name of a module whose value can change, and how that was seen."""
    changed = changed_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Global):
            yield from ((name, "global") for name in node.names)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "__dir__":
            yield from ((node.name, how) for how in remembered(node))
        for name in assigned(node):
            if isinstance(node.value, CONTAINERS) and name in changed:
                yield name, "a container that is changed"
            if isinstance(node.value, ast.Call) and not is_unchangeable(node.value):
                yield name, f"made by {ast.unparse(node.value.func)}"


def remembered(function):
    """Yield how *function* keeps something from one call to the next."""
    if any(is_cache(each) for each in function.decorator_list):
        yield "it remembers its answers"
    if any(isinstance(each, ast.Call) and ast.unparse(each.func) == "globals" for each in ast.walk(function)):
        yield "globals()"


def assigned(statement):
    """Return the names that *statement* gives a value to."""
    if isinstance(statement, ast.Assign):
        return [ast.unparse(each) for each in statement.targets]
    return [ast.unparse(statement.target)] if isinstance(statement, ast.AnnAssign) and statement.value else []


def is_cache(decorator):
    """Return whether *decorator* has a function remember."""
    return ast.unparse(decorator).split("(")[0].rpartition(".")[2] in {"cache", "lru_cache"}


def is_unchangeable(call):
    """Return whether *call* makes a value that cannot change: text, or something of the list."""
    function = call.func
    if isinstance(function, ast.Attribute) and function.attr in {"format", "replace", "join", "to_bytes"}:
        return True
    name = ast.unparse(function)
    return name in UNCHANGEABLE or name in {"_moves", "_ended_tasks", "_ended_steps"}  # which answer SQL


def changed_names(tree):
    """Return the names in *tree* that something is put into, or taken from."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
            found.add(ast.unparse(node.func.value))
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
            found.add(ast.unparse(node.value))
        if isinstance(node, ast.AugAssign):
            found.add(ast.unparse(node.target).split("[")[0])
    return found


def test_what_a_module_holds_does_not_change():
    """What can is on the list above, with its reason; and nothing is on the list that is not there."""
    found = defaultdict(set)
    for module, tree in modules().items():
        for name, how in changeable(tree):
            found[f"{module}.{name}"].add(how)
    assert {name: how for name, how in found.items() if name not in OF_THE_PROCESS} == {}
    assert set(OF_THE_PROCESS) <= set(found), "a reason that is needed no longer"


@pytest.mark.parametrize(
    "source",
    [
        "latest = None\ndef keep(value):\n    global latest\n    latest = value",
        "seen = {}\ndef keep(name):\n    seen[name] = 1",
        "seen = []\ndef keep(name):\n    seen.append(name)",
        "seen = dict()",
        "lock = threading.Lock()",
        "health = Health()",
        "@lru_cache(10)\ndef settings(): ...",
        "def keep(name, value):\n    globals()[name] = value",
    ],
)
def test_state_is_seen_in_every_form(source):
    """Each of these would be found."""
    assert list(changeable(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    ["NAMES = {'a': 1}", "log = logging.getLogger(__name__)", "T = TypeVar('T')", "A = B = 3", "A = 'a'.join(B)"],
)
def test_constants_are_no_state(source):
    """A table that nobody changes is one."""
    assert not list(changeable(ast.parse(source)))
