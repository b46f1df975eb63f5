"""What a family of processes holds: processes, threads, descriptors, ports; and connections of a database server."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from server import sync_url


class Census(NamedTuple):
    """What is held at one moment."""

    processes: int
    threads: int
    descriptors: int
    ports: int
    connections: int

    def at_most(self, other):
        """Return whether nothing is more than in *other*."""
        return all(mine <= theirs for mine, theirs in zip(self, other, strict=True))


def census(pids, database=None):
    """Return what the processes *pids* hold, and what *database* knows of everybody's connections to it."""
    processes = threads = descriptors = 0
    inodes = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            entry = Path(f"/proc/{pid}")
            mine = [str(each.readlink()) for each in (entry / "fd").iterdir()]
            threads += len(list((entry / "task").iterdir()))
            processes, descriptors = processes + 1, descriptors + len(mine)
            inodes.update(mine)
    return Census(
        processes, threads, descriptors, len(inodes & _listening()), connections_to(database) if database else 0
    )


def family_of(leader):
    """Return the process ids of the session that *leader* leads: whoever it has started, also of dead parents."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader and fields[0] not in {"Z", "X"}:
                found.append(int(stat.parent.name))
    return found


def zombies_of(parent):
    """Return how many children of *parent* have ended and were not waited for."""
    count = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            count += int(fields[1]) == parent and fields[0] == "Z"
    return count


def own(database=None):
    """Return the census of this process and its children."""
    return census([os.getpid(), *children()], database)


def children():
    """Return the process ids of the children of this process."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            found.update(map(int, (task / "children").read_text().split()))
    return found


def connections_to(url):
    """Return how many sessions the PostgreSQL at *url* has in that database, but the asker's."""
    engine = sa.create_engine(sync_url(url), poolclass=sa.NullPool)
    with engine.connect() as connection:
        question = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return connection.execute(sa.text(question)).scalar_one()


def _listening():
    found = set()
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                found.add(f"socket:[{fields[9]}]")
    return found
