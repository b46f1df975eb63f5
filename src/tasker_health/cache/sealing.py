"""How facts travel through a shared cache: as our own JSON, versioned, for one source of one service, and signed.

What is read back was perhaps written by another version, another service, an attacker or nobody: it is believed only
when every part of it is as this very process would have written it. A signature is HMAC-SHA256 (RFC 2104) over the
key and the JSON, so that an entry is worth nothing under another key.
"""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Mapping
from enum import StrEnum
from urllib.parse import quote

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from tasker_health.cache import MOST_BYTES
from tasker_health.model import Facts, Reason

VERSION = 2
"""To be raised when the form of `Record` or `Facts` changes: each version has keys of its own."""

CLOCK_TOLERANCE_SECONDS = 900
"""How far the clock of whoever wrote an entry may be off ours. It also bounds how old a signed entry can be that an
attacker has kept and put back: its age then says that it is new, and its time of writing that it is not."""

_MAGIC = b"tasker-health/"
_UNSIGNED = b"-"
_MOST_KEY = 180
_MOST_COUNT = 2**63


class Refusal(StrEnum):
    """Why what lay in a cache is not believed."""

    INVALID = "invalid"
    VERSION = "version"
    SIGNATURE = "signature"
    FOREIGN = "foreign"
    OVERSIZED = "oversized"
    CLOCK = "clock"


class RefusedError(Exception):
    """What lay in a cache is not believed, and why."""

    def __init__(self, refusal: Refusal, detail: str = "") -> None:
        super().__init__(detail or refusal.value)
        self.refusal = refusal


class Record(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one process tells the others of one source.

    Attributes:
        owner: Namespace, service and source that it is of.
        teller: The process that tells.
        written_at: Wall-clock time of the writer, seconds since the epoch.
        age_seconds: How old the facts were when this was written.
        facts: The newest facts; `None`: never read.
        fault: Why the reading after them failed; `None`: they are of the latest one.
    """

    owner: str
    teller: str
    written_at: float
    age_seconds: float
    facts: Facts | None
    fault: Reason | None


class Sealer:
    """Makes entries and opens them.

    Args:
        namespace: First part of every key.
        service: Name of the service that the facts are of.
        signing_key: What entries are signed with; `None`: whatever has the right form is believed.
    """

    def __init__(self, namespace: str, service: str, signing_key: str | None) -> None:
        self._namespace = namespace
        self._service = service
        self._signing_key = signing_key.encode() if signing_key else None
        self._decoder = msgspec.json.Decoder(Record)

    def owner(self, name: str) -> str:
        """Return whose entry the one called *name* is."""
        return f"{self._namespace}/{self._service}/{name}"

    def key(self, name: str) -> str:
        """Return the key of the entry called *name*: printable, without a space, of bounded length."""
        key = f"{self._namespace}:{VERSION}:{quote(self._service, safe='')}:{quote(name, safe='')}"
        if len(key) <= _MOST_KEY:
            return key
        return f"{self._namespace}:{VERSION}:{hashlib.sha256(key.encode()).hexdigest()}"

    def seal(self, name: str, record: Record) -> bytes:
        """Return *record* as bytes.

        Raises:
            RefusedError: It is larger than an entry may be, or nobody would believe it.
        """
        try:
            body = msgspec.json.encode(record)
        except (TypeError, ValueError, RecursionError):
            raise RefusedError(Refusal.INVALID, "facts that are no JSON") from None
        # A source of the user's may put anything into facts; a number that is none would come back as nothing.
        if self._decoded(body) != record:
            raise RefusedError(Refusal.INVALID, "facts that would come back as others")
        return self.wrap(name, body)

    def wrap(self, name: str, body: bytes) -> bytes:
        """Return *body*, which is JSON of ours, versioned and signed.

        Raises:
            RefusedError: It is larger than an entry may be.
        """
        sealed = b"%b%d %b\n%b" % (_MAGIC, VERSION, self._signature(name, body), body)
        if len(sealed) > MOST_BYTES:
            raise RefusedError(Refusal.OVERSIZED, f"{len(sealed)} bytes; at most {MOST_BYTES} are shared")
        return sealed

    def open(self, name: str, sealed: bytes, *, age_seconds: float, now: float) -> Record:
        """Return the record in *sealed*, which has lain there for *age_seconds*.

        Raises:
            RefusedError: It is not one of ours.
        """
        record = self._decoded(self.unwrap(name, sealed))
        if record.owner != self.owner(name):
            raise RefusedError(Refusal.FOREIGN, "of another source, service or namespace")
        if abs(now - record.written_at - age_seconds) > CLOCK_TOLERANCE_SECONDS:
            raise RefusedError(Refusal.CLOCK, "its time and its age do not fit: a clock is wrong, or it was put back")
        return record

    def unwrap(self, name: str, sealed: bytes) -> bytes:
        """Return the JSON in *sealed*, of which only size, version and signature have been looked at.

        Raises:
            RefusedError: It is of another version, or not signed with our key.
        """
        if len(sealed) > MOST_BYTES:
            raise RefusedError(Refusal.OVERSIZED)
        head, newline, body = sealed.partition(b"\n")
        version, _, signature = head.removeprefix(_MAGIC).partition(b" ")
        if not newline or not head.startswith(_MAGIC):
            raise RefusedError(Refusal.INVALID, "not an entry")
        if version != b"%d" % VERSION:
            raise RefusedError(Refusal.VERSION, f"version {version[:20]!r}; ours is {VERSION}")
        if self._signing_key is not None and not hmac.compare_digest(signature, self._signature(name, body)):
            raise RefusedError(Refusal.SIGNATURE, "signed with another key, or not at all")
        return body

    def _signature(self, name: str, body: bytes) -> bytes:
        if self._signing_key is None:
            return _UNSIGNED
        return hmac.new(self._signing_key, self.key(name).encode() + b"\n" + body, "sha256").hexdigest().encode()

    def _decoded(self, body: bytes) -> Record:
        try:
            record = self._decoder.decode(body)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise RefusedError(Refusal.INVALID, "not of our form") from None
        # So the time of reading is one that a calendar has: the time of writing is held against our clock.
        if not (math.isfinite(record.written_at) and 0 <= record.age_seconds <= record.written_at):
            raise RefusedError(Refusal.INVALID, "times that cannot be")
        if record.facts is not None and not _can_be(record.facts):
            raise RefusedError(Refusal.INVALID, "figures that cannot be")
        return record


def _can_be(value: object) -> bool:
    """Return whether every number in *value* can be a figure of facts; of which type each is, the decoder has seen."""
    if isinstance(value, int | float):
        return 0 <= value < _MOST_COUNT
    if isinstance(value, Struct):
        return all(map(_can_be, astuple(value)))
    if isinstance(value, Mapping):
        return all(map(_can_be, value.values()))
    return True
