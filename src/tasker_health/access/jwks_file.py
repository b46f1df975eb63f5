"""A set of keys in a file, read again when the file is another one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from tasker_health.access.jwks import KeySet, keys_of_document
from tasker_health.access.key_refresh import RefreshedKeys
from tasker_health.deadline import in_thread
from tasker_health.errors import SettingsError
from tasker_health.reasons import words_of
from tasker_health.settings.access import JwtSettings

MOST_BYTES = 1_048_576
"""Length of the longest set that is read."""

_LOOK_SECONDS = 1.0
"""How often the file is looked at, at most."""

Version = tuple[int, int, int, int]


class JwksFile:
    """Reads one file.

    Args:
        path: The file, or a link to it: Kubernetes swaps links when a mounted secret changes.
        algorithms: Those that keys are wanted for.
    """

    def __init__(self, path: str, algorithms: Iterable[str]) -> None:
        self._path = Path(path)
        self._algorithms = tuple(algorithms)
        self._version: Version | None = None
        self._keys: KeySet | None = None

    async def load(self) -> KeySet:
        """Return the keys of the file as it is now. Raises as `read`."""
        return await in_thread(self.read, "jwks-file")

    def read(self) -> KeySet:
        """Return the keys of the file as it is now; those of last time when it has not changed.

        Raises:
            OSError: It cannot be read.
            ValueError: It is no set of keys.
        """
        with self._path.open("rb") as file:
            version = _version(file.fileno())
            if self._keys is None or version != self._version:
                raw = file.read(MOST_BYTES + 1)
                if len(raw) > MOST_BYTES:
                    raise ValueError(f"it is longer than {MOST_BYTES} bytes")
                self._keys = keys_of_document(raw, self._algorithms)
                self._version = version
            return self._keys


def keys_of_file(settings: JwtSettings, timeout_seconds: float) -> RefreshedKeys:
    """Return the keys of the file that *settings* name, which is there and good now.

    Raises:
        SettingsError: It is not.
    """
    path = settings.jwks_file or ""
    file = JwksFile(path, settings.algorithms)
    try:
        keys = file.read()
    except (OSError, ValueError) as error:
        raise SettingsError("auth.jwt.jwks_file", repr(path), f"{words_of(error)}; name a file of keys") from None
    if not len(keys):
        raise SettingsError("auth.jwt.jwks_file", repr(path), "no key in it is for one of auth.jwt.algorithms")
    return RefreshedKeys(
        file.load,
        repr(path),
        max_age_seconds=_LOOK_SECONDS,
        cooldown_seconds=_LOOK_SECONDS,
        timeout_seconds=timeout_seconds,
        keys=keys,
    )


def _version(descriptor: int) -> Version:
    """Return what is another when the file is another."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
