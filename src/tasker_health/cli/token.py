"""`tasker-health token`: tokens and the hashes that the settings store of them."""

from __future__ import annotations

import getpass
import re
import sys
import time
import unicodedata
import warnings
from collections.abc import Sequence
from typing import Annotated

import msgspec
import typer

from tasker_health.access.hashing import PasswordHash, new_token, stored_token
from tasker_health.cli.probe import say
from tasker_health.clock import timestamp
from tasker_health.settings import CHECK_NAME

_DAY_SECONDS = 86_400
_MOST_CHARACTERS = 4096
"""Well within what a request is allowed to carry."""

_LEAST_OF_PASSWORD = 15
"""NIST SP 800-63B-4 section 3.1.1.2, for a password that is all that is asked."""

_LEAST_OF_TOKEN = 22
"""128 bits in base64: below it a fast hash could be tried through."""

app = typer.Typer(help="Make tokens and the hashes that the settings store.", no_args_is_help=True)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who will send it: its name in auth.tokens.")],
    role: Annotated[list[str] | None, typer.Option(help="A role of auth.roles; more than once for more.")] = None,
    expires_in_days: Annotated[int | None, typer.Option(min=1, max=3650, help="When it ends; else never.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the token and its settings as JSON.")] = False,
) -> None:
    """Print a new token, this once, on standard output; and the settings to store, as TOML, on standard error."""
    roles = role or []
    for each in (name, *roles):
        if not CHECK_NAME.fullmatch(each):
            raise typer.BadParameter(f"{each!r}: a name of a-z, 0-9, _ and -, beginning with a letter, at most 63 long")
    token = new_token()
    values = {"hash": stored_token(token)}
    if roles:
        values["roles"] = ",".join(roles)
    if expires_in_days is not None:
        values["expires"] = f"{timestamp(time.time() + expires_in_days * _DAY_SECONDS):%Y-%m-%dT%H:%M:%SZ}"
    environment = _environment(name, values)
    if as_json:
        made = {"token": token, "name": name, "expires": None, **values, "roles": roles, "environment": environment}
        _print(msgspec.json.encode(made).decode())
        return
    _print(token)
    say(sys.stderr, _settings(name, values, roles, environment))


@app.command("hash")
def hash_() -> None:
    """Print the hash of a token that there is already, read from standard input."""
    token = _secret("Token", again=False)
    if len(token) < _LEAST_OF_TOKEN:
        raise typer.TyperException(
            f"A token needs {_LEAST_OF_TOKEN} random characters; `token create` makes a good one."
        )
    if not re.fullmatch(r"[!-~]+", token):
        raise typer.TyperException("A token has letters, digits and signs of ASCII only, and no space.")
    _print(stored_token(token))


@app.command()
def password() -> None:
    """Print the hash of a password, asked for twice without an echo, or read from standard input."""
    password = _secret("Password", again=True)
    if len(password) < _LEAST_OF_PASSWORD:
        raise typer.TyperException(f"A password needs {_LEAST_OF_PASSWORD} characters or more; some words will do.")
    if any(unicodedata.category(character) == "Cc" for character in password):
        raise typer.TyperException("A password has no control characters: HTTP Basic cannot carry them.")
    _print(PasswordHash.of(password).stored)


def _secret(what: str, *, again: bool) -> str:
    """Return the one line that standard input has, or what is typed there without an echo."""
    if sys.stdin is None:
        raise typer.TyperException(f"There is no standard input to read a {what.lower()} from.")
    if sys.stdin.isatty():
        return _typed(what, again=again)
    given = sys.stdin.buffer.read(_MOST_CHARACTERS + 2)
    try:
        text = given.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise typer.TyperException(f"The {what.lower()} on standard input is not UTF-8 text.") from None
    if len(given) > _MOST_CHARACTERS:
        raise typer.TyperException(f"A {what.lower()} has at most {_MOST_CHARACTERS} characters.")
    return text


def _typed(what: str, *, again: bool) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)  # it would go on with an echo
        try:
            typed = getpass.getpass(f"{what}: ")
            if again and getpass.getpass(f"{what} again: ") != typed:
                raise typer.TyperException(f"The two {what.lower()}s are not the same.")
        except (EOFError, getpass.GetPassWarning):
            raise typer.TyperException(f"No {what.lower()} was typed; or pipe it to standard input.") from None
    return typed


def _print(text: str) -> None:
    """Print *text*, or fail: a token that nobody could read is lost, and its hash of no use."""
    if sys.stdout is None:
        raise typer.TyperException("There is no standard output to print to.")
    print(text, flush=True)


def _environment(name: str, values: dict[str, str]) -> dict[str, str] | None:
    """Return *values* as variables; `None` where no variable can spell *name*."""
    if "-" in name or "__" in name or name.endswith("_"):
        return None
    return {f"TASKER_AUTH__TOKENS__{name.upper()}__{key.upper()}": value for key, value in values.items()}


def _settings(name: str, values: dict[str, str], roles: Sequence[str], environment: dict[str, str] | None) -> str:
    """Return what to store, as TOML: the words for people are comments, so that it may be appended to a file."""
    lines = ["# The token is on standard output, this once: it is not stored. The settings know it by its hash:"]
    lines += [f"[auth.tokens.{name}]", f'hash = "{values["hash"]}"']
    if roles:
        lines.append(f"roles = {msgspec.json.encode(roles).decode()}")
    if "expires" in values:
        lines.append(f"expires = {values['expires']}")
    if environment is None:
        lines.append("# (No environment variable can spell this name.)")
    else:
        lines += ["# or, as environment variables:", *(f"# {key}={value}" for key, value in environment.items())]
    if not roles:
        lines.append("# It has no role: with auth.authorization_enabled it is refused. --role gives it one.")
    return "\n".join([*lines, ""])
