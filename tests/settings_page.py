"""The page of settings, made from the table. Run it to write `docs/settings.md` again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from tasker_health.settings import Settings

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"

INTRODUCTION = """\
# Settings

A setting `health.cache_duration_seconds` comes from the environment variable `TASKER_HEALTH__CACHE_DURATION_SECONDS`,
then from the table `[health]` of the TOML file that `--config` names, then from its default. A variable that ends in
`_FILE` names a file that holds the value, as secrets are mounted. Variables without a known group and `__` are left
alone. A bad value or an unknown name stops the start with exit code 2 and one line that names it. Settings are read
once, at start.

A `<name>` is chosen by you, of `a-z`, `0-9`, `_` and `-`: `auth.tokens.grafana.hash` is the variable
`TASKER_AUTH__TOKENS__GRAFANA__HASH`. A list, such as that of roles, is words separated by commas in a variable
(`TASKER_AUTH__TOKENS__GRAFANA__ROLES=reader,operator`) and a list in TOML.

This page is made from the table in the code.
"""


def page() -> str:
    """Return the page as it should be."""
    return "\n".join([INTRODUCTION, *_sections("", Settings)])


def _sections(above: str, group: type[BaseModel]) -> Iterator[str]:
    """Yield one section for each group of settings in *group*, and for those in them."""
    for key, field in group.model_fields.items():
        model = _model(field.annotation)
        if model is None:
            continue
        by_name = getattr(field.annotation, "__origin__", None) is dict
        name = f"{above}{key}{'.<name>' if by_name else ''}"
        rows = [
            _row(each.alias or own, each) for own, each in model.model_fields.items() if not _model(each.annotation)
        ]
        if rows:
            table = "| name | default | what it does |\n|---|---|---|\n" + "\n".join(rows)
            yield f"## {name}\n\n{(model.__doc__ or '').strip()}\n\n{table}\n"
        yield from _sections(f"{name}.", model)


def _model(annotation: Any) -> type[BaseModel] | None:
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)), None)


def _row(name: str, field: Any) -> str:
    default = field.default
    if default is PydanticUndefined:
        shown = "required"
    elif default is None or default == ():
        shown = "unset"
    else:
        value = default.get_secret_value() if isinstance(default, SecretStr) else default
        value = ",".join(value) if isinstance(value, tuple) else value
        shown = f"`{str(value).lower() if isinstance(value, bool) else value}`"
    return f"| `{name}` | {shown} | {field.description} |"


if __name__ == "__main__":
    PAGE.write_text(page())
