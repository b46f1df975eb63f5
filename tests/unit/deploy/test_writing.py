"""Files are written all or none, and never over what is there unasked."""

from __future__ import annotations

import os
import stat

import pytest

from tasker_health.deploy.writing import write
from tasker_health.errors import ConfigurationError

FILES = {"one.yaml": "1\n", "below/two.yaml": "zwei \u2713\n"}


def everything_in(folder):
    """Return the text of each file below *folder*, by its path."""
    return {str(each.relative_to(folder)): each.read_text("utf-8") for each in folder.rglob("*") if each.is_file()}


def test_files_are_written_below_a_folder_that_is_made(tmp_path):
    """In folders of their own, as UTF-8, and readable as any new file is."""
    paths = write(FILES, tmp_path / "a" / "b", force=False)
    assert everything_in(tmp_path / "a" / "b") == FILES
    assert paths == [tmp_path / "a" / "b" / name for name in FILES]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(paths[0].stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("name", FILES)
def test_what_is_there_stays_and_nothing_is_written(name, tmp_path):
    """Whichever of them it is; the line names it and the remedy."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(ConfigurationError) as raised:
        write(FILES, tmp_path, force=False)
    assert str(raised.value) == f"{tmp_path / name}: is there already; nothing was written, --force replaces it"
    assert everything_in(tmp_path) == {name: "mine"}


def test_force_replaces_what_is_there(tmp_path):
    """And leaves what is not ours."""
    (tmp_path / "one.yaml").write_text("mine")
    (tmp_path / "other").write_text("mine")
    write(FILES, tmp_path, force=True)
    assert everything_in(tmp_path) == {**FILES, "other": "mine"}


def test_a_link_that_leads_nowhere_is_not_written_through(tmp_path):
    """What it names could be anywhere."""
    (tmp_path / "one.yaml").symlink_to(tmp_path / "elsewhere")
    for force in (False, True):
        with pytest.raises(ConfigurationError, match="is no file"):
            write(FILES, tmp_path, force=force)
    assert everything_in(tmp_path) == {}


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    ("folder", "file"), [("one.yaml", None), (None, "below"), (None, "")], ids=["folder", "parent", "the folder itself"]
)
def test_a_folder_and_a_file_do_not_take_each_others_place(folder, file, force, tmp_path):
    """Not even with --force; nothing is written."""
    at = tmp_path / "out"
    if file == "":
        at.write_text("mine")
    else:
        (at / (folder or "")).mkdir(parents=True)
    if file:
        (at / file).write_text("mine")
    before = everything_in(tmp_path)
    with pytest.raises(ConfigurationError, match=r"nothing was written, choose another --output$"):
        write(FILES, at, force=force)
    assert everything_in(tmp_path) == before


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path, monkeypatch):
    """A reader sees the old text or the new one, and no scraps stay behind."""
    (tmp_path / "one.yaml").write_text("old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="No space"):
        write({"one.yaml": "new"}, tmp_path, force=True)
    assert everything_in(tmp_path) == {"one.yaml": "old"}


def test_one_that_cannot_be_written_leaves_none(tmp_path):
    """Half of what belongs together would be worse than nothing; what was there is as it was."""
    (tmp_path / "one.yaml").write_text("mine")
    (tmp_path / "below").symlink_to("/proc/self")  # a folder in which nobody may make a file, root neither
    with pytest.raises(OSError, match="two"):
        write(FILES, tmp_path, force=True)
    assert everything_in(tmp_path) == {"one.yaml": "mine"}
