"""The page of every command and option, made from the commands. Run it to write `docs/command-line.md` again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer.main

from tasker_health.cli.commands import app
from tasker_health.cli.probe import USAGE

PAGE = Path(__file__).parents[1] / "docs" / "command-line.md"

_NAMES = {Path: "FILE", int: "NUMBER", float: "NUMBER"}

INTRODUCTION = """\
# Every command and option

What `--help` says, made from the code; [commands](commands.md) has what each of them is for, shows what it prints and
tells what its exit codes mean.
"""


def page() -> str:
    """Return the page as it should be."""
    return "\n".join([INTRODUCTION, *_sections("tasker-health", typer.main.get_command(app))]).rstrip() + "\n"


def commands() -> dict[str, Any]:
    """Return every command by what is typed for it, groups as well."""
    return dict(_walk("tasker-health", typer.main.get_command(app)))


def _walk(typed: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield typed, command
    for name, each in sorted(getattr(command, "commands", {}).items()):
        yield from _walk(f"{typed} {name}", each)


def _sections(typed: str, command: Any) -> Iterator[str]:
    for words, each in _walk(typed, command):
        yield f"## {words}\n"
        if words == "tasker-health probe":  # it is no Typer command: it imports nothing but the standard library
            yield f"```text\n{USAGE.strip()}\n```\n"
            continue
        yield f"{' '.join((each.help or '').split())}\n"
        rows = [row for row in map(_row, each.params) if row]
        if rows:
            yield "| option | default | what it does |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _row(parameter: Any) -> str:
    if parameter.hidden:
        return ""
    annotation = parameter.type_descriptor.annotation
    choices = get_args(annotation) if get_origin(annotation) is Literal else ()
    words = ", ".join([*parameter.opts, *parameter.secondary_opts])
    if parameter.param_type_name == "argument":
        words = parameter.metavar or parameter.name.upper()
    elif not parameter.is_flag:
        words = f"{words} {parameter.metavar or '|'.join(choices) or _NAMES.get(annotation, 'TEXT')}"
    again = " May be given several times." if getattr(parameter, "multiple", False) else ""
    help_text = f"{' '.join((parameter.help or '').split())}{again}".strip()
    return f"| `{_cell(words)}` | {_default(parameter)} | {_cell(help_text).replace('<', '&lt;')} |"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if value is None or value is False or value in ((), [], "") or callable(value):
        return ""
    return f"`{_cell(str(value))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
