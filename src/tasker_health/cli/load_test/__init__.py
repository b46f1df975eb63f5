"""`tasker-health load-test`: asks the health endpoints as many do, and says whether they keep what is promised.

The road of a run: `plan` (what is asked for, within bounds) → `target` (where, and may it be) → `asking` (one question)
→ `pace` (when each is asked) → `record` (what came of all) → `marks` (what was promised) → `figures`, which `text` and
`page` show.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Literal

import typer

from tasker_health.cli.options import Basic, CaFile, Config, Headers, Insecure, ServerName, Token
from tasker_health.errors import ConfigurationError
from tasker_health.loading import load_settings


def load_test(  # noqa: PLR0913, PLR0917 -- each is an option of the command line
    url: Annotated[
        str | None,
        typer.Argument(metavar="[URL]", help="Base of the endpoints; without it, the server of the settings."),
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="Open loop: requests a second on each endpoint (50 without --concurrency).")
    ] = None,
    concurrency: Annotated[
        int | None, typer.Option(help="Closed loop: so many on each endpoint, each asking when it has its answer.")
    ] = None,
    duration: Annotated[float | None, typer.Option(help="Seconds (10 without --requests).")] = None,
    requests: Annotated[int | None, typer.Option(help="Requests on each endpoint, at most.")] = None,
    endpoints: Annotated[str | None, typer.Option(help="Which, by commas: live,ready,status (all).")] = None,
    guide: Annotated[
        bool, typer.Option("--guide", help="The guide's own run: 1000 requests, 10 at once, on one after the other.")
    ] = False,
    keep_alive: Annotated[
        bool | None,
        typer.Option("--keep-alive/--no-keep-alive", help="Use connections again (yes; with --guide no, as ab does)."),
    ] = None,
    warm_up: Annotated[float, typer.Option(help="Seconds of the same before, not counted.")] = 0,
    timeout: Annotated[
        float | None, typer.Option(help="Seconds after which an answer is given up (5; with --guide 30, as ab does).")
    ] = None,
    mark: Annotated[
        list[str] | None, typer.Option(metavar="NAME=MS", help="Another limit for a mark, such as live=20.")
    ] = None,
    promise_percentile: Annotated[float, typer.Option(help="What the promises are held against.")] = 99,
    table_percentile: Annotated[float, typer.Option(help="What the guide's table is held against.")] = 50,
    report: Annotated[Literal["text", "json", "html"], typer.Option(help="Form of the report.")] = "text",
    output: Annotated[Path | None, typer.Option(help="File for the report; the text is printed besides.")] = None,
    token: Token = None,
    basic: Basic = None,
    header: Headers = None,
    ca_file: CaFile = None,
    server_name: ServerName = None,
    insecure: Insecure = False,
    is_own: Annotated[
        bool, typer.Option("--i-own-this-host", help="Ask a host that is not this machine; you answer for it.")
    ] = False,
    config: Config = None,
) -> int:
    """Ask live, ready and status as many do, and say whether they are as fast as promised; exit 0, 1 or 2."""
    if importlib.util.find_spec("aiohttp") is None:
        raise ConfigurationError("load-test asks by aiohttp, which is not here: pip install 'tasker-health[load-test]'")
    from tasker_health.cli.credentials import headers_of
    from tasker_health.cli.load_test import command
    from tasker_health.cli.load_test.marks import terms_of
    from tasker_health.cli.load_test.plan import Options, plan_of
    from tasker_health.cli.load_test.target import base_of
    from tasker_health.cli.trust import Trust

    plan = plan_of(
        Options(rate, concurrency, duration, requests, endpoints, timeout, warm_up, kept_alive=keep_alive, guide=guide)
    )
    order = command.Order(
        base_of(url, load_settings(config)),
        plan,
        terms_of(mark or [], promise_percentile, table_percentile),
        Trust(ca_file, server_name, insecure),
        dict(headers_of(token, basic, header or [])),
        is_own=is_own,
        form=report,
        output=output,
    )
    return command.load_test(order)
