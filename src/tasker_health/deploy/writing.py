"""Puts files where the operator wants them: all or none, and never over what is there unless told to."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tasker_health.deploy import Files
from tasker_health.errors import ConfigurationError


def write(files: Files, folder: Path, *, force: bool) -> list[Path]:
    """Write *files* below *folder*, which is made; return their paths.

    Raises:
        ConfigurationError: One is there already, and *force* is not given: nothing was written.
        OSError: One cannot be written; none is there then that was not.
    """
    paths = {folder / name: text for name, text in files.items()}
    for path in paths:
        _look(path, folder, force=force)
    staged: dict[Path, Path] = {}
    try:
        for path, text in paths.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            staged[path] = _staged(path, text)
        for path, beside in staged.items():
            beside.replace(path)  # in one step: whoever reads it meanwhile reads the old one or the new one
    finally:
        for beside in staged.values():
            beside.unlink(missing_ok=True)
    return list(paths)


def _look(path: Path, folder: Path, *, force: bool) -> None:
    if os.path.lexists(path):
        if not path.is_file():
            raise ConfigurationError(f"{path}: is there and is no file; nothing was written, choose another --output")
        if not force:
            raise ConfigurationError(f"{path}: is there already; nothing was written, --force replaces it")
    for parent in [folder, *(each for each in path.parents if folder in each.parents)]:
        if os.path.lexists(parent) and not parent.is_dir():
            raise ConfigurationError(
                f"{parent}: is there and is no folder; nothing was written, choose another --output"
            )


def _staged(path: Path, text: str) -> Path:
    """Write *text* beside *path*, and return where."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    return Path(name)
