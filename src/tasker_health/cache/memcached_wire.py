"""What Memcached's meta commands answer, read from whatever bytes arrive: nothing here touches a network.

One reply is one line, `<code> <flags>*`, and after the code `VA` so many bytes of a value. Its grammar stands in
`protocol.txt` of Memcached, under "Meta Commands". A server that says anything else is not understood, and not guessed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tasker_health.cache import MOST_BYTES
from tasker_health.errors import CacheFault
from tasker_health.model import Reason

NEEDED = "Memcached 1.6.10 or newer is needed"

_MOST_LINE = 1024
_END = b"\r\n"
_LINE = re.compile(rb"(?:VA (0|[1-9][0-9]{0,9})|HD|EN|NS|EX|NF|MN)((?: [!-~]+)*)")
_NUMBER = re.compile(r"-?[0-9]{1,20}", re.ASCII)
_REFUSALS = (
    ("ERROR Too many open connections", Reason.TOO_MANY_CONNECTIONS, "start it with a greater -c"),
    ("ERROR", Reason.UNKNOWN_VERSION, NEEDED),
    ("CLIENT_ERROR unauthenticated", Reason.AUTHENTICATION_FAILED, "a server with -Y is not supported"),
    ("CLIENT_ERROR", Reason.ERROR, ""),
    ("SERVER_ERROR object too large for cache", Reason.INVALID, "start it with -I 1m or more"),
    ("SERVER_ERROR out of memory", Reason.ERROR, "start it with a greater -m, or without -M"),
    ("SERVER_ERROR", Reason.ERROR, ""),
)


class Reply(NamedTuple):
    """What the server answered.

    Attributes:
        code: `VA`, `HD`, `EN`, `NS`, `EX`, `NF` or `MN`.
        flags: What each returned flag, one letter, says.
        value: The bytes after `VA`, at most `MOST_BYTES` + 1 of them.
        is_cut: Whether more of the value was to come: the connection is of no more use.
    """

    code: str
    flags: dict[str, str]
    value: bytes = b""
    is_cut: bool = False

    def number(self, flag: str) -> int:
        """Return the number that *flag* says.

        Raises:
            CacheFault: It is not there, or not a number.
        """
        said = self.flags.get(flag, "")
        if not _NUMBER.fullmatch(said):
            raise CacheFault(Reason.INVALID, f"the server answered {self.code} without the number {flag}")
        return int(said)


class Reading:
    """One reply as it arrives, piece by piece; it never holds much more than one value of `MOST_BYTES`."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._head: Reply | None = None
        self._size = 0

    def feed(self, piece: bytes) -> Reply | None:
        """Take what has arrived; return the reply when it is complete.

        Raises:
            CacheFault: The server refuses, or says what it should not.
        """
        self._bytes += piece
        if self._head is None:
            line = self._line()
            if line is None:
                return None
            self._head, self._size = _parsed(line)
        if self._head.code == "VA":
            return self._with_value(self._head)
        if self._bytes:
            raise CacheFault(Reason.INVALID, "the server says more than it was asked")
        return self._head

    def _line(self) -> bytes | None:
        end = self._bytes.find(_END, 0, _MOST_LINE)
        if end >= 0:
            line = bytes(self._bytes[:end])
            del self._bytes[: end + len(_END)]
            return line
        if len(self._bytes) >= _MOST_LINE:
            raise CacheFault(Reason.INVALID, "the server's line does not end: this is not Memcached")
        return None

    def _with_value(self, head: Reply) -> Reply | None:
        if self._size > MOST_BYTES:
            if len(self._bytes) <= MOST_BYTES:
                return None
            return head._replace(value=bytes(self._bytes[: MOST_BYTES + 1]), is_cut=True)
        missing = self._size + len(_END) - len(self._bytes)
        if missing > 0:
            return None
        if missing < 0 or not self._bytes.endswith(_END):
            raise CacheFault(Reason.INVALID, "the server's value does not end where it should")
        return head._replace(value=bytes(self._bytes[: self._size]))


def _parsed(line: bytes) -> tuple[Reply, int]:
    found = _LINE.fullmatch(line)
    if found is None:
        raise _refusal(line.decode("ascii", "replace"))
    flags = {word[0]: word[1:] for word in found[2].decode("ascii").split()}
    return Reply(line[:2].decode("ascii"), flags), int(found[1] or 0)


def _refusal(line: str) -> CacheFault:
    """Return what *line*, which is no answer to a meta command, stands for; only its known part is told."""
    for words, reason, remedy in _REFUSALS:
        if line == words or line.startswith(f"{words} "):
            said = re.sub(r"[^ -~]+", "?", line)[:120]
            return CacheFault(reason, f"the server says: {said}" + (f"; {remedy}" if remedy else ""))
    return CacheFault(Reason.INVALID, "the server answers what Memcached does not")
