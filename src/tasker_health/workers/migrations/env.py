"""What Alembic's own command would run: this table is brought up to date by `tasker-health workers migrate`."""

raise SystemExit("use: tasker-health workers migrate")
