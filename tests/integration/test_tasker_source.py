"""The source `tasker` where servers, roles and sessions have time zones of their own, in any schema, by any group."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from contract.tasker_backend import TaskerOnPostgres
from contract.tasker_history import MINUTE, Life, together
from contract.tasker_recount import STATES, Recount
from servers import PostgresServer
from tasker_health.model import Facts


def _read(tables: TaskerOnPostgres, times: int = 1, **options: object) -> Facts:
    """Return what a new source says when it is asked so often."""

    async def read() -> Facts:
        source = tables.source(**options)
        try:
            for _ in range(times):
                facts = await source.read(30)
        finally:
            await source.close()
        return facts

    return asyncio.run(read())


@pytest.mark.parametrize("zone", ["America/New_York", "Asia/Tokyo"])
def test_no_time_zone_of_server_or_session_touches_a_figure(zone: str, own_postgres: PostgresServer):
    """The columns are UTC: a server that is set to a zone, and a session that asks for one, change nothing."""
    own_postgres.execute(f"ALTER SYSTEM SET timezone = '{zone}'", "SELECT pg_reload_conf()")
    tables = TaskerOnPostgres(own_postgres)
    tables.execute(f"ALTER DATABASE {sa.make_url(tables.url).database} SET timezone = '{zone}'")
    now_ms = tables.now_ms()
    tables.write(tables.lively, now_ms)
    by_server = _read(tables, times=2)
    own_postgres.execute("ALTER SYSTEM RESET timezone", "SELECT pg_reload_conf()")
    url = sa.make_url(tables.url).update_query_dict({"options": f"-c timezone={zone}"})
    by_session = _read(tables.moved(url.render_as_string(hide_password=False)), times=2)
    for facts in (by_server, by_session):
        assert tables.differences(facts, tables.raw(), now_ms) == {}


@pytest.mark.parametrize("schema", ["tasker", 'Tas"ker: %(odd)s {schema}'])
def test_the_tables_may_stand_in_any_schema(schema: str, postgres: PostgresServer):
    """Whatever its name is made of; counted at first and by the tally."""
    tables = TaskerOnPostgres(postgres, schema=schema)
    now_ms = tables.now_ms()
    tables.write(tables.lively, now_ms)
    assert tables.differences(_read(tables, times=2), tables.raw(), now_ms) == {}


@pytest.mark.parametrize("breakdown", ["namespaces", "named_tasks"])
@pytest.mark.parametrize("most", [1, 2, 20])
def test_groups_are_the_largest_and_the_rest_is_summed(breakdown: str, most: int, postgres: PostgresServer):
    """Each task is in one group, by its name or its namespace's; no more groups than were asked for and `other`."""
    tables = TaskerOnPostgres(postgres)
    sizes = {1: 7, 2: 4, 3: 2, 4: 1}
    for part in range(2):  # the second part is folded in
        lives = []
        for named_task, size in sizes.items():
            for number in range(size):
                life = Life(len(lives), -40 * MINUTE, named_task)
                life.go(("in_progress", "complete", "paused", "error")[(number + part) % 4])
                lives.append(life.rows())
        tables.write(together(lives), tables.now_ms())
    facts = _read(tables, times=2, breakdown=breakdown, most_groups=most)
    counted = Recount(tables.raw(), 0, 3600, 900).groups(breakdown, most)
    expected = {name: {**dict.fromkeys(STATES, 0), **states} for name, states in counted.items()}
    assert facts.groups == expected
