"""The shop's book decides once how an order ended."""

import threading

import pytest
import sqlalchemy as sa

from servers import sync_url
from tasker_health.demo.ledger import CANCELLED, SHIPPED, TABLE, Ledger


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path):
    """A database without a ledger."""
    if request.param == "sqlite":
        engine = sa.create_engine(f"sqlite:///{tmp_path / 'shop.sqlite'}")
    else:
        engine = sa.create_engine(sync_url(request.getfixturevalue("postgres_database")))
    yield engine
    engine.dispose()


def test_the_first_outcome_stands(engine):
    """A parcel that left is not cancelled any more, and the second run of a step changes nothing."""
    ledger = Ledger(engine)
    ledger.create()
    assert ledger.settle("a", SHIPPED) == SHIPPED
    assert ledger.settle("a", CANCELLED) == SHIPPED
    assert ledger.settle("a", SHIPPED) == SHIPPED
    assert ledger.settle("b", CANCELLED) == CANCELLED
    assert ledger.settle("b", SHIPPED) == CANCELLED
    with engine.connect() as connection:
        assert connection.execute(sa.text(f"SELECT count(*) FROM {TABLE}")).scalar() == 2


def test_processes_may_make_the_book_at_the_same_time(engine):
    """Several processes that start together all get a book, and none an error."""
    faults = []
    together = threading.Barrier(4)

    def create():
        together.wait()
        try:
            Ledger(engine).create()
        except sa.exc.DBAPIError as error:
            faults.append(error)

    threads = [threading.Thread(target=create) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
