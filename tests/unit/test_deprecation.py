"""Settings with an old name: still read, told in one line, and never silently beside the new one."""

from __future__ import annotations

import pytest

from canary import secret
from tasker_health import deprecation, loading
from tasker_health.deprecation import Renamed
from tasker_health.errors import SettingsError
from tasker_health.loading import load_settings, load_with_origins
from tasker_health.settings import Settings


@pytest.fixture
def renamed(monkeypatch):
    """Names that have changed, made up: within a group, from one group to another, and of a secret."""
    table = {
        ("server", "listen_port"): Renamed(("server", "port"), "9.4"),
        ("health", "database_url"): Renamed(("database", "url"), "9.4"),
    }
    monkeypatch.setattr(loading, "RENAMED", table)
    return table


def test_an_old_name_is_read_and_told_in_the_log(renamed, tmp_path, caplog):
    """In a file and in a variable, each with what to write in its place and until when; the value is not told."""
    password = secret("url")
    file = tmp_path / "health.toml"
    file.write_text("[server]\nlisten_port = 9000\n")
    settings, origins = load_with_origins(file, {"TASKER_HEALTH__DATABASE_URL": f"postgresql://a:{password}@db/a"})
    assert settings.server.port == 9000
    assert password in settings.database.url.get_secret_value()
    assert origins["server", "port"] == "server.listen_port (health.toml)"
    assert [record.getMessage() for record in caplog.records] == [
        "server.listen_port (health.toml) is now called server.port; its old name ends with version 9.4",
        "TASKER_HEALTH__DATABASE_URL is now called database.url; its old name ends with version 9.4",
    ]


def test_an_old_name_reads_its_value_from_a_file_too(renamed, tmp_path):
    """`..._FILE` works as with every setting."""
    file = tmp_path / "url"
    file.write_text("sqlite:///orders.sqlite\n")
    settings = load_settings(environ={"TASKER_HEALTH__DATABASE_URL_FILE": str(file)})
    assert settings.database.url.get_secret_value() == "sqlite:///orders.sqlite"


def test_the_environment_goes_before_the_file_whatever_the_name(renamed, tmp_path):
    """A new name in the environment beats an old one in the file, and the other way round."""
    file = tmp_path / "health.toml"
    file.write_text("[server]\nlisten_port = 9000\n")
    assert load_settings(file, {"TASKER_SERVER__PORT": "9001"}).server.port == 9001
    file.write_text("[server]\nport = 9000\n")
    assert load_settings(file, {"TASKER_SERVER__LISTEN_PORT": "9001"}).server.port == 9001


def test_both_names_in_one_place_are_refused(renamed):
    """Nobody could say which is meant."""
    with pytest.raises(SettingsError, match=r"old name of server\.port, .*; keep server\.port$") as refused:
        load_settings(environ={"TASKER_SERVER__LISTEN_PORT": "1", "TASKER_SERVER__PORT": "2"})
    assert refused.value.key == "TASKER_SERVER__LISTEN_PORT"


def test_a_bad_value_is_told_under_the_name_that_was_written(renamed):
    """The line names what the user can find in the own files."""
    with pytest.raises(SettingsError, match=r"^TASKER_SERVER__LISTEN_PORT = 'many': allowed: "):
        load_settings(environ={"TASKER_SERVER__LISTEN_PORT": "many"})


def test_a_group_that_is_no_table_is_refused_in_one_line(renamed, tmp_path):
    """`server = 1` in a file is no reason for a traceback."""
    file = tmp_path / "health.toml"
    file.write_text('database = 1\n[health]\ndatabase_url = "sqlite:///a"\n')
    with pytest.raises(SettingsError, match=r"^database \(health.toml\) = .*allowed: "):
        load_settings(file, {})


def test_every_old_name_leads_to_a_setting_and_is_none_itself():
    """The table as it is: the new path exists, the old one does not, its group does."""
    for old, new in deprecation.RENAMED.items():
        assert old[0] in Settings.model_fields
        assert new.path[-1] in loading._names_at(new.path[:-1])
        assert old[-1] not in loading._names_at(old[:-1])
