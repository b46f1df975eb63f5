"""Where settings come from: environment variables, then a TOML file, then defaults.

A variable is ours when it is `TASKER_<GROUP>__<NAME>` with a known group; `..._FILE` names a file that holds the
value. Everything else that begins with `TASKER_` is left alone: Kubernetes injects `TASKER_PORT=tcp://...` for a
Service called tasker.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretStr, ValidationError

from tasker_health.deprecation import RENAMED, with_new_names
from tasker_health.errors import ConfigurationError, SettingsError
from tasker_health.settings import Settings
from tasker_health.settings.kinds import Group

PREFIX = "TASKER_"
_FILE_SUFFIX = "_FILE"
_NAME_PARTS = 2
_MOST_CHARACTERS = 1 << 20

_GROUPS_WITH_SECRETS = frozenset({"auth", "cache", "checks", "database", "exporters", "migrations", "sources"})
_SECRET_NAME = re.compile(r"pass|pwd|secret|token|key|url|dsn|cred|auth|user", re.IGNORECASE)

Path_ = tuple[str, ...]


class Origins(dict[Path_, str]):
    """Where each value came from, as its source spells it: `TASKER_SERVER__PORT` or `server.port (health.toml)`."""

    def spell(self, path: Path_) -> str:
        """Return *path* as the user wrote it."""
        return self.get(path, ".".join(path))


def load_settings(config: str | Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings in force.

    Args:
        config: A TOML file; its groups are tables.
        environ: The environment; `os.environ` when `None`.

    Raises:
        SettingsError: A value is bad, or a name is unknown in a known group.
        ConfigurationError: The file cannot be read, or is not TOML.
    """
    return load_with_origins(config, environ)[0]


def load_with_origins(
    config: str | Path | None = None, environ: Mapping[str, str] | None = None
) -> tuple[Settings, Origins]:
    """Return the settings in force and where each value came from. See `load_settings`."""
    origins = Origins()
    values: dict[str, Any] = {}
    if config is not None:
        _merge(values, with_new_names(_read_toml(Path(config), origins), origins, RENAMED))
    from_environment = _read_environment(os.environ if environ is None else environ, origins)
    _merge(values, with_new_names(from_environment, origins, RENAMED))
    try:
        return Settings.model_validate(values), origins
    except ValidationError as error:
        raise _one_line(error, origins) from None


def _read_toml(path: Path, origins: Origins) -> dict[str, Any]:
    try:
        document = tomllib.loads(_text_of(path))
    except OSError as error:
        raise ConfigurationError(f"--config {path}: {error.strerror}; name a TOML file that can be read") from None
    except ValueError as error:  # of tomllib, of UTF-8, or of a length
        raise ConfigurationError(f"--config {path}: not TOML: {error}; correct it at that place") from None
    _note_origins(document, (), path.name, origins)
    return document


def _text_of(path: Path) -> str:
    """Return the text of a file; ValueError: it is none, or has no end, as /dev/zero has none."""
    with path.open(encoding="utf-8") as file:
        text = file.read(_MOST_CHARACTERS + 1)
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(f"longer than {_MOST_CHARACTERS} characters")
    return text


def _note_origins(values: Mapping[str, Any], above: Path_, name: str, origins: Origins) -> None:
    for key, value in values.items():
        path = (*above, key)
        if isinstance(value, Mapping):
            _note_origins(value, path, name, origins)
        else:
            origins[path] = f"{'.'.join(path)} ({name})"


def _read_environment(environ: Mapping[str, str], origins: Origins) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for variable in sorted(environ):
        parts = variable.removeprefix(PREFIX).split("__")
        if not variable.startswith(PREFIX) or len(parts) < _NAME_PARTS or parts[0].lower() not in Settings.model_fields:
            continue
        path, value = _named_value(variable, tuple(part.lower() for part in parts), environ)
        _require_no_group(variable, path)
        if path in origins and origins[path].startswith(PREFIX):
            raise SettingsError(variable, "set", f"{origins[path]} says the same setting; keep one of the two")
        origins[path] = variable
        _merge(values, _nested(path, value))
    return values


def _require_no_group(variable: str, path: Path_) -> None:
    """Refuse a value for what has settings in it; it could be a secret, and would be laid over without a word."""
    below = path if _group(_annotation_at(path)) else (*path, "<name>")
    names = _names_at(below)
    if names:
        spelt = PREFIX + "__".join(below).upper()
        written = ", ".join(f"{spelt}__{name.upper()}" for name in names)
        raise SettingsError(variable, "set", f"names no setting; write {written}")


def _named_value(variable: str, path: Path_, environ: Mapping[str, str]) -> tuple[Path_, str]:
    name = path[-1].upper()
    is_setting = path[-1] in _names_at(path[:-1])  # such as server.tls_key_file: its value is the name of a file
    if is_setting or not name.endswith(_FILE_SUFFIX) or name == _FILE_SUFFIX:
        return path, environ[variable]
    path = (*path[:-1], path[-1][: -len(_FILE_SUFFIX)])
    try:
        value = _text_of(Path(environ[variable])).rstrip("\r\n")
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or f"not UTF-8 text of at most {_MOST_CHARACTERS} characters"
        # It may be the value itself, in place of the name of a file.
        is_name = "://" not in environ[variable] and (environ[variable][:1] in "./" or not _may_hold_secret(path))
        shown = repr(environ[variable]) if is_name else "'***'"
        raise SettingsError(variable, shown, f"{what}; name a file that holds the value") from None
    return path, value


def _nested(path: Path_, value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    nested: dict[str, Any] = value
    return nested


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    """Lay *above* over *below*, group by group."""
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(below.get(key), dict):
            _merge(below[key], value)
        else:
            below[key] = value


def _one_line(error: ValidationError, origins: Origins) -> SettingsError:
    """Return the first fault that pydantic found, as one line with key, value and remedy."""
    faults = error.errors(include_url=False, include_context=False)
    # An unknown name goes first: it is often why another one is said to be missing.
    fault = next((each for each in faults if each["type"] == "extra_forbidden"), faults[0])
    path = tuple(str(part) for part in fault["loc"] if part != "[key]")
    names = _names_at(path[:-1])
    if fault["type"] == "extra_forbidden":
        close = difflib.get_close_matches(path[-1], names, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        allowed = f"unknown name; {hint}known here: {', '.join(names) or 'none'}"
        return SettingsError(origins.spell(path), printable(fault["input"], path, origins), allowed)
    if fault["type"] == "missing":
        return SettingsError(".".join(path), "not set", "it is required; set it")
    message = fault["msg"].removeprefix("Value error, ")
    if (
        isinstance(fault["input"], Mapping) and ": " in message
    ):  # what is wrong is how the settings of one group go together
        name, _, rest = message.partition(": ")
        path = (*path, name)
        return SettingsError(origins.spell(path), printable(fault["input"].get(name), path, origins), rest)
    if fault["type"] == "dict_type":
        message = "names and values: a table in TOML, a variable for each name in the environment"
    message = message[0].lower() + message[1:]
    return SettingsError(origins.spell(path), printable(fault["input"], path, origins), f"allowed: {message}")


def _names_at(path: Path_) -> list[str]:
    """Return the names that are known in the group at *path*."""
    model = _model_at(path)
    return [] if model is None else [field.alias or name for name, field in model.model_fields.items()]


def _model_at(path: Path_) -> type[BaseModel] | None:
    return _group(_annotation_at(path))


def _annotation_at(path: Path_) -> Any:
    """Return the type of the setting, the group or the groups by name at *path*; `None` where there is nothing."""
    annotation: Any = Settings
    for part in path:
        model = _group(annotation)
        if model is not None:
            annotation = next((f.annotation for n, f in model.model_fields.items() if part in {n, f.alias}), None)
        else:
            annotation = annotation.__args__[1] if getattr(annotation, "__origin__", None) is dict else None
    return annotation


def _group(annotation: Any) -> type[BaseModel] | None:
    """Return the group that *annotation* is, or is beside `None`."""
    if getattr(annotation, "__origin__", None) is dict:
        return None
    types = [each for each in _types_in(annotation) if isinstance(each, type) and issubclass(each, BaseModel)]
    return types[0] if types else None


def printable(value: Any, path: Path_, origins: Origins) -> str:
    """Return *value* for an error line, or stars where it is, or may well be, a secret: of a URL its scheme only."""
    scheme, is_url, _ = str(value).partition("://")
    if is_url and re.fullmatch(r"[a-z0-9+]{1,40}", scheme):
        return f"'{scheme}://***'"
    from_file = origins.get(path, "").upper().endswith(_FILE_SUFFIX)
    if from_file or is_url or _may_hold_secret(path) or not isinstance(value, str | int | float):
        return "'***'"
    return repr(value)[:200]


def _may_hold_secret(path: Path_) -> bool:
    model = _model_at(path[:-1])
    fields = model.model_fields.items() if model else ()
    field = next((each for name, each in fields if path[-1] in {name, each.alias}), None)
    if field is not None:
        types = _types_in(field.annotation)
        of_groups = any(isinstance(each, type) and issubclass(each, Group) for each in types)
        return SecretStr in types or (of_groups and path[0] in _GROUPS_WITH_SECRETS)
    # An unknown name: a password in the wrong place is the likeliest of all mistakes with one.
    return path[0] in _GROUPS_WITH_SECRETS or _SECRET_NAME.search(".".join(path)) is not None


def _types_in(annotation: Any) -> list[Any]:
    return [annotation, *getattr(annotation, "__args__", ())]
