"""The check of the schema against real tools and real databases: missing, behind, at head, ahead, and well again.

Each test asks one and the same `Health` before and after the schema is changed: nothing is restarted.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from fakes import settings_of
from servers import sync_url
from tasker_health import Health

PATIENCE_SECONDS = 60

OK = {"ready": True, "checks": {"migrations": {"status": "ok"}}}
AHEAD = {
    "ready": True,
    "degraded_checks": ["migrations"],
    "checks": {"migrations": {"status": "degraded", "reason": "ahead"}},
}


def failing(reason: str) -> dict[str, Any]:
    """Return the answer of a schema that is not well because of *reason*."""
    return {
        "ready": False,
        "failed_checks": ["migrations"],
        "checks": {"migrations": {"status": "error", "reason": reason}},
    }


class Watched:
    """One `Health` of this process, asked again and again.

    Its settings let every question be a new one, and let a slow machine answer.
    """

    def __init__(self, url: str, health: dict[str, Any] | None = None, **groups: Any) -> None:
        patient = {"readiness_timeout_seconds": PATIENCE_SECONDS, "readiness_max_age_seconds": 0}
        self._runner = asyncio.Runner()
        self._health = Health(settings_of(database={"url": url}, health=patient | (health or {}), **groups))

    def ask(self) -> dict[str, Any]:
        """Return the answer of /ready/migrations, without its time."""
        answer = msgspec.to_builtins(self._runner.run(self._health.ready("migrations")))
        del answer["timestamp"]
        return answer

    def end(self) -> None:
        """Close every connection."""
        self._runner.run(self._health.stop())
        self._runner.close()


@pytest.fixture
def watch() -> Iterator[Any]:
    """A function that makes a `Watched`, ended with the test."""
    made: list[Any] = []

    def make(kind: type[Any], *args: Any, **named: Any) -> Any:
        made.append(kind(*args, **named))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.fixture
def sqlite_database(tmp_path: Path) -> str:
    """The URL of a new and empty SQLite file."""
    path = tmp_path / "app.db"
    path.touch()
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgres", "mariadb"])
def database(request: pytest.FixtureRequest) -> str:
    """The URL of a new and empty database of each kind."""
    return request.getfixturevalue(f"{request.param}_database")


@pytest.fixture(params=["sqlite", "postgres"])
def dbos_database(request: pytest.FixtureRequest) -> str:
    """The URL of a new and empty database of each kind that DBOS runs on."""
    return request.getfixturevalue(f"{request.param}_database")


def execute(url: str, *statements: str) -> None:
    """Run *statements* in one transaction."""
    engine = sa.create_engine(sync_url(url), poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


# --- Alembic ----------------------------------------------------------------------------------------------------

ENV_PY = """
from alembic import context
from sqlalchemy import NullPool, create_engine

option = context.config.get_main_option
with create_engine(option("sqlalchemy.url"), poolclass=NullPool).connect() as connection:
    names = {name: option(name) for name in ("version_table", "version_table_schema") if option(name)}
    context.configure(connection=connection, **names)
    with context.begin_transaction():
        context.run_migrations()
"""


class AlembicProject:
    """A real script directory and its alembic.ini in *folder*, for the database at *url*."""

    def __init__(self, folder: Path, url: str, **options: str) -> None:
        self.ini = folder / "alembic.ini"
        self.scripts = folder / "migrations"
        self._config = Config(str(self.ini), stdout=io.StringIO())
        command.init(self._config, str(self.scripts))
        (self.scripts / "env.py").write_text(ENV_PY)
        lines = {"script_location": "%(here)s/migrations", "sqlalchemy.url": sync_url(url).replace("%", "%%")}
        text = "\n".join(f"{name} = {value}" for name, value in (lines | options).items())
        self.ini.write_text(f"[alembic]\n{text}\n")
        self._config = Config(str(self.ini), stdout=io.StringIO())

    def revision(self, name: str, head: str = "head", **more: Any) -> None:
        """Write the revision *name* on top of *head*."""
        command.revision(self._config, name, head=head, rev_id=name, **more)

    def upgrade(self, to: str = "heads") -> None:
        """Apply up to *to*."""
        command.upgrade(self._config, to)

    def downgrade(self, to: str) -> None:
        """Take back down to *to*."""
        command.downgrade(self._config, to)


def test_alembic_schema_is_followed_through_its_life(database: str, tmp_path: Path, watch: Any):
    """Missing, behind, at head, ahead and taken back are told apart, on each database, without a restart."""
    project = AlembicProject(tmp_path, database)
    project.revision("first")
    project.revision("second")
    watched = watch(Watched, database, migrations={"kind": "alembic", "location": str(project.scripts)})
    assert watched.ask() == failing("missing")
    project.upgrade("first")
    assert watched.ask() == failing("pending")
    project.upgrade()
    assert watched.ask() == OK
    project.revision("third")  # a newer code, unpacked beside the running process, which has read its own
    assert watched.ask() == OK
    project.upgrade()
    assert watched.ask() == AHEAD
    project.downgrade("second")
    assert watched.ask() == OK
    project.downgrade("base")
    assert watched.ask() == failing("pending")
    execute(database, "DROP TABLE alembic_version")
    assert watched.ask() == failing("missing")


def test_alembic_ahead_is_an_error_on_demand(sqlite_database: str, tmp_path: Path, watch: Any):
    """`health.migrations_ahead = "error"` takes a process out of traffic that is older than the schema."""
    project = AlembicProject(tmp_path, sqlite_database)
    project.revision("first")
    wanted = {"kind": "alembic", "location": str(project.scripts)}
    watched = watch(Watched, sqlite_database, health={"migrations_ahead": "error"}, migrations=wanted)
    project.upgrade()
    assert watched.ask() == OK
    project.revision("second")
    project.upgrade()
    assert watched.ask() == failing("ahead")


def test_alembic_branches_and_dependencies(sqlite_database: str, tmp_path: Path, watch: Any):
    """Every head must be applied; one that another branch depends on has no row of its own and is applied with it."""
    project = AlembicProject(tmp_path, sqlite_database)
    project.revision("shop1", head="base", branch_label="shop")
    project.revision("shop2", head="shop1")
    project.revision("mail1", head="base", branch_label="mail")
    project.revision("mail2", head="mail1", depends_on=["shop2"])
    project.revision("bill1", head="base", branch_label="bill")
    watched = watch(Watched, sqlite_database, migrations={"kind": "alembic", "location": str(project.ini)})
    project.upgrade("bill1")
    assert watched.ask() == failing("pending")
    project.upgrade("mail2")
    assert watched.ask() == OK
    project.revision("both", head=["mail2", "bill1"])
    project.upgrade()
    assert watched.ask() == AHEAD
    project.downgrade("bill@base")
    assert watched.ask() == failing("pending")


def test_alembic_ini_names_table_and_schema(postgres_database: str, tmp_path: Path, watch: Any):
    """The version table stands where alembic.ini says."""
    execute(postgres_database, 'CREATE SCHEMA "Shop"')
    options = {"version_table": "applied versions", "version_table_schema": "Shop"}
    project = AlembicProject(tmp_path, postgres_database, **options)
    project.revision("first")
    watched = watch(Watched, postgres_database, migrations={"kind": "alembic", "location": str(project.ini)})
    by_folder = watch(Watched, postgres_database, migrations={"kind": "alembic", "location": str(project.scripts)})
    project.upgrade()
    assert watched.ask() == OK
    assert by_folder.ask() == failing("missing")


def test_alembic_pyproject_is_read(sqlite_database: str, tmp_path: Path, watch: Any):
    """The location may be a pyproject.toml with a table [tool.alembic]."""
    project = AlembicProject(tmp_path, sqlite_database, version_table="applied")
    project.revision("first")
    pyproject = tmp_path / "pyproject.toml"
    pyproject.write_text('[tool.alembic]\nscript_location = "%(here)s/migrations"\nversion_table = "applied"\n')
    watched = watch(Watched, sqlite_database, migrations={"kind": "alembic", "location": str(pyproject)})
    project.upgrade()
    assert watched.ask() == OK


def test_fault_of_the_database_is_not_one_of_the_schema(postgres_database: str, tmp_path: Path, watch: Any):
    """A refused connection is `refused`, a version table that a migration has locked is `timeout`, until it ends."""
    project = AlembicProject(tmp_path, postgres_database)
    project.revision("first")
    project.upgrade()
    wanted = {"kind": "alembic", "location": str(project.scripts)}
    nowhere = watch(Watched, "postgresql://app@127.0.0.1:1/app", migrations=wanted)
    assert nowhere.ask() == failing("refused")
    watched = watch(Watched, postgres_database, health={"readiness_timeout_seconds": 2}, migrations=wanted)
    assert watched.ask() == OK
    with sa.create_engine(sync_url(postgres_database), poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql("LOCK TABLE alembic_version")
        assert watched.ask() == failing("timeout")
    assert watched.ask() == OK


def test_database_file_that_appears_is_seen(tmp_path: Path, watch: Any):
    """A database that is not there yet is `missing`, and nothing but the migration makes it."""
    url = f"sqlite:///{tmp_path}/later.db"
    project = AlembicProject(tmp_path, url)
    project.revision("first")
    watched = watch(Watched, url, migrations={"kind": "alembic", "location": str(project.scripts)})
    assert watched.ask() == failing("missing")
    assert not (tmp_path / "later.db").exists()
    project.upgrade()
    assert watched.ask() == OK


# --- Django -----------------------------------------------------------------------------------------------------

SETTINGS_PY = """
import json, os

SECRET_KEY = "of a test"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "shop.apps.ShopConfig", "django.contrib.auth"]
DATABASES = json.loads(os.environ.get("TEST_DATABASES", "{}"))
LOGGING = {"version": 1, "disable_existing_loggers": True}
if "mysql" in str(DATABASES):
    import pymysql

    pymysql.install_as_MySQLdb()
"""

APPS_PY = """
from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "shop"
    became_ready = 0

    def ready(self):
        type(self).became_ready += 1
"""

WATCHED_PY = """
import asyncio, sys, msgspec
from tasker_health import Health, Settings

health = Health(Settings.model_validate_json(sys.argv[1]))
with asyncio.Runner() as runner:
    for _ in sys.stdin:
        print(msgspec.json.encode(runner.run(health.ready("migrations"))).decode(), flush=True)
    runner.run(health.stop())
"""


class DjangoProject:
    """A real Django project in *folder*, for the database at *url*; it runs in processes of its own.

    Its app `shop` stands between two of Django's, so that its migrations are not the last ones applied.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self._url = sa.make_url(url)
        self.migrations = folder / "shop" / "migrations"
        self.migrations.mkdir(parents=True)
        for package in (folder / "shop", self.migrations):
            (package / "__init__.py").touch()
        (folder / "shop_settings.py").write_text(SETTINGS_PY)
        (folder / "shop" / "apps.py").write_text(APPS_PY)

    def migration(self, name: str, after: str | None = None, replaces: list[str] | None = None) -> None:
        """Write the migration *name* of the app shop, which makes a table of that name."""
        (self.migrations / f"{name}.py").write_text(
            "from django.db import migrations, models\n\n\n"
            "class Migration(migrations.Migration):\n"
            f"    replaces = {[('shop', old) for old in replaces or []]}\n"
            f"    dependencies = {[('shop', after)] if after else []}\n"
            f"    operations = [migrations.CreateModel('T{name}', [('id', models.AutoField(primary_key=True))])]\n"
        )

    def migrate(self, *arguments: str) -> None:
        """Run `django-admin migrate`."""
        vendor = {"mariadb": "mysql", "sqlite": "sqlite3"}.get(self._url.get_backend_name(), "postgresql")
        words = {"NAME": "database", "USER": "username", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
        fields = {word: getattr(self._url, name) for word, name in words.items() if getattr(self._url, name)}
        databases = {"default": {"ENGINE": f"django.db.backends.{vendor}"} | fields}
        self.python("-m", "django", "migrate", "--verbosity=0", *arguments, TEST_DATABASES=json.dumps(databases))

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment of the project's processes; its own DATABASES are empty unless *more* says else."""
        own = {
            "PYTHONPATH": str(self.folder),
            "DJANGO_SETTINGS_MODULE": "shop_settings",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return {name: value for name, value in (os.environ | own | more).items() if value}

    def python(self, *arguments: str, **environment: str) -> str:
        """Return what python prints in the project."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.environment(**environment),
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()


class WatchedDjango:
    """One `Health` in a process of the project, which itself has no database: only ours is asked."""

    def __init__(self, project: DjangoProject, url: str) -> None:
        settings = {
            "database": {"url": url},
            "health": {"readiness_timeout_seconds": PATIENCE_SECONDS, "readiness_max_age_seconds": 0},
            "migrations": {"kind": "django", "location": "shop_settings"},
        }
        self._process = subprocess.Popen(
            [sys.executable, "-c", WATCHED_PY, json.dumps(settings)],
            env=project.environment(DJANGO_SETTINGS_MODULE=""),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ask()  # the code is read before the test changes it

    def ask(self) -> dict[str, Any]:
        """Return the answer of /ready/migrations, without its time."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write("ask\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        del answer["timestamp"]
        return answer

    def end(self) -> None:
        """Let it close its connections and end."""
        self._process.communicate(timeout=PATIENCE_SECONDS)


def test_django_schema_is_followed_through_its_life(database: str, tmp_path: Path, watch: Any):
    """Missing, behind, at head, ahead and taken back are told apart, on each database, without a restart."""
    project = DjangoProject(tmp_path, database)
    project.migration("0001_first")
    project.migration("0002_second", after="0001_first")
    watched = watch(WatchedDjango, project, database)
    assert watched.ask() == failing("missing")
    project.migrate("shop", "0001")
    assert watched.ask() == failing("pending")
    project.migration("0003_third", after="0002_second")  # a newer code makes the whole database at once
    project.migrate()
    assert watched.ask() == AHEAD
    project.migrate("shop", "0002")
    assert watched.ask() == OK
    project.migrate("shop", "zero")
    assert watched.ask() == failing("pending")


def test_django_squash_is_followed_through_its_life(sqlite_database: str, tmp_path: Path, watch: Any):
    """Squashed on a database that had the parts, the parts deleted, `replaces` dropped: well all the way."""
    project = DjangoProject(tmp_path, sqlite_database)
    project.migration("0001_first")
    project.migration("0002_second", after="0001_first")
    project.migrate()
    squash, parts = "0001_squashed", ["0001_first", "0002_second"]
    project.migration(squash, replaces=parts)
    assert watch(WatchedDjango, project, sqlite_database).ask() == OK  # new code before its migrate
    project.migrate()
    assert watch(WatchedDjango, project, sqlite_database).ask() == OK
    for part in parts:
        (project.migrations / f"{part}.py").unlink()
    assert watch(WatchedDjango, project, sqlite_database).ask() == OK
    project.migration(squash)
    assert watch(WatchedDjango, project, sqlite_database).ask() == OK
    project.migration("0002_next", after=squash)
    watched = watch(WatchedDjango, project, sqlite_database)
    assert watched.ask() == failing("pending")
    project.migrate()
    assert watched.ask() == OK


IN_AN_APPLICATION = {
    "set up before": "django.setup(); made(None)",
    "set up before, and named": "django.setup(); made('shop_settings')",
    "set up after": "made(None); django.setup()",
    "configured, not set up": "from django.conf import settings; settings.INSTALLED_APPS; made(None); django.setup()",
    "while it is set up": (
        "from shop.apps import ShopConfig; ready = ShopConfig.ready\n"
        "ShopConfig.ready = lambda self: (ready(self), made(None)); django.setup()"
    ),
    "made twice": "made(None); made('shop_settings')",
}
MADE_PY = """
import logging, django
from django.apps import apps
from tasker_health import Health, Settings

log = logging.getLogger("tasker_health.runner")


def made(location):
    migrations = {"kind": "django", "location": location}
    Health(Settings.model_validate({"database": {"url": "sqlite:////nowhere/app.db"}, "migrations": migrations}))


"""


@pytest.fixture
def django_project(tmp_path: Path) -> DjangoProject:
    """A project with one migration, whose database is nowhere."""
    project = DjangoProject(tmp_path, "sqlite:////nowhere/app.db")
    project.migration("0001_first")
    return project


@pytest.mark.parametrize("case", IN_AN_APPLICATION)
def test_django_is_set_up_once(case: str, django_project: DjangoProject):
    """However the application and `Health` come together, apps become ready once."""
    script = f"{MADE_PY}{IN_AN_APPLICATION[case]}\nprint(apps.get_app_config('shop').became_ready)"
    assert django_project.python("-c", script) == "1"


def test_django_logging_stays_the_applications(django_project: DjangoProject):
    """Loading the project does not put its LOGGING in force, which would silence ours in the standalone server."""
    assert django_project.python("-c", f"{MADE_PY}made(None); print(log.disabled)") == "False"
    assert django_project.python("-c", f"{MADE_PY}django.setup(); print(log.disabled)") == "True"


REFUSED_PY = f"""{MADE_PY}
from tasker_health.errors import SettingsError
try:
    made(LOCATION)
except SettingsError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("location", "variable", "before", "words"),
    [
        ("other", "shop_settings", "", "DJANGO_SETTINGS_MODULE says 'shop_settings' already; leave the location out"),
        (
            "other",
            "shop_settings",
            "django.setup()",
            "Django runs with 'shop_settings' already; leave the location out",
        ),
        (None, "", "", "set it, or DJANGO_SETTINGS_MODULE, to the settings module"),
        ("nowhere.settings", "", "", "does not load (ModuleNotFoundError: No module named 'nowhere'); correct it"),
    ],
)
def test_django_settings_that_cannot_be_are_refused(
    location: str | None, variable: str, before: str, words: str, django_project: DjangoProject
):
    """Other settings than Django's own, none at all, or ones that do not import stop the start in one line."""
    script = REFUSED_PY.replace("LOCATION", repr(location)).replace("def made", f"{before}\n\n\ndef made")
    message = django_project.python("-c", script, DJANGO_SETTINGS_MODULE=variable)
    assert message.startswith(f"migrations.location = {location!r}: " if location else "migrations.location = not set")
    assert words in message
    assert "\n" not in message


# --- Rails ------------------------------------------------------------------------------------------------------


def test_rails_schema_is_followed_through_its_life(database: str, tmp_path: Path, watch: Any):
    """Missing, behind, at head and ahead are told apart, on the table that Active Record makes, on each database."""
    for name in ("20240101000000_create_orders.rb", "20250101000000_add_total.rb"):
        (tmp_path / name).touch()
    watched = watch(Watched, database, migrations={"kind": "rails", "location": str(tmp_path)})
    assert watched.ask() == failing("missing")
    execute(database, "CREATE TABLE schema_migrations (version varchar(255) NOT NULL PRIMARY KEY)")
    assert watched.ask() == failing("pending")
    insert = "INSERT INTO schema_migrations VALUES ('{}')"
    execute(database, insert.format("20230101000000"), insert.format("20240101000000"))
    assert watched.ask() == failing("pending")
    execute(database, insert.format("20250101000000"))
    assert watched.ask() == OK
    execute(database, insert.format("20260101000000"))
    assert watched.ask() == AHEAD


# --- DBOS -------------------------------------------------------------------------------------------------------


def dbos_migrate(url: str, schema: str = "dbos") -> None:
    """Let DBOS make its tables."""
    script = Path(sys.executable).parent / "dbos"
    subprocess.run(
        [script, "migrate", "--sys-db-url", sync_url(url), "--schema", schema],
        capture_output=True,
        timeout=PATIENCE_SECONDS,
        check=True,
    )


@pytest.mark.parametrize("schema", ["dbos", "Shop Flow"])
def test_dbos_schema_is_followed_through_its_life(dbos_database: str, schema: str, watch: Any):
    """Missing, at head, behind, ahead and well again are told apart, wherever the source says that its tables are."""
    watched = watch(Watched, dbos_database, sources={"shop": {"kind": "dbos", "schema": schema}})
    assert watched.ask() == failing("missing")
    dbos_migrate(dbos_database, schema)
    assert watched.ask() == OK
    table = f'"{schema}".dbos_migrations' if dbos_database.startswith("postgresql") else "dbos_migrations"
    for version, answer in ((122, failing("pending")), (126, AHEAD), (125, OK)):
        execute(dbos_database, f"UPDATE {table} SET version = {version}")
        assert watched.ask() == answer
    execute(dbos_database, f"DELETE FROM {table}")
    assert watched.ask() == failing("pending")


# --- the command ------------------------------------------------------------------------------------------------


def test_bad_location_ends_the_command_with_2(tmp_path: Path):
    """`check` says the key, the value and the remedy in one line and exits 2, without asking anything."""
    environment = {
        "TASKER_DATABASE__URL": "postgresql://app:hunter2@127.0.0.1:1/app",
        "TASKER_MIGRATIONS__KIND": "alembic",
        "TASKER_MIGRATIONS__LOCATION": str(tmp_path / "nowhere"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "tasker_health", "check"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert f"migrations.location = '{tmp_path}/nowhere': not there; allowed: a script directory" in line
    assert "hunter2" not in done.stdout + done.stderr
