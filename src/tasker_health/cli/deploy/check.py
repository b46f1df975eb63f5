"""`tasker-health deploy check FILE...`: what is wrong in manifests that exist, one line each; nothing is changed."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tasker_health.cli.deploy import app
from tasker_health.cli.options import Config
from tasker_health.cli.probe import say
from tasker_health.errors import ConfigurationError
from tasker_health.loading import load_settings
from tasker_health.settings import Settings

if TYPE_CHECKING:
    from tasker_health.deploy.inspection.faults import Fault
    from tasker_health.deploy.inspection.service import SettingsWith

NOTHING_WRONG, WRONG, NOT_READ = 0, 1, 2


@app.command()
def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Manifests; - is standard input.")],
    config: Config = None,
    leave_out: Annotated[
        list[str] | None, typer.Option("--except", metavar="RULE", help="Leave out what breaks this rule.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> int:
    """Say what is wrong in manifests for this service; exit 0 (nothing), 1 (something) or 2 (one cannot be read)."""
    from tasker_health.deploy.inspection.faults import RULES
    from tasker_health.deploy.inspection.reading import inspect

    left_out = frozenset(leave_out or ())
    for rule in sorted(left_out - set(RULES)):
        raise ConfigurationError(f"--except {rule}: no rule; known are {', '.join(RULES)}")
    found = inspect(files, settings_with(config))
    faults = [fault for fault in found.faults if fault.rule not in left_out]
    say(sys.stdout, _json(faults) if as_json else "".join(f"{fault}\n" for fault in faults))
    for line in (*found.notes, *found.unread):
        say(sys.stderr, f"tasker-health: {line}\n")
    if found.unread:
        return NOT_READ
    return WRONG if faults else NOTHING_WRONG


def settings_with(config: Path | None) -> SettingsWith:
    """Return what loads the settings of *config* and the environment, with a container's variables over them."""

    def load(variables: Mapping[str, str]) -> Settings:
        return load_settings(config, {**os.environ, **variables})

    return load


def _json(faults: list[Fault]) -> str:
    import msgspec

    rows = [
        {
            "file": fault.place.file,
            "line": fault.place.line,
            "rule": fault.rule,
            "thing": fault.thing,
            "value": fault.value,
            "remedy": fault.remedy,
        }
        for fault in faults
    ]
    return msgspec.json.encode(rows).decode() + "\n"
