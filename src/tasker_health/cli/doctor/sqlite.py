"""What a doctor looks at in a file of SQLite: where it lies, how it is written, and how long a lock is waited for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tasker_health.cli.doctor.database_asking import DatabaseAsking
from tasker_health.cli.doctor.findings import Finding, Verdict, note, warning

_OVER_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "fuse.sshfs", "afs"})
_MOUNTS = Path("/proc/self/mounts")

LARGE_WAL_BYTES = 64 * 1024 * 1024
"""A log that a checkpoint keeps up with stays at 4 MB."""


async def examine_sqlite(asking: DatabaseAsking) -> list[Finding]:
    """Return what is found.

    Raises:
        DatabaseFault: It cannot be read.
    """

    def look(connection: sa.Connection) -> dict[str, Any]:
        names = ("journal_mode", "busy_timeout", "page_count", "page_size")
        found: dict[str, Any] = {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}
        found["version"] = connection.exec_driver_sql("SELECT sqlite_version()").scalar()
        found["file"] = next((row[2] for row in connection.exec_driver_sql("PRAGMA database_list") if row[2]), "")
        return found

    found = await asking.ask(look)
    size = found["page_count"] * found["page_size"]
    server = Finding(
        what="server",
        measured=f"SQLite {found['version']}, {size / 1024:,.0f} KiB",
        figures={"size_bytes": float(size)},
    )
    longest = asking.settings.statement_timeout_seconds
    words = f"a lock is waited for as long as the question may take, at most {longest:g} s"
    findings = [server, _journal(found["journal_mode"]), Finding(what="busy time-out", measured=words)]
    return findings + (_file(Path(found["file"])) if found["file"] else [])


def _journal(mode: str) -> Finding:
    if mode == "wal":
        return Finding(what="journal", measured="wal: readers and a writer do not wait for each other")
    if mode == "memory":
        return Finding(what="journal", measured=mode)
    words = f"{mode}: who reads holds up who writes, and the other way round"
    return warning("journal", words, "PRAGMA journal_mode=WAL, once: it lasts")


def _file(file: Path) -> list[Finding]:
    kind = file_system_of(file, _MOUNTS.read_text() if _MOUNTS.exists() else "")
    if kind in _OVER_NETWORK:
        words = f"on {kind}: locks of SQLite are not to be relied on over a network"
        where = warning("file system", words, "put the file on a disk of this machine, or use PostgreSQL")
    elif kind:
        where = Finding(what="file system", measured=kind)
    else:
        where = Finding(what="file system", measured="not known", verdict=Verdict.UNKNOWN)
    log = file.with_name(f"{file.name}-wal")
    size = log.stat().st_size if log.exists() else 0
    if size < LARGE_WAL_BYTES:
        return [where]
    remedy = (
        "somebody reads without an end, so that no checkpoint finishes: end that, then PRAGMA wal_checkpoint(TRUNCATE)"
    )
    return [where, note("log", f"{size / 1024 / 1024:,.0f} MiB wait to be written into the file", remedy)]


def file_system_of(file: Path, mounts: str) -> str:
    """Return the kind of file system that *file* is on, by the table of *mounts*; empty: it is not known."""
    best, kind = "", ""
    for line in mounts.splitlines():
        words = line.split()
        if len(words) < 3:  # noqa: PLR2004 -- device, place, kind
            continue
        place = words[1].encode().decode("unicode_escape")
        if file.is_relative_to(place) and len(place) >= len(best):
            best, kind = place, words[2]
    return kind
