"""The commands, and how every one of them ends: one clear line and a code, never a traceback."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tasker_health import __version__
from tasker_health.cli import deploy, doctor, load_test, options, token, workers
from tasker_health.cli.probe import say
from tasker_health.errors import ConfigurationError
from tasker_health.extras import needed
from tasker_health.loading import load_settings
from tasker_health.reasons import words_of
from tasker_health.settings import Settings

NOT_ASKED = 2

app = typer.Typer(
    name="tasker-health",
    help="Health endpoints that never hang and never lie.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.add_typer(deploy.app, name="deploy")
app.add_typer(doctor.app, name="doctor")
app.add_typer(token.app, name="token")
app.add_typer(workers.app, name="workers")
app.command("load-test")(load_test.load_test)


def run_command() -> int:
    """Run the command of `sys.argv`; return 2 with one line on standard error when it could not be carried out."""
    try:
        with needed():
            code: Any = app(standalone_mode=False)
    except ConfigurationError as error:
        say(sys.stderr, f"tasker-health: {error}\n")
        return NOT_ASKED
    except typer.TyperException as error:
        words = getattr(error, "format_message", error.__str__)()
        say(sys.stderr, words if "\n" in words else f"tasker-health: {words} See tasker-health --help.\n")
        return NOT_ASKED
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except OSError as error:
        say(sys.stderr, f"tasker-health: {words_of(error)}; is there room, and may it be written?\n")
        return NOT_ASKED
    except Exception as error:  # noqa: BLE001 -- the last net: no command ends with a traceback
        say(sys.stderr, f"tasker-health: {words_of(error)}; this is a fault of ours, please report it\n")
        return NOT_ASKED
    return code if isinstance(code, int) else 0


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Print the version.", is_eager=True)] = False,
) -> None:
    if version:
        typer.echo(f"tasker-health {__version__}")
        raise typer.Exit


@app.command()
def serve(config: options.Config = None) -> None:
    """Serve the health endpoints, from settings only, until SIGTERM or Ctrl-C."""
    from tasker_health.cli.serve import serve_until_stopped

    serve_until_stopped(_settings(config))


@app.command()
def check(
    config: options.Config = None,
    fail_on: Annotated[
        Literal["unhealthy", "degraded"], typer.Option(help="From which state on the code is 1.")
    ] = "unhealthy",
    as_json: Annotated[bool, typer.Option("--json", help="Print the answers of ready and status as JSON.")] = False,
) -> int:
    """Ask what /ready and /status ask, in this process, and exit 0, 1 or 2."""
    from tasker_health.cli.check import check_once

    return check_once(_settings(config), fail_on=fail_on, as_json=as_json)


@app.command()
def probe() -> None:
    """Ask a health endpoint over HTTP; see `tasker-health probe --help`."""
    raise AssertionError("probe is run before Typer is imported")


@app.command()
def demo(
    database_url: Annotated[
        str | None,
        typer.Option(help="Where the shop is kept: postgresql://... or sqlite:///...; default: SQLite, here."),
    ] = None,
    rate: Annotated[
        float, typer.Option(min=0, max=100, help="Orders placed a second, at most; 0: only finish what is there.")
    ] = 1.2,
    seed: Annotated[int | None, typer.Option(help="Draw the same orders each time.")] = None,
    backoff_seconds: Annotated[
        float, typer.Option(min=0.01, max=600, help="Wait after the first failed attempt of a step; then it doubles.")
    ] = 1,
    config: options.Config = None,
) -> int:
    """Run an order shop on DBOS, with its health endpoints beside it, until SIGTERM or Ctrl-C."""
    from tasker_health.cli.demo import DemoOptions, run_demo

    wanted = DemoOptions(database_url, rate=rate, seed=seed, backoff_seconds=backoff_seconds)
    return run_demo(_settings(config), wanted)


@app.command()
def top(  # noqa: PLR0913, PLR0917 -- one for each option
    url: Annotated[
        str | None, typer.Argument(help="Such as http://127.0.0.1:8080/tasker/health; unset: what the settings serve.")
    ] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Print it once and exit 0, 1 or 2, as without a terminal.")
    ] = False,
    interval: Annotated[float, typer.Option(min=0.2, max=3600, help="Seconds between two questions.")] = 2,
    timeout: Annotated[float, typer.Option(min=0.1, max=600, help="Longest wait for all answers, seconds.")] = 5,
    fail_on: Annotated[
        Literal["unhealthy", "degraded"], typer.Option(help="From which state on the code is 1, with --once.")
    ] = "unhealthy",
    token: options.Token = None,
    basic: options.Basic = None,
    ca_file: options.CaFile = None,
    server_name: options.ServerName = None,
    insecure: options.Insecure = False,
    config: options.Config = None,
) -> int:
    """Show the status in a terminal: what is wrong first, and the last hour; it keeps itself up to date."""
    from tasker_health.cli.credentials import authorization_of
    from tasker_health.cli.top import Manner, run_top
    from tasker_health.cli.top.target import target_of
    from tasker_health.cli.trust import Trust

    trust = Trust(ca_file=ca_file, server_name=server_name, insecure=insecure)
    target = target_of(url, _settings(config), trust, authorization_of(token, basic))
    return run_top(target, Manner(once, interval, timeout, fail_on))


@app.command()
def stuck(  # noqa: PLR0913, PLR0917 -- one for each option
    url: Annotated[
        str | None, typer.Argument(help="Such as http://127.0.0.1:8080/tasker/health; unset: what the settings serve.")
    ] = None,
    as_json: options.AsJson = False,
    timeout: Annotated[float, typer.Option(min=0.1, max=600, help="Longest wait for the answer, seconds.")] = 10,
    token: options.Token = None,
    basic: options.Basic = None,
    ca_file: options.CaFile = None,
    server_name: options.ServerName = None,
    insecure: options.Insecure = False,
    config: options.Config = None,
) -> int:
    """Tell which tasks stand still, why, and what to do; exit 0 (none), 1 (some) or 2 (could not ask)."""
    from tasker_health.cli.credentials import authorization_of
    from tasker_health.cli.stuck import show_stuck
    from tasker_health.cli.top.target import target_of
    from tasker_health.cli.trust import Trust

    trust = Trust(ca_file=ca_file, server_name=server_name, insecure=insecure)
    target = target_of(url, _settings(config), trust, authorization_of(token, basic))
    return show_stuck(target, patience_seconds=timeout, as_json=as_json)


def _settings(config: Path | None) -> Settings:
    return load_settings(config)
