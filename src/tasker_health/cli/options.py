"""Options that several commands have, in the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None, typer.Option("--config", help="TOML file with the settings; TASKER_<GROUP>__<NAME> goes before it.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]

# Who asks; `credentials` makes headers of them.
Token = Annotated[
    str | None, typer.Option(help="Bearer token; - reads it, and others on this machine do not see it then.")
]
Basic = Annotated[str | None, typer.Option(metavar="USER:PASSWORD", help="User and password; - reads both.")]
Headers = Annotated[list[str] | None, typer.Option("--header", metavar="'NAME: VALUE'", help="A header that is sent.")]

# Whom to take for the server; `trust` makes a context of them.
CaFile = Annotated[str | None, typer.Option(help="PEM file of the certificates to trust, in place of the system's.")]
ServerName = Annotated[
    str | None, typer.Option(help="Name that the certificate must have, in place of the URL's host.")
]
Insecure = Annotated[bool, typer.Option("--insecure", help="Trust any certificate.")]
