"""A hot standby of a PostgreSQL: copied while it runs, fed by what it streams, to be promoted when it is gone."""

from __future__ import annotations

import sqlalchemy as sa

from server import sync_url, wait_until
from servers import PostgresServer, postgres_program


class Standby(PostgresServer):
    """A copy of *primary* that follows it."""

    def __init__(self, primary: PostgresServer) -> None:
        self._primary = primary
        super().__init__()

    def _initialise(self) -> None:
        self.user, self.password = self._primary.user, self._primary.password
        source = sa.make_url(self._primary.url).set(database=None).render_as_string(hide_password=False)
        self._run(
            *(postgres_program("pg_basebackup"), "-D", self.data, "-d", source),
            *("--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"),
        )

    def follow(self) -> None:
        """Wait until everything that was committed on the primary is visible here."""
        position = _scalar(self._primary.url, "SELECT pg_current_wal_lsn()::text")
        seen = f"SELECT coalesce(pg_last_wal_replay_lsn() >= '{position}', false)"
        wait_until(lambda: _scalar(self.url, seen), "the standby has caught up")

    def promote(self) -> None:
        """Become a primary."""
        assert _scalar(self.url, "SELECT pg_promote(true, 60)")


def _scalar(url: str, statement: str) -> object:
    engine = sa.create_engine(sync_url(url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        return connection.exec_driver_sql(statement).scalar_one()
