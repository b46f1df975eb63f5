"""`tasker-health workers`: who works, as the heartbeats tell it; and the table that those are kept in.

It looks once. A server that has just looked again knows more: whether the store was away, so that nobody could write.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from tasker_health.cli.options import AsJson, Config
from tasker_health.cli.probe import forget, say
from tasker_health.errors import ConfigurationError, LedgerFault, SettingsError
from tasker_health.extras import needed
from tasker_health.loading import load_settings
from tasker_health.model import Reason
from tasker_health.settings import Settings
from tasker_health.workers import DEAD_AFTER_BEATS, Ledger, Seen, Worker, WorkerState
from tasker_health.workers.chosen import chosen_ledger

if TYPE_CHECKING:  # every command reads this module; only this one needs the rest
    from rich.table import Table
    from rich.text import Text

    from tasker_health.workers.sql import SqlLedger

ALL_WELL, SOMEBODY_IS_NOT, NOT_ASKED = 0, 1, 2

_MIGRATION_SECONDS = 60.0
"""Longest wait for a table: whoever makes one at the same moment goes first."""

_STATES = (WorkerState.DEAD, WorkerState.STALLED, WorkerState.ALIVE)
_COLOURS = {WorkerState.DEAD: "red", WorkerState.STALLED: "yellow", WorkerState.ALIVE: "green"}
_NEVER = "no worker has ever written a heartbeat here: call health.worker(...) in it"

app = typer.Typer(help="List the workers by their heartbeats; exit 0 (all work), 1 (somebody does not) or 2.")


@app.callback(invoke_without_command=True)
def workers(context: typer.Context, config: Config = None, as_json: AsJson = False) -> int:
    """List the workers by their heartbeats, the worst first; exit 0 (all work), 1 (dead or stalled) or 2 (unknown)."""
    if context.invoked_subcommand is not None:
        if config is not None or as_json:
            raise ConfigurationError(f"workers: write the options after {context.invoked_subcommand}")
        return 0
    settings = load_settings(config)
    try:
        with needed():
            found = asyncio.run(_read(_ledger_of(settings)))
    except LedgerFault as fault:
        say(sys.stderr, f"tasker-health: the heartbeats cannot be read: {fault.reason}: {fault}\n")
        return NOT_ASKED
    try:
        if as_json:
            print(_json(found), flush=True)
        else:
            _print(found)
    except OSError:  # nobody reads it; the code tells all the same
        forget(sys.stdout)
    return ALL_WELL if all(each.state is WorkerState.ALIVE for each in found) else SOMEBODY_IS_NOT


@app.command()
def migrate(
    config: Config = None,
    as_sql: Annotated[
        bool, typer.Option("--sql", help="Only print the statements, for who owns the database; nothing is asked.")
    ] = False,
) -> int:
    """Make the table of the heartbeats, or bring it up to date; exit 0, or 2 when the database refuses."""
    settings = load_settings(config)
    patient = settings.workers.model_copy(update={"timeout_seconds": _MIGRATION_SECONDS})
    with needed():
        ledger = _ledger_of(settings.model_copy(update={"workers": patient}))
        if ledger.name == "redis":
            say(sys.stdout, "Redis and Valkey need no table\n")
            return ALL_WELL
        from tasker_health.workers.migrations import statements
        from tasker_health.workers.sql import SqlLedger

        if as_sql:
            say(sys.stdout, statements(ledger.name))
            return ALL_WELL
        assert isinstance(ledger, SqlLedger)  # noqa: S101 -- narrows the type: there are two kinds
        try:
            asyncio.run(_made(ledger))
        except LedgerFault as fault:
            say(sys.stderr, f"tasker-health: the table of heartbeats: {fault.reason}: {fault}\n")
            return NOT_ASKED
    say(sys.stdout, f"{ledger.name}: the table of heartbeats is up to date\n")
    return ALL_WELL


def judged(seen: Seen) -> Worker:
    """Return what one look tells of a worker."""
    beat = seen.beat
    if seen.age_seconds > DEAD_AFTER_BEATS * beat.period_seconds:
        return Worker(beat, seen.at, seen.age_seconds, WorkerState.DEAD)
    return Worker(beat, seen.at, seen.age_seconds, WorkerState.STALLED if beat.stalled else WorkerState.ALIVE)


def worst_first(found: Iterable[Worker]) -> list[Worker]:
    """Return the dead, the stalled, then the others; of each those first who have been silent for longest."""
    return sorted(found, key=lambda each: (_STATES.index(each.state), -each.age_seconds, each.beat.worker_id))


def counts(found: Iterable[Worker]) -> dict[WorkerState, int]:
    """Return how many are in each state, zeros included."""
    states = [each.state for each in found]
    return {state: states.count(state) for state in WorkerState}


def _ledger_of(settings: Settings) -> Ledger:
    ledger = chosen_ledger(settings)
    if ledger is None:
        raise SettingsError("workers.url", "not set", "set it, or database.url, to where the heartbeats are kept")
    return ledger


async def _read(ledger: Ledger) -> list[Worker]:
    """Return everybody, the worst first; nobody where nothing was ever written.

    Raises:
        LedgerFault: The store did not answer.
    """
    try:
        return worst_first(judged(each) for each in await ledger.read())
    except LedgerFault as fault:
        if fault.reason is Reason.MISSING:
            return []
        raise
    finally:
        await ledger.close()


async def _made(ledger: SqlLedger) -> None:
    try:
        await ledger.make_table()
    finally:
        await ledger.close()


def _json(found: list[Worker]) -> str:
    from msgspec import json
    from msgspec.structs import asdict

    rows = [
        {
            "state": each.state,
            "age_seconds": round(each.age_seconds, 3),
            **asdict(each.beat),
            "running": [asdict(task) for task in each.beat.running],
        }
        for each in found
    ]
    return json.encode({**counts(found), "workers": rows}).decode()


def _print(found: list[Worker]) -> None:
    from tasker_health.cli.console import Told

    console = Told(highlight=False)
    if not found:
        console.print(_NEVER)
        return
    console.print(_table(found))
    console.print(", ".join(f"{number} {state}" for state, number in counts(found).items()))


def _table(found: list[Worker]) -> Table:
    from rich.table import Table

    from tasker_health.cli.doctor.findings import in_a_cell

    table = Table("worker", box=None, padding=(0, 2, 0, 0))
    table.add_column("state", no_wrap=True)
    table.add_column("silent", no_wrap=True, justify="right")
    for head in ("engine", "version", "queues", "works on", "done", "failed"):
        table.add_column(head)
    for each in found:
        table.add_row(in_a_cell(each.beat.worker_id), *_cells(each))
    return table


def _cells(worker: Worker) -> list[Text]:
    """Return what stands behind its name: of what a worker says of itself, nothing is obeyed."""
    from tasker_health.cli.doctor.findings import in_a_cell

    beat = worker.beat
    longest = beat.running[0] if beat.running else None
    works_on = "" if longest is None else f"{longest.name} {longest.id}, {longest.seconds:.0f} s"
    more = beat.running_count - 1
    words = [
        f"{worker.age_seconds:.1f} s",
        beat.engine,
        beat.version or "",
        ", ".join(beat.queues),
        f"{works_on} and {more} more" if longest is not None and more > 0 else works_on,
        str(beat.done),
        str(beat.failed),
    ]
    return [in_a_cell(worker.state, _COLOURS[worker.state]), *map(in_a_cell, words)]
