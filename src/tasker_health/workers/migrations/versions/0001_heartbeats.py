"""The table of heartbeats: one row a worker."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.schema import CreateTable

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_DOUBLE = sa.Float(53)


def upgrade() -> None:
    """Make the table."""
    # No index but the key: with one on `beat_at` each beat would write that, too, and a thousand rows are soon read.
    # MariaDB ends a transaction with each such statement: what was made before it died is there when it is run again.
    op.execute(
        CreateTable(
            sa.Table(
                "tasker_health_workers",
                sa.MetaData(),
                sa.Column("worker_id", sa.String(200), primary_key=True),
                sa.Column("engine", sa.String(32), nullable=False),
                sa.Column("host", sa.String(255), nullable=False),
                sa.Column("pid", sa.BigInteger, nullable=False),
                sa.Column("version", sa.String(200)),
                sa.Column("queues", sa.Text, nullable=False),
                sa.Column("running", sa.Text, nullable=False),
                sa.Column("running_count", sa.BigInteger, nullable=False),
                sa.Column("done", sa.BigInteger, nullable=False),
                sa.Column("failed", sa.BigInteger, nullable=False),
                sa.Column("lag_seconds", _DOUBLE, nullable=False),
                sa.Column("idle_seconds", _DOUBLE, nullable=False),
                sa.Column("stalled", sa.Boolean, nullable=False),
                sa.Column("period_seconds", _DOUBLE, nullable=False),
                sa.Column("started_at", _DOUBLE, nullable=False),
                sa.Column("beat_at", _DOUBLE, nullable=False),
                sa.Column("document", sa.Text, nullable=False),
                mysql_charset="utf8mb4",
                mysql_collate="utf8mb4_bin",
                mysql_engine="InnoDB",
                mariadb_charset="utf8mb4",
                mariadb_collate="utf8mb4_bin",
                mariadb_engine="InnoDB",
            ),
            if_not_exists=True,
        )
    )


def downgrade() -> None:
    """Drop it."""
    op.drop_table("tasker_health_workers")
