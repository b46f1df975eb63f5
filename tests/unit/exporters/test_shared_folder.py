"""The folder in which processes leave their counts: what is believed, added up and cleared away."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest

from tasker_health.exporters.instrument import counter
from tasker_health.exporters.shared_folder import Record, SharedFolder

NAME = "tasker_health_runs_total"
OWN = Record(process=os.getpid(), counts={NAME: 1})


@pytest.fixture
def folder(tmp_path):
    """A folder that is not there yet."""
    return SharedFolder(tmp_path / "not" / "there", "orders")


def record_of(count, *, process=None, ended=False, gauges=None):
    """Return what a process has counted."""
    return Record(process=process or os.getpid(), ended=ended, counts={NAME: count}, gauges=gauges or {})


def total(folder, own=OWN, name="own"):
    """Return the sum of what all have counted."""
    ((_, value),) = folder.combined(name, own)(counter(NAME, "", (), {(): 0})).points
    return value


def age(folder, name, seconds=120):
    """Let the file *name* be so old."""
    then = time.time() - seconds
    os.utime(folder.path / name, (then, then))


@pytest.fixture(scope="module")
def gone():
    """The id of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return ended.pid


def test_counts_of_all_files_are_summed_and_ones_own_are_as_handed_in(folder):
    """The own file may be older: what is told is what was handed in."""
    folder.write("own", OWN)
    for number in (10, 200):
        folder.write(folder.file_of(number, "a"), record_of(number))
    own = folder.file_of(os.getpid(), "own")
    folder.write(own, record_of(5))
    assert total(folder, record_of(7), own) == 217


def test_another_service_in_the_folder_is_left_alone(folder):
    """Its counts are not ours, nor are files of prometheus-client's."""
    other = SharedFolder(folder.path, "payments")
    other.write(other.file_of(1, "a"), record_of(50, ended=True))
    (folder.path / "gauge_livesum_1.db").write_bytes(b"\0" * 100)
    assert total(folder) == 1
    assert total(other) == 51
    assert (folder.path / "gauge_livesum_1.db").exists()


BAD = {
    "no JSON": b"\xff",
    "nothing": b"",
    "another form": b"[]",
    "unknown version": b'{"version": 2, "process": 1, "counts": {}}',
    "unknown field": b'{"process": 1, "counts": {}, "more": 1}',
    "less than nothing": b'{"process": 1, "counts": {"tasker_health_runs_total": -5}}',
    "no number": b'{"process": 1, "counts": {"tasker_health_runs_total": null}}',
    "beyond all numbers": b'{"process": 1, "counts": {"tasker_health_runs_total": 1e999}}',
    "no process": b'{"process": 0, "counts": {}}',
    "too large": b'{"process": 1, "counts": {}}' + b" " * 1_000_001,
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_a_bad_file_costs_a_line_in_the_log_and_not_the_scrape(folder, caplog, content):
    """Once, however often it is scraped; the others are counted."""
    folder.write(folder.file_of(2, "good"), record_of(10))
    bad = folder.path / folder.file_of(3, "bad")
    bad.write_bytes(content)
    assert [total(folder) for _ in range(3)] == [11] * 3
    (line,) = caplog.messages
    assert bad.name in line
    assert bad.exists()


def test_what_is_no_file_of_ours_is_not_opened_for_long(folder, caplog):
    """A pipe without a writer, a link, a folder, and a file of somebody else's."""
    folder.write(folder.file_of(2, "good"), record_of(10))
    names = [folder.file_of(3, kind) for kind in ("pipe", "link", "folder", "foreign")]
    pipe, link, inner, foreign = (folder.path / name for name in names)
    os.mkfifo(pipe)
    link.symlink_to(folder.path / folder.file_of(2, "good"))
    inner.mkdir()
    folder.write(names[3], record_of(1000))
    if os.geteuid() == 0:
        os.chown(foreign, 65534, 65534)
    else:
        foreign.unlink()
    assert total(folder) == 11
    assert len(caplog.messages) == 3 + (os.geteuid() == 0)


def test_those_that_have_ended_become_one_file(folder, gone):
    """One that says so at once, one that was killed after a while; one that lives and is stopped never is."""
    for number in range(50):
        folder.write(folder.file_of(number + 1, "a"), record_of(2, ended=True))
    killed, stopped = folder.file_of(gone, "killed"), folder.file_of(os.getpid(), "stopped")
    folder.write(killed, record_of(30, process=gone))
    folder.write(stopped, record_of(500))
    age(folder, stopped)
    assert [total(folder) for _ in range(3)] == [631] * 3
    assert {file.name for file in folder.path.glob("*.json")} == {killed, stopped, folder._sums}
    age(folder, killed)
    assert [total(folder) for _ in range(3)] == [631] * 3
    assert {file.name for file in folder.path.glob("*.json")} == {stopped, folder._sums}


def test_a_file_that_was_added_and_not_removed_is_counted_once(folder):
    """As when the process that added it was killed in between."""
    name = folder.file_of(1, "a")
    folder.write(name, record_of(2, ended=True))
    assert total(folder) == 3
    SharedFolder(folder.path, "orders").write(name, record_of(2, ended=True))
    assert [total(folder) for _ in range(3)] == [3] * 3
    assert not (folder.path / name).exists()


def test_readers_see_the_same_sum_while_files_are_added(folder):
    """Whoever reads in the very moment counts each once: in its file, or in the sums."""
    files = 300
    for number in range(files):
        folder.write(folder.file_of(number + 1, "a"), record_of(1, ended=True))
    seen, start = [], threading.Barrier(4)

    def read():
        reader = SharedFolder(folder.path, "orders")
        start.wait()
        seen.extend(total(reader) for _ in range(5))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert set(seen) == {files + 1}
    assert len(list(folder.path.glob("*.json"))) == 1


def test_only_the_living_tell_how_they_are(folder):
    """Neither one that has ended, nor one that has not touched its file for a while."""
    for token, seconds, ended in (("fresh", 0, False), ("old", 30, False), ("ended", 0, True)):
        name = folder.file_of(os.getpid(), token)
        folder.write(name, record_of(1, ended=ended, gauges={token: 1}))
        age(folder, name, seconds)
    found = folder.combined("own", record_of(1, gauges={"own": 1}))
    assert found._living == [{"own": 1}, {"fresh": 1}]


def test_a_file_that_has_not_changed_is_touched_and_comes_back_when_it_was_removed(folder):
    """Nothing is written for nothing; a folder that was emptied is filled again."""
    name = folder.file_of(os.getpid(), "a")
    folder.write(name, record_of(1))
    before = (folder.path / name).stat().st_ino
    age(folder, name)
    folder.write(name, record_of(1))
    after = (folder.path / name).stat()
    assert after.st_ino == before
    assert time.time() - after.st_mtime < 60
    (folder.path / name).unlink()
    folder.write(name, record_of(1))
    assert total(folder) == 2
