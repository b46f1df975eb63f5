"""The page of formats is true: every command on it is carried out, and its answer is the one that is shown."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from pathlib import Path

import httpx
import pytest

from fakes import FakeClock, FakeSource, settings_of
from tasker_health.errors import CheckFailed
from tasker_health.health import Health
from tasker_health.model import Reason

PAGE = Path(__file__).parents[2] / "docs" / "formats.md"
SHOWN = re.findall(r"^\$ (curl [^\n]+)\n(.*?)(?=^\$ |^```)", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def health():
    """Return the health that the page shows: a source with the contract's figures, and an API that is away."""
    shown = Health(settings_of(), clock=FakeClock())
    shown.add_source(FakeSource())

    @shown.check("payment_api", critical=False)
    async def payment_api():
        raise CheckFailed(Reason.REFUSED)

    return shown


async def answer(command):
    """Return the JSON that the curl in *command* would get."""
    words = shlex.split(command)[1:]
    headers = dict(words[number + 1].split(": ", 1) for number, word in enumerate(words) if word == "-H")
    transport = httpx.ASGITransport(health().asgi())
    async with httpx.AsyncClient(transport=transport) as client:
        return (await client.get(words[-1], headers=headers)).json()


@pytest.mark.parametrize(
    ("command", "shown"), [pytest.param(*pair, id=pair[0].split("/health/")[-1]) for pair in SHOWN]
)
def test_the_answer_is_the_one_that_is_shown(command, shown):
    """To the letter, but for white space."""
    assert asyncio.run(answer(command)) == json.loads(shown)


def test_every_format_is_shown():
    """By header where there is one, and by query."""
    commands = " ".join(command for command, _ in SHOWN)
    for word in ("application/health+json", "actuator.v3+json", "=health", "=actuator", "=microprofile"):
        assert word in commands
