"""An installation that is well, for the doctor to look at: a database with an engine's tables and a schema.

Tests break one thing in it, and mend it as the doctor says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa

import canary
from contract import tasker_schema
from server import sync_url
from tasker_health.cli.commands import run_command

SIGNING_KEY = canary.secret("signing")

_ENV_PY = """
import os
from alembic import context
from sqlalchemy import NullPool, create_engine

with create_engine(os.environ["SHOP_URL"], poolclass=NullPool).connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()
"""
_REVISION = "revision = {name!r}\ndown_revision = {below!r}\n\n\ndef upgrade():\n    pass\n"


class Installation:
    """What is looked at.

    Args:
        url: Of an empty PostgreSQL database.
        folder: Where its migrations are written.

    Attributes:
        variables: The settings, as the environment has them.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.engine = sa.create_engine(sync_url(url), poolclass=sa.NullPool, isolation_level="AUTOCOMMIT")
        with sa.create_engine(sync_url(url), poolclass=sa.NullPool).begin() as connection:
            tasker_schema.create(connection)
        self.ini = folder / "alembic.ini"
        (folder / "migrations" / "versions").mkdir(parents=True)
        (folder / "migrations" / "env.py").write_text(_ENV_PY)
        self.ini.write_text("[alembic]\nscript_location = %(here)s/migrations\npath_separator = os\n")
        self.revise("one", None)
        self.execute("CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
        self.execute("INSERT INTO alembic_version VALUES ('one')")
        self.variables = {
            "TASKER_SERVER__PORT": "0",
            "TASKER_GUARD__PORT": "0",
            "TASKER_DATABASE__URL": url,
            # The machine that tests share is slower than what is promised.
            "TASKER_HEALTH__READINESS_TIMEOUT_SECONDS": "4",
            "TASKER_MIGRATIONS__KIND": "alembic",
            "TASKER_MIGRATIONS__LOCATION": str(self.ini),
            "TASKER_SOURCES__WORK__KIND": "tasker",
        }

    def share_cache(self, url: str) -> None:
        """Keep facts in the cache at *url*."""
        more = {
            "TASKER_CACHE__URL": url,
            "TASKER_CACHE__SIGNING_KEY": SIGNING_KEY,
            "TASKER_CACHE__TIMEOUT_SECONDS": "60",
        }
        self.variables |= more

    def set(self, name: str, value: str) -> str:
        """Give the setting *name*, such as `database.url`, another value; return the one before."""
        variable = "TASKER_" + name.upper().replace(".", "__")
        before, self.variables[variable] = self.variables.get(variable, ""), value
        return before

    def execute(self, *statements: str) -> None:
        """Run *statements* in the database."""
        with self.engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def revise(self, name: str, below: str | None) -> None:
        """Write the revision *name* on top of *below*."""
        text = _REVISION.format(name=name, below=below)
        (self.folder / "migrations" / "versions" / f"{name}.py").write_text(text)

    def type(self, command: str) -> None:
        """Carry out *command* as an owner of the application would type it."""
        program, *words = command.split()
        done = subprocess.run(
            [str(Path(sys.executable).parent / program), *words],
            env={**os.environ, "SHOP_URL": sync_url(self.url)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def doctor(capsys, monkeypatch, variables, *arguments):
    """Return code and report of `tasker-health doctor --json`, run in this process: starting one costs a second."""
    with monkeypatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("TASKER_")]:
            patch.delenv(name)
        for name, value in variables.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["tasker-health", "doctor", "--json", *arguments])
        capsys.readouterr()
        code = run_command()
    printed = capsys.readouterr()
    canary.look("what the doctor printed", printed.out, printed.err)
    assert printed.out.count("\n") == 1, printed
    return code, json.loads(printed.out)
