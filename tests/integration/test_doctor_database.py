"""The doctor of a database, whose path breaks while it is being examined."""

from __future__ import annotations

import asyncio
import time

import pytest

from fakes import settings_of
from faulty_proxy import FaultyProxy
from tasker_health.cli.doctor import database_asking
from tasker_health.cli.doctor.database import examined
from tasker_health.cli.doctor.database_speed import DatabaseSpeed
from tasker_health.cli.doctor.findings import Verdict

LONGEST_SECONDS = 10


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
@pytest.mark.parametrize("mode", ["blackhole", "reset"])
def test_what_was_found_before_the_path_broke_is_told(kind, mode, request, monkeypatch):
    """And that the rest was not measured; in time, and nothing is left open."""
    server = request.getfixturevalue(kind)
    measure = DatabaseSpeed.query

    with FaultyProxy(server.port) as proxy:

        async def query_and_break(speed):
            found = await measure(speed)
            proxy.set(mode)
            return found

        async def play():
            found = await examined(settings_of(database={"url": url}), url)
            return found, len(asyncio.all_tasks())

        monkeypatch.setattr(DatabaseSpeed, "query", query_and_break)
        monkeypatch.setattr(database_asking, "PATIENCE_SECONDS", 2)
        url = proxy.url_for(server.url)
        began = time.monotonic()
        found, tasks = asyncio.run(play())
        took = time.monotonic() - began
    assert [each.what for each in found] == ["query", "server", "the rest"]
    assert [each.verdict for each in found] == [Verdict.OK, Verdict.WARNING, Verdict.UNKNOWN]
    assert took < LONGEST_SECONDS
    assert tasks == 1
