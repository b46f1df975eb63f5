"""Settings as the environment of a container: plain ones as variables, secret ones as names of files.

Only what was set is handed over: everything else is the same default there. No secret is in what comes out of here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import BaseModel, SecretStr

from tasker_health.deploy.plan import Plan
from tasker_health.deploy.rendering import number
from tasker_health.errors import SettingsError
from tasker_health.loading import PREFIX
from tasker_health.settings import Settings

_OF_THE_PLACE = frozenset({"server.host", "guard.host", "grpc.host"})
"""Where something listens is the container's matter, not that of the machine on which the settings were read."""

_USER_OF_URL = re.compile(r"://[^/\s@]*@")


@dataclass(frozen=True)
class Environment:
    """What a container is told.

    Attributes:
        variables: Values by the name of the variable.
        secrets: Of each secret setting its own name, as `database.url`, by the name of the variable that is to name a
            file with its value, as `TASKER_DATABASE__URL_FILE`.
    """

    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)


def environment_of(settings: Settings, plan: Plan) -> Environment:
    """Return what a container of *plan* is told, so that it does what those who ask it expect.

    Where it listens is left to the target.

    Raises:
        SettingsError: A setting cannot be said by a variable.
    """
    variables, secrets = _told_by(plan), {}
    for path, value in _set_in(settings, ()):
        said = _said(path)
        name = PREFIX + "__".join(said).upper()
        if name in variables or ".".join(path) in _OF_THE_PLACE:
            continue
        if "__".join(said).split("__") != list(said):
            raise SettingsError(".".join(path), "set", "two underscores in a name cannot be said by a variable")
        if isinstance(value, SecretStr):
            secrets[f"{name}_FILE"] = ".".join(path)
        else:
            variables[name] = _plain(_words_of(value, path), path)
    return Environment(variables, secrets)


def _said(path: tuple[str, ...]) -> tuple[str, ...]:
    """Return *path* as a variable has it: a header with underscores, which are its hyphens where it is read."""
    is_header = path[0] == "checks" and path[2:3] == ("headers",)
    return (*path[:-1], path[-1].replace("-", "_")) if is_header else path


def _told_by(plan: Plan) -> dict[str, str]:
    told = {
        "TASKER_SERVER__PORT": f"{plan.port}",
        "TASKER_SERVER__PREFIX": plan.prefix,
        "TASKER_SERVER__DRAIN_SECONDS": number(plan.drain_seconds),
        "TASKER_HEALTH__READINESS_TIMEOUT_SECONDS": number(plan.readiness_timeout_seconds),
        "TASKER_GUARD__ENABLED": "false" if plan.guard_port is None else "true",
    }
    if plan.guard_port is not None:
        told["TASKER_GUARD__PORT"] = f"{plan.guard_port}"
    if plan.agent_port is not None:
        told["TASKER_GUARD__AGENT_PORT"] = f"{plan.agent_port}"
    return told


def _set_in(group: BaseModel, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every value of *group* that was set, with its path."""
    for name, about in type(group).model_fields.items():
        if name in group.model_fields_set:
            yield from _below(getattr(group, name), (*above, about.alias or name))


def _below(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, BaseModel):
        # A group that is there and says nothing, such as a role that may nothing, is another thing than none.
        said = value if value.model_fields_set else value.model_copy(update=_first_of(value))
        yield from _set_in(said, path)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _below(each, (*path, name))
    elif value not in (None, ()):
        yield path, value


def _first_of(group: BaseModel) -> dict[str, Any]:
    """Return one value of *group* that a variable can say."""
    values = ((name, getattr(group, name)) for name in type(group).model_fields)
    return dict([each for each in values if isinstance(each[1], str | int | float | tuple) and each[1] != ()][:1])


def _plain(words: str, path: tuple[str, ...]) -> str:
    if "\0" in words:
        raise SettingsError(".".join(path), "set", "a character of no text in it cannot be said by a variable")
    if _USER_OF_URL.search(words):
        raise SettingsError(".".join(path), "set", "an address without a user: it would stand there for all to read")
    return words


def _words_of(value: Any, path: tuple[str, ...]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, tuple):
        words = [str(each) for each in value]
        if any("," in word or word != word.strip() or not word for word in words):
            raise SettingsError(".".join(path), "set", "a word with a comma in it cannot be said by a variable")
        return ",".join(words)
    return str(value)
