"""What the commands of `deploy` share: their options, and where the text goes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from tasker_health.cli.probe import say
from tasker_health.deploy import Files
from tasker_health.deploy.writing import write
from tasker_health.errors import ConfigurationError

Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Folder to write into; without it, one file goes to standard output."),
]
Servers = Annotated[
    list[str] | None,
    typer.Option(
        "--server",
        help="A server behind it, HOST:PORT, once for each; ,guard=PORT and ,agent=PORT where they differ from the"
        " settings. Unset: 127.0.0.1 and server.port.",
    ),
]
Listen = Annotated[str, typer.Option("--listen", help="Where the balancer listens: PORT, or ADDRESS:PORT.")]
RequestTimeout = Annotated[
    float, typer.Option("--request-timeout", help="Seconds that the balancer waits for the answer to a request.")
]
Application = Annotated[
    str | None,
    typer.Option("--app", metavar="MODULE:NAME", help="An ASGI application of yours, in place of `serve`."),
]
Force = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]


def hand_over(files: Files, output: Path | None, *, force: bool) -> None:
    """Write *files* below *output* and name them on standard error, or print the only one.

    Raises:
        ConfigurationError: There are several and no *output*; or one is there already: nothing was written.
    """
    if output is None:
        if len(files) > 1:
            raise ConfigurationError(f"{', '.join(files)}: several files; name a folder for them with --output")
        (text,) = files.values()
        typer.echo(text, nl=False)
        return
    for path in write(files, output, force=force):
        say(sys.stderr, f"{path}\n")
