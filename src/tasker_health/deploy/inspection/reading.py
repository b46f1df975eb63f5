"""Reads files of any kind that is known, told apart by what is in them, and has them judged."""

from __future__ import annotations

import io
import os
import re
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tasker_health.deploy.inspection import compose, dockerfile, haproxy, kubernetes, nginx, systemd
from tasker_health.deploy.inspection.facts import Facts
from tasker_health.deploy.inspection.faults import Fault, printable
from tasker_health.deploy.inspection.judgement import judge
from tasker_health.deploy.inspection.service import SettingsWith
from tasker_health.deploy.inspection.tree import Tree, documents
from tasker_health.errors import ConfigurationError

LARGEST_BYTES = 8 << 20
STANDARD_INPUT = "-"

READERS = (
    (dockerfile.is_dockerfile, dockerfile.read),
    (systemd.is_systemd, systemd.read),
    (haproxy.is_haproxy, haproxy.read),
    (nginx.is_nginx, nginx.read),
)
_YAML = re.compile(r"""^[ \t-]*["']?(?:apiVersion|kind|services)["']?\s*:|\A\s*\{""", re.MULTILINE)


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        faults: In the order of the files and their lines.
        notes: What could not be known.
        unread: Files that say nothing that can be judged, with why: one line each.
    """

    faults: list[Fault]
    notes: list[str]
    unread: list[str]


def inspect(files: Sequence[str], settings_with: SettingsWith) -> Inspection:
    """Return what is wrong in *files* for the service of *settings_with*; `-` is standard input.

    Raises:
        ConfigurationError: The settings in force cannot work.
    """
    settings_with({})
    found = Texts()
    for file in dict.fromkeys(files):
        try:
            found.take(*_text(file))
        except ConfigurationError as error:
            found.unread.append(str(error))
    read = found.facts()
    faults, any_of_ours = judge(read, settings_with)
    notes = [note for facts in read for note in facts.notes]
    if read and not any_of_ours:
        notes.append(f"{', '.join(files)}: nothing of this service in it, and nothing was judged")
    return Inspection(faults, notes, found.unread)


def is_known(text: str) -> bool:
    """Whether *text* is of a kind that can be judged."""
    try:
        Texts().take(text, "")
    except ConfigurationError:
        return False
    return True


class Texts:
    """What was read so far; objects of Kubernetes wait until all are there, for they speak of one another."""

    def __init__(self) -> None:
        self.unread: list[str] = []
        self._facts: list[Facts] = []
        self._objects: list[tuple[int, list[Tree]]] = []

    def take(self, text: str, file: str) -> None:
        """Read *text*.

        Raises:
            ConfigurationError: It is of no kind that is known, or cannot be read.
        """
        for is_of_kind, read in READERS:
            if is_of_kind(text):
                self._facts.append(read(text, file))
                return
        known = "Kubernetes, compose, Dockerfile, HAProxy, NGINX, systemd"
        unknown = ConfigurationError(f"{file}: of no kind that is known; known are {known}")
        if not _YAML.search(text):
            raise unknown
        trees, faults = documents(text, file)
        trees = [each for each in trees if each.keys]
        if kubernetes.is_kubernetes(trees):
            self._objects.append((len(self._facts), trees))
            self._facts.append(Facts(faults=tuple(faults)))
        elif compose.is_compose(trees):
            self._facts.append(replace(compose.read(trees), faults=tuple(faults)))
        else:
            raise unknown

    def facts(self) -> list[Facts]:
        """Return what all texts say, in their order."""
        maps = {name: each for _, trees in self._objects for name, each in kubernetes.config_maps(trees).items()}
        facts = list(self._facts)
        for number, trees in self._objects:
            facts[number] = replace(kubernetes.read(trees, maps), faults=facts[number].faults)
        return facts


def _text(file: str) -> tuple[str, str]:
    """Return the text of *file* and what to call it.

    Raises:
        ConfigurationError: It cannot be read, is no text, or larger than a manifest can be.
    """
    name = "standard input" if file == STANDARD_INPUT else printable(file)
    try:
        raw = _standard_input() if file == STANDARD_INPUT else _bytes(Path(file), name)
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or "no path"
        raise ConfigurationError(f"{name}: {words}; name a file that can be read") from None
    if len(raw) > LARGEST_BYTES:
        raise ConfigurationError(f"{name}: larger than {LARGEST_BYTES >> 20} MiB; give the manifest alone")
    try:
        return raw.decode("utf-8-sig"), name
    except UnicodeDecodeError:
        raise ConfigurationError(f"{name}: is no text; name a manifest") from None


def _standard_input() -> bytes:
    if sys.stdin is None:  # closed by who started us
        raise ConfigurationError("standard input: is closed; name a file that can be read")
    return sys.stdin.buffer.read(LARGEST_BYTES + 1)


def _bytes(path: Path, name: str) -> bytes:
    """Return what is in *path*; of a pipe, what whoever holds its other end writes."""
    if path.is_dir():
        raise ConfigurationError(f"{name}: is a folder; name the files in it")
    # A pipe at whose other end nobody is, and some devices, would be waited for without an end.
    with io.BufferedReader(io.FileIO(path, opener=_without_waiting)) as opened:
        first = opened.raw.read(1)
        if stat.S_ISFIFO(os.fstat(opened.fileno()).st_mode):
            if first == b"":
                raise ConfigurationError(f"{name}: a pipe into which nobody writes; name a file that can be read")
            os.set_blocking(opened.fileno(), True)
        rest = opened.read(LARGEST_BYTES)
    return (first or b"") + (rest or b"")


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
