"""Where the shop is kept."""

import sqlite3

import pytest

from tasker_health.demo.place import Place
from tasker_health.errors import ConfigurationError


def test_without_a_url_it_is_a_file_under_the_current_directory(tmp_path, monkeypatch):
    """`./dev run` needs nothing: the file is made where one stands, in WAL mode, which lasts."""
    monkeypatch.chdir(tmp_path)
    place = Place(None)
    assert place.url == f"sqlite:///{tmp_path}/.tasker-health/shop.sqlite"
    place.prepare()
    connection = sqlite3.connect(tmp_path / ".tasker-health" / "shop.sqlite")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://shop:hidden-word@127.0.0.1/shop", "DBOS does not run on it"),
        ("sqlite://", "must outlive the process"),
        ("sqlite:///:memory:", "must outlive the process"),
        ("hidden-word", "not a URL"),
    ],
)
def test_a_url_that_cannot_work_is_refused_in_one_line(url, why):
    """The line names the option, the value without a password, and what is allowed."""
    with pytest.raises(ConfigurationError) as raised:
        Place(url)
    line = str(raised.value)
    assert line.startswith("--database-url ")
    assert why in line
    assert "postgresql://" in line
    assert "hidden-word" not in line
    assert "\n" not in line


def test_a_file_that_cannot_be_made_is_refused(tmp_path):
    """It is found before anything is started."""
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(ConfigurationError, match="--database-url"):
        Place(f"sqlite:///{tmp_path}/file/shop.sqlite").prepare()


def test_a_file_that_is_no_database_is_left_as_it_is(tmp_path):
    """Somebody's letter is not made into a shop."""
    letter = tmp_path / "letter"
    letter.write_text("Dear Sir or Madam, " * 100)
    with pytest.raises(ConfigurationError, match="not a database"):
        Place(f"sqlite:///{letter}").prepare()
    assert letter.read_text() == "Dear Sir or Madam, " * 100


def test_a_postgresql_url_may_name_any_driver():
    """DBOS, the source and the shop each take their own, and it is shown without its password."""
    place = Place("postgresql+asyncpg://shop:hidden-word@127.0.0.1:5432/shop")
    assert place.url == "postgresql://shop:hidden-word@127.0.0.1:5432/shop"
    assert "hidden-word" not in str(place)
