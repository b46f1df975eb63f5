"""The page of settings, made from the table. Run it to write `docs/settings.md` again."""

from __future__ import annotations

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
alone. A bad value or an unknown name stops the start with exit code 2 and one line that names it.

This page is made from the table in the code.
"""


def page() -> str:
    """Return the page as it should be."""
    parts = [INTRODUCTION]
    for group, info in Settings.model_fields.items():
        model = _model(info.annotation)
        if model is None or not model.model_fields:
            continue
        name = f"{group}.<name>" if group == "sources" else group
        parts.append(f"## {name}\n\n{(model.__doc__ or '').strip()}\n")
        rows = [_row(field.alias or key, field) for key, field in model.model_fields.items()]
        parts.append("| name | default | what it does |\n|---|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def _model(annotation: Any) -> type[BaseModel] | None:
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next((each for each in candidates if isinstance(each, type) and issubclass(each, BaseModel)), None)


def _row(name: str, field: Any) -> str:
    default = field.default
    if default is PydanticUndefined:
        shown = "required"
    elif default is None:
        shown = "unset"
    else:
        value = default.get_secret_value() if isinstance(default, SecretStr) else default
        shown = f"`{str(value).lower() if isinstance(value, bool) else value}`"
    return f"| `{name}` | {shown} | {field.description} |"


if __name__ == "__main__":
    PAGE.write_text(page())
