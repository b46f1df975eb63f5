"""`tasker-health doctor`: looks at an installation, or one part of it, and says what it found and what to do."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from tasker_health.cli.options import AsJson, Basic, Config, Headers, Token
from tasker_health.cli.probe import forget
from tasker_health.errors import ConfigurationError
from tasker_health.loading import load_settings
from tasker_health.request import Request

if TYPE_CHECKING:  # every command reads this module; only this one needs the rest
    from tasker_health.access.explanation import Explanation

LET_IN, REFUSED, BROKEN = 0, 1, 2

app = typer.Typer(
    help="Look at an installation, or one part of it, and say what to do; exit 0 (well), 1 (warnings) or 2 (errors)."
)

_COLOURS = {"passed": "green", "skipped": "dim", "refused": "red", "fault": "red"}


@app.callback(invoke_without_command=True)
def everything(
    context: typer.Context,
    config: Config = None,
    as_json: AsJson = False,
    manifest: Annotated[
        list[str] | None, typer.Option(metavar="FILE", help="Manifest that deploys it; - is standard input.")
    ] = None,
    part: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Look at this part only.")] = None,
) -> int:
    """Look at everything and say first what is worst."""
    if context.invoked_subcommand is not None:
        if config is not None or as_json or manifest or part:
            raise ConfigurationError(f"doctor: write the options after {context.invoked_subcommand}")
        return 0
    from tasker_health.cli.doctor.everything import examine_everything

    return examine_everything(config, manifest or (), part or (), as_json=as_json)


@app.command()
def sources(config: Config = None, as_json: AsJson = False) -> int:
    """Tell how each source is read, how long that takes, and which indexes would make counting everything faster."""
    from tasker_health.cli.doctor.sources import examine_sources

    return examine_sources(load_settings(config), as_json=as_json)


@app.command()
def cache(config: Config = None, as_json: AsJson = False) -> int:
    """Measure the path to the cache and say what to change; exit 0 (well), 1 (change something) or 2 (it is away)."""
    from tasker_health.cli.doctor.cache import examine_cache

    return examine_cache(load_settings(config), as_json=as_json)


@app.command()
def database(config: Config = None, as_json: AsJson = False) -> int:
    """Measure the path to the database and say what to change; exit 0 (nothing), 1 (something) or 2 (cannot ask)."""
    from tasker_health.cli.doctor.database import examine_database

    return examine_database(load_settings(config), as_json=as_json)


@app.command()
def probes(
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]...", help="Manifests to look at, too; - is standard input.")
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> int:
    """Tell whether probers get their answer, and in time; exit 0 (yes), 1 (change something) or 2 (cannot read)."""
    from tasker_health.cli.deploy.check import settings_with
    from tasker_health.cli.doctor.probes import examine_probes

    return examine_probes(settings_with(config), files or [], as_json=as_json)


@app.command()
def exporters(
    config: Config = None,
    as_json: AsJson = False,
    send_test: Annotated[
        bool, typer.Option("--send-test", help="Tell each of them something: a test alert that ends at once.")
    ] = False,
) -> int:
    """Tell who is told what, whether they can be reached, and what waits for them; exit 0, 1 (change it) or 2."""
    from tasker_health.cli.doctor.exporters import examine_exporters

    return examine_exporters(load_settings(config), as_json=as_json, send_test=send_test)


@app.command()
def access(
    token: Token = None,
    basic: Basic = None,
    header: Headers = None,
    client: Annotated[str, typer.Option(help="Address that the caller comes from.")] = "127.0.0.1",
    config: Config = None,
    as_json: AsJson = False,
) -> int:
    """Explain step by step why a caller may read the status or not; exit 0 (may), 1 (may not) or 2 (it is broken)."""
    import msgspec

    from tasker_health.access.explanation import FAULT, OK, explain
    from tasker_health.access.gate import Gate
    from tasker_health.cli.credentials import headers_of

    settings = load_settings(config)
    sent = [(name.lower().encode(), value.encode()) for name, value in headers_of(token, basic, header or [])]
    request = Request("GET", f"{settings.server.prefix}/health/status", sent, client)
    found = asyncio.run(explain(Gate(settings), request))
    try:
        if as_json:
            print(msgspec.json.encode(found).decode(), flush=True)
        else:
            _print(found)
    except OSError:  # nobody reads it; the code tells all the same
        forget(sys.stdout)
    return {OK: LET_IN, FAULT: BROKEN}.get(found.code, REFUSED)


def _print(found: Explanation) -> None:
    from rich.table import Table

    from tasker_health.cli.console import Told
    from tasker_health.cli.doctor.findings import in_a_cell

    table = Table("step", "outcome", "why", box=None)
    for step in found.steps:
        # The caller names himself, in his token too: no markup of his is obeyed.
        table.add_row(in_a_cell(step.name), in_a_cell(step.outcome, _COLOURS[step.outcome]), in_a_cell(step.words))
    console = Told(highlight=False, soft_wrap=True)
    console.print(table)
    console.print(f"the status answers {found.code}")
