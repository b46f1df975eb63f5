"""What the doctor of a database thinks of what it measured: where good ends, and which remedy is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes import settings_of
from tasker_health.cli.doctor.database_network import (
    IDLE_SECONDS,
    SILENCE_SECONDS,
    Keepalive,
    Network,
    clocks,
    connections,
    idle_end,
    keepalive,
    transport,
    writing,
)
from tasker_health.cli.doctor.findings import Verdict
from tasker_health.cli.doctor.sqlite import LARGE_WAL_BYTES, _file, _journal, file_system_of

WELL, NOTE, CHANGE = Verdict.OK, Verdict.NOTE, Verdict.WARNING
FAR, HERE, FILE = "203.0.113.7", "127.0.0.1", ""
ASKS = Keepalive(True, 30, 10, 3)


@pytest.mark.parametrize(
    ("peer", "tls", "verified", "verdict"),
    [
        (FAR, "", False, CHANGE),
        (FAR, "TLS", False, NOTE),
        (FAR, "TLS", True, WELL),
        (HERE, "", False, WELL),
        ("::1", "", False, WELL),
        (FILE, "", False, WELL),
        ("fe80::1%eth0", "", False, CHANGE),
    ],
)
def test_plain_is_well_only_on_this_machine(peer, tls, verified, verdict):
    """Elsewhere it is to be changed; a certificate that nobody verifies is worth a note."""
    found = transport(Network(peer, ASKS, tls, verified), "use TLS")
    assert (found.verdict, "use TLS" in found.remedy) == (verdict, verdict is not WELL)


@pytest.mark.parametrize(
    ("peer", "seen", "verdict"),
    [
        (FAR, ASKS, WELL),
        (FAR, Keepalive(True, SILENCE_SECONDS, 10, 3), WELL),
        (FAR, Keepalive(True, SILENCE_SECONDS + 1, 10, 3), CHANGE),
        (FAR, Keepalive(False, 30, 10, 3), CHANGE),
        (HERE, Keepalive(False, 7200, 75, 9), WELL),
    ],
)
def test_a_silent_connection_is_kept_open_on_the_way(peer, seen, verdict):
    """TCP asks before a balancer forgets it, unless nothing is on the way; the remedy names the setting."""
    found = keepalive(Network(peer, seen, "", False), settings_of().database)
    assert (found.verdict, "database.keepalive_seconds" in found.remedy) == (verdict, verdict is CHANGE)
    assert ("after 60 s" in found.measured) == (seen is ASKS)


def test_a_socket_in_the_file_system_has_no_keepalive():
    """There is no path that could die."""
    assert keepalive(Network(FILE, None, "", False), settings_of().database) is None


@pytest.mark.parametrize(
    ("seconds", "verdict"), [(0, WELL), (IDLE_SECONDS, WELL), (IDLE_SECONDS - 1, CHANGE), (1, CHANGE)]
)
def test_a_server_that_soon_ends_idle_connections_is_told_not_to(seconds, verdict):
    """Ten minutes are enough between two questions."""
    assert idle_end(seconds, "idle_session_timeout", "raise it").verdict is verdict


@pytest.mark.parametrize(
    ("difference", "round_trip", "verdict"),
    [(0.9, 0, WELL), (-1.1, 0, CHANGE), (1.1, 0, CHANGE), (1.1, 0.4, WELL), (-90, 0.01, CHANGE)],
)
def test_clocks_may_differ_by_a_second(difference, round_trip, verdict):
    """What the round trip may have added is not held against them; the words say who is ahead."""
    found = clocks(difference, round_trip)
    assert found.verdict is verdict
    if verdict is CHANGE:
        assert ("ahead of" in found.measured) == (difference > 0)


@pytest.mark.parametrize(("used", "verdict"), [(89, WELL), (90, CHANGE), (100, CHANGE)])
def test_a_server_that_is_nearly_full_is_said_with_its_share(used, verdict):
    """From the ratio on at which the status is degraded."""
    found = connections(used, 100, 0.9, "raise it")
    assert (found.verdict, found.figures["connections_ratio"]) == (verdict, used / 100)


@pytest.mark.parametrize(
    ("why_not", "required", "verdict"),
    [("", True, WELL), ("a standby", False, NOTE), ("a standby", True, CHANGE)],
)
def test_read_only_matters_where_writing_is_required(why_not, required, verdict):
    """As for readiness."""
    assert writing(why_not, settings_of(database={"require_writable": required}).database).verdict is verdict


@pytest.mark.parametrize(("mode", "verdict"), [("wal", WELL), ("delete", CHANGE), ("truncate", CHANGE)])
def test_a_journal_that_makes_readers_wait_is_to_be_changed(mode, verdict):
    """With the statement that does it."""
    found = _journal(mode)
    assert (found.verdict, "journal_mode=WAL" in found.remedy) == (verdict, verdict is CHANGE)


MOUNTS = """\
/dev/vda1 / ext4 rw 0 0
server:/export /srv/share nfs4 rw 0 0
/dev/vdb1 /srv/share/local\\040disk xfs rw 0 0
tmpfs /srv/shared tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("/home/app.sqlite", "ext4"),
        ("/srv/share/app.sqlite", "nfs4"),
        ("/srv/share/local disk/app.sqlite", "xfs"),
        ("/srv/shared/app.sqlite", "tmpfs"),
    ],
)
def test_the_file_system_is_that_of_the_longest_mount(file, kind):
    """Whole names count, not their beginnings, and blanks in them are read."""
    assert file_system_of(Path(file), MOUNTS) == kind


def test_a_file_over_the_network_and_a_log_that_grows_are_said(tmp_path, monkeypatch):
    """The first is to be changed, the second is worth a note."""
    table = tmp_path / "mounts"
    table.write_text(f"server:/x {tmp_path} nfs rw 0 0\n")
    monkeypatch.setattr("tasker_health.cli.doctor.sqlite._MOUNTS", table)
    file = tmp_path / "app.sqlite"
    assert [found.verdict for found in _file(file)] == [CHANGE]
    with (tmp_path / "app.sqlite-wal").open("wb") as log:
        log.truncate(LARGE_WAL_BYTES)
    assert [found.verdict for found in _file(file)] == [CHANGE, NOTE]
