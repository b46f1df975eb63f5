"""The folder in which processes behind one port leave what they have counted, each in a file of its own.

A file is replaced as a whole, so nobody reads half of one. Those of processes that have ended are added up in one, so
that workers which are replaced for days leave no more than that. Everything here blocks: call it in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import logging
import os
import stat
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from msgspec import DecodeError, Meta, Struct, json

from tasker_health.exporters.together import Combined, Values

log = logging.getLogger(__name__)

LIVING_SECONDS = 5
"""A process that has not touched its file for so long is not told of as living."""

_GONE_SECONDS = 60
"""One that has not, and that is not there, has ended without a word."""

_MOST_ENTRIES, _MOST_FILES, _MOST_BYTES = 10_000, 1_000, 1_000_000
_READ_ONLY = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW

_Value = Annotated[int, Meta(ge=0)] | Annotated[float, Meta(ge=0)]


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands in a file.

    Attributes:
        version: Of this form.
        process: Id of who has written it.
        ended: Whether it has said that it ends.
        counts: What it has counted.
        gauges: How it is now.
        added: Of the file of sums: names of the files that are in it, and when they were added, since the epoch.
    """

    version: Literal[1] = 1
    process: Annotated[int, Meta(gt=0, lt=2**31)]
    ended: bool = False
    counts: dict[str, _Value]
    gauges: dict[str, _Value] = {}
    added: dict[str, _Value] = {}


class _File(NamedTuple):
    name: str
    age_seconds: float
    record: Record


class SharedFolder:
    """The files of one service in *path*; the folder is made where it is not there.

    Args:
        path: The folder.
        service: Name of the service: others may use the same folder.
    """

    def __init__(self, path: Path, service: str) -> None:
        self.path: Path = path
        self._prefix = f"tasker_health_{hashlib.sha256(service.encode('utf-8', 'replace')).hexdigest()[:12]}_"
        self._sums = f"{self._prefix}ended.json"
        self._written: dict[str, bytes] = {}
        self._bad: set[str] = set()

    def file_of(self, process: int, token: str) -> str:
        """Return the name of the file of *process*, told from others of the same id by *token*."""
        return f"{self._prefix}{process}_{token}.json"

    def write(self, name: str, record: Record) -> None:
        """Write *record*; where it is the same as before, only say that its process lives.

        Raises:
            OSError: It could not be written.
        """
        content = json.encode(record)
        if self._written.get(name) == content:
            with contextlib.suppress(FileNotFoundError):
                os.utime(self.path / name)
                return
        self.path.mkdir(parents=True, exist_ok=True)
        self._replace(name, content)
        self._written = {name: content}

    def combined(self, own_name: str, own: Record) -> Combined:
        """Return what all processes have counted, from their files and, of the one that asks, from its *own* record.

        Raises:
            OSError: The folder cannot be read.
        """
        files = [file for name in self._names() if name != own_name and (file := self._read(name)) is not None]
        # Last: a file that is added to the sums after this is counted as a file, and one before it as a part of these.
        sums = self._read(self._sums)
        added = {} if sums is None else sums.record.added
        left = [file for file in files if file.name in added]
        files = [file for file in files if file.name not in added]
        counts = _sum_of(own.counts, *(file.record.counts for file in files), sums.record.counts if sums else {})
        self._add([*left, *filter(_has_ended, files)])
        living = [each.record.gauges for each in files if not each.record.ended and each.age_seconds < LIVING_SECONDS]
        return Combined(counts, [own.gauges, *living])

    def _names(self) -> Iterator[str]:
        with os.scandir(self.path) as entries:
            ours = (
                entry.name
                for entry in islice(entries, _MOST_ENTRIES)
                if entry.name.startswith(self._prefix) and entry.name.endswith(".json") and entry.name != self._sums
            )
            yield from islice(ours, _MOST_FILES)

    def _read(self, name: str) -> _File | None:
        """Return what stands in the file *name*; `None`: it is gone, or nothing that a process of ours has written."""
        try:
            written_at, content = _content_of(self.path / name)
            return _File(name, time.time() - written_at, json.decode(content, type=Record))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, DecodeError) as error:
            if name not in self._bad and len(self._bad) < _MOST_FILES:
                self._bad.add(name)
                log.warning("%s is not counted: %s", self.path / name, error)
            return None

    def _add(self, ended: list[_File]) -> None:
        """Add the counts of those that have *ended* to the sums, and remove their files; one process at a time does."""
        if not ended:
            return
        with contextlib.suppress(OSError), self._alone():
            sums, now = self._read(self._sums), time.time()
            counts, before = (sums.record.counts, sums.record.added) if sums else ({}, {})
            counts = _sum_of(counts, *(file.record.counts for file in ended if file.name not in before))
            # Whoever has read a file before it was removed is through with the sums by then.
            added = {name: at for name, at in before.items() if now - at < _GONE_SECONDS}
            added |= dict.fromkeys((file.name for file in ended), now)
            record = Record(process=os.getpid(), ended=True, counts=counts, added=added)
            self._replace(self._sums, json.encode(record))
            for file in ended:
                (self.path / file.name).unlink(missing_ok=True)

    def _replace(self, name: str, content: bytes) -> None:
        new = self.path / f"{name}.new"
        with os.fdopen(os.open(new, _NEW, 0o600), "wb") as file:
            file.write(content)
        new.replace(self.path / name)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        lock = os.open(self.path / f"{self._prefix}lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        finally:
            os.close(lock)


def _content_of(file: Path) -> tuple[float, bytes]:
    """Return when *file* was touched, and what stands in it.

    Raises:
        OSError: It cannot be read.
        ValueError: It is a link or a device, somebody else's, or too large.
    """
    with os.fdopen(os.open(file, _READ_ONLY), "rb") as opened:
        about = os.fstat(opened.fileno())
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid():
            raise ValueError("not a file of ours")
        content = opened.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"more than {_MOST_BYTES} bytes")
    return about.st_mtime, content


def _sum_of(*parts: Mapping[str, float]) -> Values:
    found: Values = {}
    for part in parts:
        for key, value in part.items():
            found[key] = found.get(key, 0) + value
    return found


def _has_ended(file: _File) -> bool:
    if file.record.ended:
        return True
    if file.age_seconds < _GONE_SECONDS:
        return False
    try:
        os.kill(file.record.process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
