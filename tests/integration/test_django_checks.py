"""Checks from what a Django project says: its databases, caches and migrations, and its own system check."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

import canary
from caches import RedisServer
from django_site import PATIENCE_SECONDS, environment_of, run, write
from server import wait_until
from tasker_health.checks.django.database_url import is_in_memory, url_of

DEADLINE_SECONDS = 0.8
PATIENT_SECONDS = 30
"""The deadline where nothing hangs: a machine that is busy with other tests is slow."""
LATE_SECONDS = 5.0
"""Beyond the deadline, what such a machine may add."""

WATCHED = """
import asyncio, json, sys, threading, time

try:
    import pymysql

    pymysql.install_as_MySQLdb()
except ImportError:
    pass
import django

django.setup()
from tasker_health import Health
from tasker_health.frameworks.django import django_checks

options = json.loads(sys.argv[1])
kinds = options.pop("kinds", [])
health = Health()
django_checks(health, *kinds, **options)
with asyncio.Runner() as runner:
    for line in sys.stdin:
        began = time.monotonic()
        report = runner.run(health.ready())
        took = time.monotonic() - began
        checks = {name: [result.status, result.reason or ""] for name, result in report.checks.items()}
        threads = [each.name for each in threading.enumerate() if each.name.startswith("tasker-health-")]
        print(json.dumps({"ready": report.ready, "checks": checks, "took": took, "threads": threads}), flush=True)
    runner.run(health.stop())
"""

OK = ["ok", ""]


class Watched:
    """One Health of a project in a process of its own."""

    def __init__(self, folder, site, *, deadline_seconds=PATIENT_SECONDS, **options):
        write(folder)
        self._patience_seconds = deadline_seconds + LATE_SECONDS
        deadline = {"TASKER_HEALTH__READINESS_TIMEOUT_SECONDS": str(deadline_seconds)}
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", WATCHED, json.dumps(options)],
                cwd=folder,
                env=environment_of(site, TASKER_HEALTH__READINESS_MAX_AGE_SECONDS="0", **deadline),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def ask(self):
        """Return whether it is ready, the state of each check, how long that took, and which threads of ours run."""
        self._process.stdin.write("ask\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline()
        assert said, self.log
        report = json.loads(said)
        assert report["took"] < self._patience_seconds
        del report["checks"]["configuration"]
        return report

    def checks(self):
        """Return the state of each check."""
        return self.ask()["checks"]

    def become(self, expected):
        """Wait until the checks are as *expected*, and return the report that says so."""

        def there():
            report = self.ask()
            return report if report["checks"] == expected else None

        return wait_until(there, f"the checks are {expected}")

    @property
    def log(self):
        """What it has written so far."""
        return self._log.read_text(errors="replace")

    def end(self):
        """Let it close its connections and end, and look for secrets in what it has said."""
        said, _ = self._process.communicate(timeout=PATIENCE_SECONDS)
        canary.look("what the project has said", said, self.log)
        assert self._process.returncode == 0, self.log


@pytest.fixture
def watch(tmp_path):
    """Watch projects until the test ends."""
    watched = []

    def start(site, **options):
        folder = tmp_path / str(len(watched))
        folder.mkdir(exist_ok=True)
        watched.append(Watched(folder, site, **options))
        return watched[-1]

    yield start
    for each in watched:
        each.end()


def row_of(url, **more):
    """Return the row of DATABASES for *url*."""
    at = sa.make_url(url)
    engine = {"postgresql": "postgresql", "mariadb": "mysql"}[at.get_backend_name()]
    row = {"ENGINE": f"django.db.backends.{engine}", "NAME": at.database, "USER": at.username}
    return {**row, "PASSWORD": at.password, "HOST": at.host, "PORT": at.port, **more}


ONLY_DJANGO = {"postgresql": {"assume_role": "tester"}, "mariadb": {"local_infile": False}}
"""Options that no URL of ours can say."""


def databases_of(server):
    """Return two rows for *server*: one is asked over our driver, one over Django's."""
    own = row_of(server.url)
    return {"default": own, "by_django": {**own, "OPTIONS": ONLY_DJANGO[server.backend]}}


@pytest.mark.parametrize("kind", ["own_postgres", "own_mariadb"])
def test_a_database_that_hangs_or_is_away_costs_the_deadline_and_no_more(kind, watch, request):
    """Stopped where it is, well again, killed, and back; whether our driver asks it or Django's."""
    server = request.getfixturevalue(kind)
    hurried = {"deadline_seconds": DEADLINE_SECONDS, "critical": ["by_django"]}
    watched = watch({"DATABASES": databases_of(server)}, kinds=["databases"], **hurried)
    well = {"database_default": OK, "database_by_django": OK}
    watched.become(well)
    server.pause()
    hung = {"database_default": ["error", "timeout"], "database_by_django": ["error", "timeout"]}
    assert [watched.checks() for _ in range(3)] == [hung] * 3
    wait_until(lambda: len(watched.ask()["threads"]) <= 1, "a question at most holds a thread")
    server.resume()
    watched.become(well)
    server.kill()
    away = {"database_default": ["error", "refused"], "database_by_django": ["error", "refused"]}
    assert not watched.become(away)["ready"]
    server.start()
    assert watched.become(well)["ready"]


SLEEPING = """
import asyncio, threading, time
try:
    import pymysql

    pymysql.install_as_MySQLdb()
except ImportError:
    pass
import django

django.setup()
from django.db import connections
from tasker_health.checks.django.connection import DjangoConnection
from tasker_health.errors import DatabaseFault

asked = DjangoConnection("default", connections.settings["default"])


async def ask():
    try:
        await asked.run(lambda connection: connection.execute("SELECT SLEEP(100)"), deadline_seconds=0.5)
    except DatabaseFault as fault:
        print(fault.reason, fault)


asyncio.run(ask())
ends_at = time.monotonic() + 20
while threading.active_count() > 1 and time.monotonic() < ends_at:
    time.sleep(0.02)
print(threading.active_count())
"""


@pytest.mark.parametrize(("kind", "function"), [("postgres", "pg_sleep"), ("mariadb", "sleep")])
def test_a_question_of_djangos_driver_ends_by_its_socket(kind, function, tmp_path, request):
    """At the deadline, and its thread with it, though the server goes on and no limit of the driver's is near."""
    options = {"read_timeout": 100} if kind == "mariadb" else {}
    site = {"DATABASES": {"default": row_of(request.getfixturevalue(kind).url, OPTIONS=options)}}
    said = run(tmp_path, "-c", SLEEPING.replace("SLEEP", function), site=site)
    assert said.splitlines() == ["timeout no answer within 0.500 s", "1"]


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
def test_a_database_that_refuses_says_why(kind, watch, request):
    """A wrong password, a database that is not there: the reason goes into the answer, the words into the log."""
    rows = databases_of(request.getfixturevalue(kind))
    secret = canary.secret("wrong_password")
    strange = {f"{alias}_strange": row | {"PASSWORD": secret} for alias, row in rows.items()}
    nowhere = {alias: row | {"NAME": "nowhere"} for alias, row in rows.items()}
    watched = watch({"DATABASES": strange | nowhere}, kinds=["databases"])
    watched.become(
        {
            "database_default_strange": ["error", "authentication_failed"],
            "database_by_django_strange": ["error", "authentication_failed"],
            "database_default": ["error", "missing"],
            "database_by_django": ["error", "missing"],
        }
    )


def test_only_the_aliases_that_are_named_decide_readiness(postgres, watch):
    """By default it is `default`; a replica that is away is optional."""
    site = {"DATABASES": {"default": row_of(postgres.url), "replica": row_of(postgres.url, PORT=1)}}
    watched = watch(site, kinds=["databases"])
    assert watched.become({"database_default": OK, "database_replica": ["error", "refused"]})["ready"]


def test_migrations_are_followed(postgres_database, tmp_path, watch):
    """Missing, at head, ahead and behind, over our driver and over Django's."""
    own = row_of(postgres_database)
    apps = ["tasker_health.frameworks.django", "django.contrib.contenttypes"]
    sites = [
        {"DATABASES": {"default": row}, "INSTALLED_APPS": apps}
        for row in (own, {**own, "OPTIONS": ONLY_DJANGO["postgresql"]})
    ]
    watched = [watch(site, kinds=["migrations"]) for site in sites]

    def states():
        return [each.checks()["migrations"] for each in watched]

    def migrate(*words):
        folder = tmp_path / "migrating"
        folder.mkdir(exist_ok=True)
        run(folder, "manage.py", "migrate", "--verbosity=0", *words, site=sites[0])

    assert states() == [["error", "missing"]] * 2
    migrate()
    assert states() == [OK] * 2
    migrate("contenttypes", "0001")
    assert states() == [["error", "pending"]] * 2
    migrate()
    with sa.create_engine(postgres_database.replace("://", "+psycopg://"), poolclass=sa.NullPool).begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO django_migrations (app, name, applied) VALUES ('contenttypes', '0099_x', now())"
        )
    assert states() == [["degraded", "ahead"]] * 2


@pytest.mark.parametrize("hidden", ["", "aiosqlite"], ids=["our driver", "django's"])
def test_a_file_that_is_missing_is_not_made(tmp_path, watch, hidden):
    """A probe must not create the database that it misses; one in memory is not asked."""
    file = tmp_path / "shop.db"
    rows = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)}}
    rows["memory"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
    (tmp_path / "0").mkdir()
    if hidden:
        (tmp_path / "0" / f"{hidden}.py").write_text("raise ModuleNotFoundError(name=__name__)")
    watched = watch({"DATABASES": rows}, kinds=["databases"])
    assert watched.checks() == {"database_default": ["error", "missing"]}
    assert not file.exists()
    with sa.create_engine(f"sqlite:///{file}").begin() as connection:
        connection.exec_driver_sql("CREATE TABLE orders (id)")
    assert watched.checks() == {"database_default": OK}


def test_the_connections_of_the_application_are_left_alone(postgres, tmp_path):
    """Its own stay closed, and so does its pool, however often a probe asks."""
    rows = databases_of(postgres)
    for row in rows.values():
        row["OPTIONS"] = {**row.get("OPTIONS", {}), "pool": True}
    script = (
        "import asyncio, django; django.setup()\n"
        "from django.db import connections\n"
        "from django.db.backends.postgresql.base import DatabaseWrapper\n"
        "from tasker_health import Health\n"
        "from tasker_health.frameworks.django import django_checks\n"
        "health = Health(); django_checks(health, 'databases')\n"
        "with asyncio.Runner() as runner:\n"
        "    print(runner.run(health.ready()).ready)\n"
        "    runner.run(health.stop())\n"
        "print([each.connection for each in connections.all()], DatabaseWrapper._connection_pools)"
    )
    assert run(tmp_path, "-c", script, site={"DATABASES": rows}).splitlines() == ["True", "[None, None] {}"]


REDIS = "django.core.cache.backends.redis.RedisCache"


@pytest.fixture
def redis():
    """A Redis of the test's own that wants a password."""
    server = RedisServer(password=canary.secret("redis"))
    try:
        yield server
    finally:
        server.end()


def test_a_cache_is_degraded_while_it_is_away(redis, tmp_path, watch):
    """Away, hung, back, and with a wrong password; memory of the process and nothing at all are no cache."""
    wrong = redis.url.replace(redis.password, canary.secret("wrong_password"))
    folder = "django.core.cache.backends.filebased.FileBasedCache"
    caches = {
        "default": {"BACKEND": REDIS, "LOCATION": redis.url},
        "wrong": {"BACKEND": REDIS, "LOCATION": wrong},
        "Files!": {"BACKEND": folder, "LOCATION": str(tmp_path / "files")},
        "local": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
        "none": {"BACKEND": "django.core.cache.backends.dummy.DummyCache"},
    }
    watched = watch({"CACHES": caches}, kinds=["caches"], deadline_seconds=DEADLINE_SECONDS)
    refused = {"cache_wrong": ["degraded", "authentication_failed"], "cache_files_": OK}
    watched.become({"cache_default": OK, **refused})
    redis.pause()
    hung = {"cache_default": ["degraded", "timeout"], "cache_wrong": ["degraded", "timeout"], "cache_files_": OK}
    assert [watched.checks() for _ in range(3)] == [hung] * 3
    assert watched.ask()["ready"]
    redis.resume()
    watched.become({"cache_default": OK, **refused})
    redis.kill()
    watched.become(
        {"cache_default": ["degraded", "refused"], "cache_wrong": ["degraded", "refused"], "cache_files_": OK}
    )
    redis.start()
    watched.become({"cache_default": OK, **refused})


SHOP_CHECKS = """
import sys
from django.apps import AppConfig
from django.core import checks


class ShopConfig(AppConfig):
    name = "shop"

    def ready(self):
        checks.register(look)


def look(app_configs, **_):
    print("looked", file=sys.stderr)
    found = [checks.Warning("the shop is dusty", id="shop.W001")]
    if open("shop/errors").read():
        found.append(checks.Error("the shop has no door", hint="make one", id="shop.E001"))
    return found
"""


@pytest.mark.parametrize(
    ("errors", "options", "state", "words"),
    [
        ("yes", {}, ["error", "invalid"], "(shop.E001) the shop has no door"),
        ("", {}, OK, ""),
        ("", {"warnings": True}, ["degraded", "invalid"], "(shop.W001) the shop is dusty"),
        ("", {"warnings": True, "deploy": True}, ["degraded", "invalid"], "SECRET_KEY has less than"),
    ],
    ids=["errors", "warnings", "warnings that count", "of a deployment"],
)
def test_the_system_check_is_run_once(tmp_path, watch, errors, options, state, words):
    """What it says goes into the log; errors are errors, warnings count where that is wanted."""
    shop = tmp_path / "0" / "shop"
    shop.mkdir(parents=True)
    (shop / "__init__.py").touch()
    (shop / "apps.py").write_text(SHOP_CHECKS)
    (shop / "errors").write_text(errors)
    watched = watch(
        {"INSTALLED_APPS": ["tasker_health.frameworks.django", "shop.apps.ShopConfig"]}, kinds=["system"], **options
    )
    watched.become({"system": state})
    assert watched.checks() == {"system": state}
    assert watched.log.count("looked") == 1
    assert words in watched.log


MISTAKES = {
    "critical": (
        "django_checks(Health(), critical=['defolt'])",
        "critical = 'defolt': not in DATABASES; known: default",
    ),
    "kind": (
        "django_checks(Health(), 'cashes')",
        "'cashes': unknown kind; allowed: databases, caches, migrations, system",
    ),
    "late": ("health = Health(); health.asgi(); django_checks(health)", "comes too late; add it before the first"),
    "twice": ("health = Health(); django_checks(health); django_checks(health)", "there is one of that name already"),
    "backend": (
        "settings.CACHES['default']['BACKEND'] = 'x.y'; django_checks(Health())",
        "BACKEND = 'x.y': ModuleNotFo",
    ),
}


MISTAKEN = """
import json, sys
from django.conf import settings
from tasker_health import ConfigurationError, Health
from tasker_health.frameworks.django import django_checks

said = {}
for name, call in json.loads(sys.argv[1]).items():
    try:
        exec(call)
    except ConfigurationError as error:
        said[name] = str(error)
print(json.dumps(said))
"""


def test_a_mistake_is_one_line_with_the_remedy(tmp_path):
    """At the start, where Health is built."""
    rows = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "shop.db")}}
    site = {"DATABASES": rows, "CACHES": {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}}
    calls = json.dumps({name: call for name, (call, _) in MISTAKES.items()})
    said = json.loads(run(tmp_path, "-c", MISTAKEN, calls, site=site))
    calls = json.dumps({"not configured": "django_checks(Health())"})
    said |= json.loads(run(tmp_path, "-c", MISTAKEN, calls, DJANGO_SETTINGS_MODULE=""))
    expected = {name: words for name, (_, words) in MISTAKES.items()}
    expected["not configured"] = "set DJANGO_SETTINGS_MODULE, or call it after django.setup()"
    assert {name: words for name, words in expected.items() if words not in said.get(name, "")} == {}, said
    assert not any("\n" in line for line in said.values())


PG, MY, LITE = (f"django.db.backends.{name}" for name in ("postgresql", "mysql", "sqlite3"))
SAFE = {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}


@pytest.mark.parametrize(
    ("row", "url"),
    [
        (
            {"ENGINE": PG, "NAME": "a", "HOST": "h", "PORT": "5", "USER": "u", "PASSWORD": "p:@/"},
            "postgresql://u:p%3A%40%2F@h:5/a",
        ),
        ({"ENGINE": PG, "NAME": "a", "HOST": "/run/pg"}, "postgresql:///a?host=%2Frun%2Fpg"),
        ({"ENGINE": PG, "NAME": "a", "OPTIONS": {"service": "s", "pool": True}}, "postgresql:///a?service=s"),
        ({"ENGINE": PG, "NAME": "a", "OPTIONS": SAFE}, "postgresql:///a?sslmode=verify-full&sslrootcert=%2Fca.pem"),
        ({"ENGINE": PG, "NAME": "a", "HOST": "h,i"}, None),
        ({"ENGINE": PG, "NAME": "a", "OPTIONS": {"assume_role": "r"}}, None),
        ({"ENGINE": MY, "NAME": "a", "HOST": "h", "OPTIONS": {"charset": "utf8mb4"}}, "mysql://h/a"),
        ({"ENGINE": MY, "NAME": "a", "HOST": "/run/my"}, "mysql://localhost/a?unix_socket=%2Frun%2Fmy"),
        ({"ENGINE": MY, "NAME": "a", "HOST": "localhost"}, None),
        ({"ENGINE": MY, "NAME": "a", "HOST": "h", "OPTIONS": {"ssl": {"ca": "/ca.pem"}}}, None),
        ({"ENGINE": LITE, "NAME": Path("/a/b.db")}, "sqlite:////a/b.db"),
        ({"ENGINE": LITE, "NAME": "file:/a/b.db?mode=ro", "OPTIONS": {"uri": True}}, None),
        ({"ENGINE": "django.db.backends.oracle", "NAME": "a"}, None),
    ],
)
def test_a_row_is_a_url_where_that_says_all_of_it(row, url):
    """What protects a connection is taken over; what only Django knows is left to Django."""
    assert url_of(row) == url


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (":memory:", True),
        ("", True),
        ("file:m?mode=memory&cache=shared", True),
        ("/a/b.db", False),
        (Path("/a"), False),
    ],
)
def test_a_database_in_memory_is_told_from_a_file(name, expected):
    """Each connection to it would be another database."""
    assert is_in_memory({"ENGINE": LITE, "NAME": name}) is expected
