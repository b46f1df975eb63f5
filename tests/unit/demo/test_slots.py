"""Each process of the shop has a name that no other one bears, and that is free again when the process is dead."""

import subprocess
import sys

import pytest
import sqlalchemy as sa

from servers import sync_url, wait_until
from tasker_health.demo.slots import AdvisorySlots, FileSlots, take_lowest

_TAKE = """
import sys, time
from pathlib import Path
from sqlalchemy import make_url
from tasker_health.demo.slots import AdvisorySlots, FileSlots, take_lowest
kind, where = sys.argv[1:]
slots = FileSlots(Path(where)) if kind == "file" else AdvisorySlots(make_url(where))
print(take_lowest(slots), flush=True)
time.sleep(600)
"""


@pytest.fixture(params=["file", "advisory"])
def place(request, tmp_path):
    """How and where slots are held: `(make, kind, where)`."""
    if request.param == "file":
        return lambda: FileSlots(tmp_path / "shop.sqlite"), "file", str(tmp_path / "shop.sqlite")
    url = sync_url(request.getfixturevalue("postgres_database"))
    return lambda: AdvisorySlots(sa.make_url(url)), "advisory", url


def test_the_lowest_free_slot_is_taken(place):
    """The second process is shop-2; when the first one has gone, the next one is shop-1 again."""
    make, _, _ = place
    first, second, third = make(), make(), make()
    try:
        assert take_lowest(first) == 1
        assert take_lowest(second) == 2
        assert not third.take(2)
        first.close()
        wait_until(lambda: third.take(1), "the server has noticed that the first one has gone")
    finally:
        for each in (first, second, third):
            each.close()


def test_a_slot_that_was_given_back_is_free(place):
    """A process that resumed a dead one's work gives up its name, and keeps its own."""
    make, _, _ = place
    one, other = make(), make()
    try:
        assert one.take(1)
        assert one.take(2)
        one.give_back(2)
        assert other.take(2)
        assert not other.take(1)
        assert one.keep(1)
    finally:
        one.close()
        other.close()


def test_a_slot_dies_with_its_process(place):
    """After SIGKILL the name is free, without anybody having cleaned up."""
    make, kind, where = place
    slots = make()
    process = subprocess.Popen([sys.executable, "-c", _TAKE, kind, where], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"1\n"
        assert not slots.take(1)
        process.kill()
        process.wait()
        wait_until(lambda: slots.take(1), "the slot of the dead process is free")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        slots.close()


def test_a_session_that_the_server_ended_takes_its_slot_again(postgres, postgres_database):
    """A restart of PostgreSQL takes nobody's name away."""
    slots, rival = (AdvisorySlots(sa.make_url(sync_url(postgres_database))) for _ in range(2))
    try:
        assert slots.take(1)
        postgres.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{sa.make_url(postgres_database).database}'"
        )
        assert slots.keep(1)
        assert not rival.take(1)
    finally:
        slots.close()
        rival.close()
