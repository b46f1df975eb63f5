"""Puts a run together from the words of the command line, and hands out its report."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tasker_health.cli.load_test.asking import Asker
from tasker_health.cli.load_test.figures import figures_of
from tasker_health.cli.load_test.marks import Terms
from tasker_health.cli.load_test.pace import precise_loop
from tasker_health.cli.load_test.page import page_of
from tasker_health.cli.load_test.plan import Plan
from tasker_health.cli.load_test.progress import shown
from tasker_health.cli.load_test.run import Run, carry_out, look_first
from tasker_health.cli.load_test.target import Base, addresses_of, reached
from tasker_health.cli.load_test.text import text_of
from tasker_health.cli.probe import say
from tasker_health.cli.trust import Trust
from tasker_health.errors import ConfigurationError
from tasker_health.reasons import words_of


@dataclass(frozen=True)
class Order:
    """All that a command line asks for.

    Attributes:
        base: Where.
        plan: What, how often.
        terms: What it is held against.
        trust: Whom to take for the server.
        credentials: Headers for `status`.
        is_own: Whether the host may be another one than this.
        form: `text`, `json` or `html`.
        output: Where the report goes; `None`: standard output.
    """

    base: Base
    plan: Plan
    terms: Terms
    trust: Trust = field(default_factory=Trust)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    is_own: bool = False
    form: str = "text"
    output: Path | None = None


def load_test(order: Order) -> int:
    """Carry out *order* and return the exit code.

    Raises:
        ConfigurationError: It cannot be carried out: a bad address, nobody there, a file that cannot be written.
    """
    _require_writable(order.output)
    with asyncio.Runner(loop_factory=precise_loop) as runner, shown() as progress:
        run = runner.run(_measured(order, progress))
    figures = figures_of(run, order.base.url, order.terms)
    report = _written(figures, order.form)
    if order.output is None:
        say(sys.stdout, report)
    else:
        order.output.write_text(report, encoding="utf-8")
        say(sys.stdout, text_of(figures))
    code: int = figures["exit_code"]
    return code


async def _measured(order: Order, progress: Callable[[Run], None]) -> Run:
    context: ssl.SSLContext | None = order.trust.context() if order.base.secure else None
    name = order.trust.server_name or order.base.host
    addresses = await addresses_of(order.base, is_own=order.is_own)
    address = await reached(order.base, addresses, context, name)
    async with Asker(order.base, address, order.credentials, context, name, kept_alive=order.plan.kept_alive) as asker:
        await look_first(asker, order.base, order.plan)
        return await carry_out(order.plan, asker, progress)


def _written(figures: dict[str, object], form: str) -> str:
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(figures), indent=2).decode() + "\n"
    return page_of(figures) if form == "html" else text_of(figures)


def _require_writable(output: Path | None) -> None:
    """Find out before the run, not after it.

    Raises:
        ConfigurationError: The file cannot be written.
    """
    if output is None:
        return
    was_there = output.exists()
    try:
        with output.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise ConfigurationError(f"--output {output}: {words_of(error)}; name a file that may be written") from None
    if not was_there:
        with contextlib.suppress(OSError):
            output.unlink()
