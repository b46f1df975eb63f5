"""The check of the schema: what each tool makes of its version table, and what the check makes of that."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import sqlalchemy as sa
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from hypothesis import given
from hypothesis import strategies as st

from fakes import settings_of
from tasker_health.assembly import built_in_checks
from tasker_health.checks.migrations import Gap, MigrationsCheck
from tasker_health.checks.migrations.alembic import AlembicTool
from tasker_health.checks.migrations.dbos import DbosTool
from tasker_health.checks.migrations.django import DjangoTool
from tasker_health.checks.migrations.rails import RailsTool
from tasker_health.errors import CheckDegraded, CheckFailed, ConfigurationError, DatabaseFault, SettingsError
from tasker_health.loading import load_settings
from tasker_health.model import Reason
from tasker_health.settings import Settings

SQLITE = "sqlite:////nowhere/app.db"
POSTGRES = "postgresql://app@127.0.0.1:1/app"


class FakeDatabase:
    """A database that answers with rows or raises a fault."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault

    async def run(self, work, *, deadline_seconds):
        """Answer nothing, or raise."""
        if self.fault is not None:
            raise self.fault
        return []


class FakeTool:
    """A tool that finds the gap that it is told to."""

    query = sa.select(sa.literal(1))

    def __init__(self, gap: Gap) -> None:
        self.gap = gap

    def compare(self, rows):
        """Answer the gap."""
        return self.gap


def ask(*gaps: Gap, ahead_is_error: bool = False, fault: Exception | None = None) -> None:
    """Run the check over *gaps*."""
    schemas = [(FakeTool(gap), FakeDatabase(fault)) for gap in gaps]
    asyncio.run(MigrationsCheck(schemas, ahead_is_error=ahead_is_error, timeout_seconds=30)())


# --- the check --------------------------------------------------------------------------------------------------


def test_schema_without_a_gap_is_well():
    """Nothing pending and nothing ahead, in every schema: the check returns."""
    ask(Gap(), Gap())


def test_pending_fails_whatever_else_is_ahead():
    """One pending migration of one schema is an error, also where another schema is ahead."""
    for gaps in ([Gap(pending=("b",), ahead=("z",))], [Gap(ahead=("z",)), Gap(pending=("b",))]):
        with pytest.raises(CheckFailed, match="not applied: b") as raised:
            ask(*gaps)
        assert raised.value.reason is Reason.PENDING
        assert not isinstance(raised.value, CheckDegraded)


def test_ahead_degrades_unless_it_is_to_be_an_error():
    """A database ahead of the code stays good enough to serve; `migrations_ahead = "error"` changes it."""
    with pytest.raises(CheckDegraded) as raised:
        ask(Gap(), Gap(ahead=("z",)))
    assert raised.value.reason is Reason.AHEAD
    with pytest.raises(CheckFailed) as raised:
        ask(Gap(ahead=("z",)), ahead_is_error=True)
    assert raised.value.reason is Reason.AHEAD
    assert not isinstance(raised.value, CheckDegraded)


def test_fault_of_the_database_passes_through():
    """What is wrong with the database is not said to be wrong with the schema."""
    with pytest.raises(DatabaseFault) as raised:
        ask(Gap(), fault=DatabaseFault(Reason.REFUSED))
    assert raised.value.reason is Reason.REFUSED


def test_log_names_a_few_of_many():
    """Hundreds of pending migrations are one short line."""
    with pytest.raises(CheckFailed, match=r"^not applied: 0, 1, 2, 3, 4 and 495 more$"):
        ask(Gap(pending=tuple(map(str, range(500)))))


# --- Alembic ----------------------------------------------------------------------------------------------------

ALEMBIC_CASES = {
    "at head": ("c", {"abc"}, {"c"}, Gap()),
    "behind": ("c", {"abc"}, {"a"}, Gap(pending=("c",))),
    "empty table": ("c", {"abc"}, set(), Gap(pending=("c",))),
    "no revision yet": ("", {""}, set(), Gap()),
    "ahead": ("c", {"abc"}, {"z"}, Gap(ahead=("z",))),
    "two heads": ("cx", {"abcx"}, {"c", "x"}, Gap()),
    "one of two heads": ("cx", {"abcx"}, {"c"}, Gap(pending=("x",))),
    "ahead on one branch": ("cx", {"abcx"}, {"z", "x"}, Gap(ahead=("z",))),
    "two heads merged by newer code": ("cx", {"abcx"}, {"z"}, Gap(ahead=("z",))),
    "behind on one branch, ahead on the other": ("cx", {"abcx"}, {"a", "z"}, Gap(pending=("c", "x"), ahead=("z",))),
}


@pytest.mark.parametrize("case", ALEMBIC_CASES)
def test_alembic_compares_heads_with_rows(case: str):
    """Heads without a row are pending, rows that no script knows are ahead, and may stand for the heads below."""
    heads, (known,), rows, gap = ALEMBIC_CASES[case]
    assert AlembicTool(frozenset(heads), frozenset(known)).compare([(row,) for row in rows]) == gap


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[int, set[int]], set[int], set[int]]:
    """A graph of revisions to their parents, what an older code knows of it and what is applied of it."""
    size = draw(st.integers(1, 9))
    parents = {n: draw(st.sets(st.integers(0, n - 1), max_size=3)) if n else set() for n in range(size)}

    def with_ancestors(revisions: set[int]) -> set[int]:
        for n in range(size - 1, -1, -1):
            if n in revisions:
                revisions |= parents[n]
        return revisions

    some = st.sets(st.integers(0, size - 1))
    return parents, with_ancestors(draw(some)), with_ancestors(draw(some))


def tips(parents: dict[int, set[int]], revisions: set[int]) -> frozenset[str]:
    """Return those of *revisions* that no other of them descends from: what Alembic keeps as heads and as rows."""
    return frozenset(str(n) for n in revisions if not any(n in parents[other] for other in revisions))


@given(histories())
def test_alembic_judges_any_history(history):
    """Well means that all is applied and nothing more; unknown ones are always seen; pending is never invented."""
    parents, known, applied = history
    gap = AlembicTool(tips(parents, known), frozenset(map(str, known))).compare(
        [(row,) for row in tips(parents, applied)]
    )
    beyond = applied - known
    tops_of_beyond = {row for row in tips(parents, applied) if int(row) in beyond}
    assert set(gap.ahead) == tops_of_beyond
    assert bool(gap.ahead) == bool(beyond)
    if gap.pending:
        assert known - applied
    if not beyond:
        assert bool(gap.pending) == bool(known - applied)
    if gap == Gap():
        assert applied == known


@given(st.integers(1, 6), st.integers(0, 6))
def test_alembic_judges_any_single_line(known: int, applied: int):
    """On a history without branches every state is told apart."""
    tool = AlembicTool(frozenset({str(known)}), frozenset(map(str, range(1, known + 1))))
    gap = tool.compare([(str(applied),)] if applied else [])
    assert bool(gap.pending) == (applied < known)
    assert bool(gap.ahead) == (applied > known)


# --- Django -----------------------------------------------------------------------------------------------------


def django_tool(*disk: str, **squashed: list[str]) -> DjangoTool:
    """Return a tool of migrations written as `app.name`; those of *squashed* replace others of the app shop."""

    def key(text: str) -> tuple[str, str]:
        return tuple(text.split("."))

    plain = {key(name): [] for name in disk}
    return DjangoTool(plain | {("shop", new): [("shop", old) for old in olds] for new, olds in squashed.items()})


def django_gap(tool: DjangoTool, *rows: str) -> Gap:
    """Return what *tool* makes of *rows* written as `app.name`."""
    return tool.compare([tuple(row.split(".")) for row in rows])


def test_django_compares_every_migration():
    """Each migration on disk must have its row: a middle one that is not applied is pending too."""
    tool = django_tool("shop.1", "shop.2", "auth.1")
    assert django_gap(tool, "auth.1", "shop.1", "shop.2") == Gap()
    assert django_gap(tool, "auth.1", "shop.2") == Gap(pending=("shop.1",))
    assert django_gap(tool) == Gap(pending=("auth.1", "shop.1", "shop.2"))


def test_django_sees_what_newer_code_applied():
    """An unknown row after the known ones of its app is ahead, also when other apps came later; so is a new app's."""
    tool = django_tool("shop.1", "auth.1")
    assert django_gap(tool, "shop.1", "shop.2", "auth.1") == Gap(ahead=("shop.2",))
    assert django_gap(tool, "shop.1", "auth.1", "loyalty.1") == Gap(ahead=("loyalty.1",))
    assert django_gap(tool, "shop.1", "loyalty.1") == Gap(pending=("auth.1",), ahead=("loyalty.1",))


def test_django_rows_come_in_the_order_of_their_application():
    """What came after what decides; a database gives rows in any order unless it is asked."""
    assert str(DjangoTool.query).endswith("ORDER BY django_migrations.id")


def test_django_leaves_rows_of_deleted_code_alone():
    """Rows stay for ever when the code of a squashed migration or of a removed app is deleted: not ahead."""
    tool = django_tool("shop.squashed", "shop.3", "auth.1")
    assert django_gap(tool, "ghost.1", "auth.1", "shop.1", "shop.2", "shop.squashed", "shop.3") == Gap()


def test_django_squash_is_applied_when_all_it_replaces_is():
    """It needs no row of its own, its row does not help, and what it replaces may be gone from the disk."""
    gone = django_tool(squashed=["1", "2"])
    assert django_gap(gone, "shop.1", "shop.2") == Gap()
    assert django_gap(gone, "shop.1", "shop.2", "shop.squashed") == Gap()
    assert django_gap(gone, "shop.squashed").pending == ("shop.squashed",)
    kept = django_tool("shop.1", "shop.2", squashed=["1", "2"])
    assert django_gap(kept, "shop.1", "shop.2") == Gap()
    assert django_gap(kept, "shop.1").pending == ("shop.2", "shop.squashed")


def test_django_squash_of_squashes():
    """A squash may replace squashes; one that replaces itself is not applied, and asks no question twice."""
    nested = django_tool(outer=["inner", "3"], inner=["1", "2"])
    assert django_gap(nested, "shop.1", "shop.2", "shop.3") == Gap()
    assert django_gap(nested, "shop.1", "shop.3").pending == ("shop.inner", "shop.outer")
    assert django_gap(django_tool(a=["b"], b=["a"]), "shop.a").pending == ("shop.a", "shop.b")


@st.composite
def squashed_lines(draw: st.DrawFn) -> tuple[dict[str, list[str]], set[str]]:
    """What each file of one app replaces, and the rows: a line with squashes, whose parts may be deleted."""
    names = [str(n) for n in range(draw(st.integers(1, 6)))]
    cuts = sorted(draw(st.sets(st.integers(0, len(names)), max_size=4)))
    squashes = {f"s{a}": names[a:b] for a, b in zip(cuts[::2], cuts[1::2], strict=False)}
    rows = set(draw(st.sampled_from([names, names[: len(names) // 2], []]))) | draw(
        st.sets(st.sampled_from(names + list(squashes)))
    )
    kept = set(names)
    if draw(st.booleans()):
        # Of a squash that is half applied Django must have the parts: without them it applies neither, for ever.
        half = [olds for olds in squashes.values() if 0 < len(rows & set(olds)) < len(olds)]
        kept -= {old for olds in squashes.values() if olds not in half for old in olds}
    return {name: [] for name in names if name in kept} | squashes, rows


@given(squashed_lines())
def test_django_pending_as_djangos_own_loader_has_it(line):
    """Something is pending exactly when Django itself would apply something."""
    files, rows = line
    disk = {("shop", name): Migration(name, "shop") for name in files}
    for (_, name), migration in disk.items():
        migration.replaces = [("shop", old) for old in files[name]]
        before = int(name.removeprefix("s")) - 1
        migration.dependencies = [("shop", str(before))] if before >= 0 else []

    class Loader(MigrationLoader):
        """Django's loader over our disk."""

        def load_disk(self):
            """Give what was drawn."""
            self.disk_migrations, self.unmigrated_apps, self.migrated_apps = dict(disk), set(), {"shop"}

    with patch("django.db.migrations.loader.MigrationRecorder") as recorder:
        recorder.return_value.applied_migrations.side_effect = lambda: {("shop", row): None for row in rows}
        loader = Loader(connection=object())
    planned = {node for leaf in loader.graph.leaf_nodes() for node in loader.graph.forwards_plan(leaf)}
    tool = django_tool(*(f"shop.{name}" for name in files if not files[name]), **{k: v for k, v in files.items() if v})
    pending = django_gap(tool, *(f"shop.{row}" for row in rows)).pending
    assert bool(pending) == bool(planned - loader.applied_migrations.keys())


def test_django_half_applied_squash_without_its_parts_is_pending():
    """Django's own plan is empty here, but the schema is not where the code expects it."""
    assert django_gap(django_tool(squashed=["1", "2"]), "shop.1").pending == ("shop.squashed",)


# --- Rails ------------------------------------------------------------------------------------------------------


def rails_gap(*rows: str) -> Gap:
    """Return what files 20240101000000 and 20250101000000 make of *rows*."""
    return RailsTool(frozenset({20240101000000, 20250101000000})).compare([(row,) for row in rows])


def test_rails_compares_sets():
    """A file without a row is pending; an unknown row is ahead when it is newer than every file."""
    both = ("20240101000000", "20250101000000")
    assert rails_gap(*both) == Gap()
    assert rails_gap("20250101000000") == Gap(pending=("20240101000000",))
    assert rails_gap(*both, "20260101000000") == Gap(ahead=("20260101000000",))
    assert rails_gap(*both, "20200101000000", "20240601000000") == Gap()
    assert rails_gap().pending == both


def test_rails_reads_the_version_as_a_number():
    """Old versions have leading zeros in the file name and not in the table; a row of another kind is left alone."""
    assert RailsTool(frozenset({2})).compare([("2",), ("initial",)]) == Gap()


def test_rails_reads_file_names(tmp_path: Path):
    """Files of Active Record's form count, in subdirectories too; everything else does not."""
    (tmp_path / "2023").mkdir()
    for name in (
        "002_create_a.rb",
        "20240101000000_b.scope.rb",
        "2023/20230101000000_c.rb",
        "README",
        "4_X.rb",
        "5.rb",
    ):
        (tmp_path / name).touch()
    assert RailsTool.at(str(tmp_path)).versions == {2, 20240101000000, 20230101000000}


# --- DBOS -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "pending", "ahead"),
    [
        ([], True, False),
        ([0], True, False),
        ([122], True, False),
        ([123], False, False),
        ([125], False, False),
        ([126], False, True),
    ],
)
def test_dbos_knows_a_range(rows: list[int], pending: bool, ahead: bool):
    """Below what is known is pending, above is ahead; a table without a row is version 0."""
    gap = DbosTool((123, 124, 125), "sqlite").compare([(row,) for row in rows])
    assert (bool(gap.pending), bool(gap.ahead)) == (pending, ahead)


def test_dbos_schema_counts_on_postgresql_only():
    """SQLite has no schemas, PostgreSQL has the one that the settings name, whatever its spelling."""
    assert str(DbosTool((1,), "sqlite", "Shop Flow").query).endswith("FROM dbos_migrations")
    assert str(DbosTool((1,), "postgresql", "Shop Flow").query).endswith('FROM "Shop Flow".dbos_migrations')


# --- from settings ----------------------------------------------------------------------------------------------


def checks_of(migrations: dict[str, object], databases: list, **groups: dict[str, object]) -> list:
    """Return the migrations checks that the settings ask for."""
    settings = settings_of(migrations=migrations, **groups)
    return [check for check in built_in_checks(settings, databases) if check.name == "migrations"]


def test_automatic_is_dbos_where_it_is_read():
    """Without a word about migrations there is a check exactly when a dbos source is read; `none` takes it away."""
    sources = {"shop": {"kind": "dbos", "url": SQLITE}}
    assert checks_of({}, []) == []
    assert checks_of({}, [], database={"url": SQLITE}) == []
    assert len(checks_of({}, [], sources=sources)) == 1
    assert checks_of({"kind": "none"}, [], sources=sources) == []


def test_connection_is_shared_where_the_url_is():
    """The schema is asked over the connection of readiness, unless it stands elsewhere; each is closed at the end."""
    shared, own, two = [], [], []
    checks_of({"kind": "dbos"}, shared, database={"url": SQLITE})
    assert len(shared) == 1
    checks_of({"kind": "dbos", "url": POSTGRES}, own, database={"url": SQLITE})
    assert [database.dialect for database in own] == ["sqlite", "postgresql"]
    same = {"a": {"kind": "dbos"}, "b": {"kind": "dbos", "url": SQLITE}, "c": {"kind": "dbos", "url": POSTGRES}}
    (check,) = checks_of({}, two, database={"url": SQLITE}, sources=same)
    assert [database.dialect for database in two] == ["sqlite", "postgresql"]
    assert len(check._schemas) == 2


def test_dbos_tables_stand_where_the_settings_say():
    """In the schema of each source, unless the location names another one; without a source in `dbos`."""

    def schema_of(migrations: dict[str, object], **groups: dict[str, object]) -> str:
        (check,) = checks_of(migrations, [], database={"url": POSTGRES}, **groups)
        ((tool, _),) = check._schemas
        return str(tool.query).rpartition("FROM ")[2]

    sources = {"shop": {"kind": "dbos", "schema": "flow"}}
    assert schema_of({"kind": "dbos"}) == "dbos.dbos_migrations"
    assert schema_of({"kind": "auto"}, sources=sources) == "flow.dbos_migrations"
    assert schema_of({"kind": "dbos", "location": "other"}, sources=sources) == "other.dbos_migrations"


def test_check_is_critical_untimed_and_in_time():
    """The answer is exactly a status, readiness depends on it, and its deadline is that of readiness."""
    (check,) = checks_of({"kind": "dbos", "url": SQLITE}, [], health={"readiness_timeout_seconds": 0.5})
    assert (check.name, check.critical, check.timed, check.timeout_seconds) == ("migrations", True, False, 0.5)


def refusal(migrations: dict[str, object], **groups: dict[str, object]) -> str:
    """Return the one line with which *migrations* stop the start."""
    with pytest.raises(ConfigurationError) as raised:
        checks_of(migrations, [], **({"database": {"url": SQLITE}} | groups))
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("kind", ["alembic", "rails"])
def test_location_is_required(kind: str):
    """A tool whose files are read must be told where they are."""
    assert refusal({"kind": kind}).startswith("migrations.location = not set: set it to the path of")


@pytest.mark.parametrize("kind", ["alembic", "rails"])
def test_location_must_be_there(kind: str, tmp_path: Path):
    """A location that is missing stops the start with key, value and remedy; it is not `missing` at each probe."""
    message = refusal({"kind": kind, "location": str(tmp_path / "nowhere")})
    assert message.startswith(f"migrations.location = '{tmp_path}/nowhere': ")
    assert "allowed: " in message


@pytest.mark.parametrize("kind", ["alembic", "rails"])
def test_location_must_be_of_its_kind(kind: str, tmp_path: Path):
    """A directory of something else would never be behind: it is refused."""
    (tmp_path / "notes.txt").touch()
    assert "allowed: " in refusal({"kind": kind, "location": str(tmp_path)})
    assert refusal({"kind": kind, "location": str(tmp_path / "notes.txt")}).startswith("migrations.location = ")


def test_broken_revision_stops_the_start(tmp_path: Path):
    """A revision that does not import is named at start, in one line."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "a_first.py").write_text("revision = 'a'\ndown_revision = None\n1 / 0\n")
    message = refusal({"kind": "alembic", "location": str(tmp_path)})
    assert "does not load (ZeroDivisionError: division by zero)" in message


def test_revision_below_nothing_stops_the_start(tmp_path: Path):
    """A revision whose parent is gone is a broken script directory."""
    (tmp_path / "versions").mkdir()
    (tmp_path / "versions" / "b_second.py").write_text("revision = 'b'\ndown_revision = 'a'\n")
    with pytest.warns(UserWarning, match="referenced from"):
        assert "does not load (KeyError: 'a')" in refusal({"kind": "alembic", "location": str(tmp_path)})


@pytest.mark.parametrize("kind", ["alembic", "django"])
def test_library_that_is_not_installed_is_named(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Naming a tool whose library is absent says which extra to install."""

    class NotInstalled:
        """Finds no library of that name."""

        def find_spec(self, name, path=None, target=None):
            """Say what Python says."""
            if name == kind:
                raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    for name in [name for name in sys.modules if name.partition(".")[0] == kind]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [NotInstalled(), *sys.meta_path])
    message = refusal({"kind": kind, "location": str(tmp_path)})
    assert message.startswith(f"migrations.kind = '{kind}': ")
    assert f"pip install 'tasker-health[{kind}]'" in message


@pytest.mark.parametrize("sources", [{}, {"shop": {"kind": "dbos"}}])
@pytest.mark.parametrize("name", ["location", "url"])
def test_settings_without_a_tool_are_refused(name: str, sources: dict[str, object]):
    """A location without a kind looks as if the schema were watched; it must not pass in silence, nor be printed."""
    message = refusal({name: "postgresql://app:hunter2@db/shop"}, sources=sources)
    assert message.startswith(f"migrations.{name} = set: ")
    assert "hunter2" not in message


def test_url_is_required():
    """Without any URL there is nothing to compare with."""
    with pytest.raises(SettingsError, match=r"^migrations\.url = not set: set it, or database\.url$"):
        checks_of({"kind": "rails", "location": "."}, [])
    with pytest.raises(SettingsError, match=r"^sources\.dbos\.url = not set"):
        checks_of({"kind": "dbos"}, [])


def test_dbos_runs_on_two_databases():
    """DBOS on any other database is refused."""
    assert "sqlite and postgresql, not mysql" in refusal({"kind": "dbos", "url": "mysql://app@127.0.0.1/app"})


# --- the page ---------------------------------------------------------------------------------------------------

PAGE = Path(__file__).parents[3] / "docs" / "checks" / "migrations.md"


def test_page_says_the_same_as_toml_and_as_environment(tmp_path: Path):
    """Each pair of examples on the page loads, and to the same settings."""
    examples = re.findall(r"```toml\n(.*?)```\s*```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    kinds = []
    for toml, environment in examples:
        (tmp_path / "health.toml").write_text(toml)
        settings = load_settings(tmp_path / "health.toml", {})
        assert settings == load_settings(None, dict(line.split("=", 1) for line in environment.splitlines()))
        assert settings != Settings()
        kinds.append(settings.migrations.kind)
    assert kinds == ["alembic", "django", "rails", "dbos", "none", "auto"]
