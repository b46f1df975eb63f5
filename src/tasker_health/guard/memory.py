"""The memory that the application and its guard share: heartbeats and the latest reports.

One file without a name (a memfd), handed down by descriptor: nothing has to be cleaned up, whoever dies, and
`multiprocessing.shared_memory`, whose resource tracker unlinks what others still use on Python 3.11, is not needed.

Every number is one aligned 8-byte word, which is stored and loaded whole. What is longer (the reports) stands behind
a sequence lock: its count is odd while somebody writes, and a reader that saw it change reads again (Lameter,
"Effective synchronization on Linux/NUMA systems", 2005). Python has no memory barriers, so on processors that reorder
stores the count alone would not do: a checksum tells the reader that the bytes belong together. Each slot has one
writer, the process that took it. All heartbeats lie close together, so that a guard that reads them touches three
pages and not one for each slot.
"""

from __future__ import annotations

import _thread
import binascii
import fcntl
import mmap
import os
import time

from tasker_health.guard.packing import pack

MAGIC = int.from_bytes(b"THGUARD1", "little")
SLOTS = 128
"""Most heartbeats at once: one for each event loop and each worker process of a pod."""

REPORT_BYTES = 64 * 1024
"""Most bytes of the reports of one process."""

_WORD = 8
_HEADER_WORDS = 8
_SLOT_WORDS = 8
_TOP = 1
"""Word of the header: how many slots have ever been taken."""

_LEFT = 2
"""Word of the header: 1 when whoever started the guard has left it to the others."""

_REPORTS = 3 * 4096
"""Where the reports begin: after the header and all heartbeats, at a page of their own."""

_PID, _STARTED, _BEAT, _LAG, _FLAGS, _SEQUENCE, _STAMP, _PUBLISHED = range(_SLOT_WORDS)

DUMPS_STACKS = 1
"""Flag: the process logs where its threads stand when it gets the guard's signal."""

DRAINING = 2
"""Flag: the process is about to stop and takes no new traffic."""

THREAD = 4
"""Flag: the heartbeat is a thread's, of a worker without an event loop: it proves that the interpreter runs."""

STARVED = 8
"""Flag: the process takes no work, though some waits for it; since when, by CLOCK_MONOTONIC in whole seconds, say the
upper 32 bits of the word."""

_SINCE_BITS = 32

SIZE = _REPORTS + SLOTS * REPORT_BYTES


class Memory:
    """The shared memory behind *descriptor*.

    Raises:
        ValueError: What is there is not ours.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, SIZE)
        self._view = memoryview(self._map)
        self._words = self._view.cast("Q")
        # A lock of the file keeps other processes out, not other threads of this one.
        self._lock = _thread.allocate_lock()
        if self._words[0] != MAGIC:
            self.close()
            raise ValueError("this is no memory of a guard")

    @classmethod
    def create(cls) -> Memory:
        """Return new memory; its descriptor is inherited only where it is passed on."""
        descriptor = os.memfd_create("tasker-health-guard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(descriptor, SIZE)
        # Were it made shorter, a read would kill the reader by SIGBUS.
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        os.pwrite(descriptor, MAGIC.to_bytes(_WORD, "little"), 0)
        return cls(descriptor)

    def close(self) -> None:
        """Unmap it and close the descriptor."""
        self._words.release()
        self._view.release()
        self._map.close()
        os.close(self.descriptor)

    def take(self, flags: int = 0) -> Slot:
        """Return a slot for this process: a free one, or that of a process that is dead.

        Raises:
            OSError: All of them are taken by processes that live.
        """
        # Locked for this file by the kernel, and unlocked when its holder dies.
        with self._lock:
            fcntl.lockf(self.descriptor, fcntl.LOCK_EX, 1, 0)
            try:
                return self._take(flags)
            finally:
                fcntl.lockf(self.descriptor, fcntl.LOCK_UN, 1, 0)

    def _take(self, flags: int) -> Slot:
        for slot in map(self.slot, range(SLOTS)):
            if not slot.pid or not is_running(slot.pid, slot.started):
                slot.begin(flags)
                self._words[_TOP] = max(self.top, slot.index + 1)
                return slot
        raise OSError(f"all {SLOTS} slots of the guard's memory are taken")

    @property
    def top(self) -> int:
        """How many slots have ever been taken: nobody needs to look at the others."""
        return min(int(self._words[_TOP]), SLOTS)

    @property
    def is_left(self) -> bool:
        """Whether the guard is to end with the last who has a slot, although its owner lives."""
        return bool(self._words[_LEFT])

    def leave(self) -> None:
        """Leave the guard to those who have a slot."""
        self._words[_LEFT] = 1

    def heads(self) -> bytes:
        """Return all heartbeats as they stand: while they are equal, nobody has written anything."""
        return bytes(self._view[: (_HEADER_WORDS + self.top * _SLOT_WORDS) * _WORD])

    def slot(self, index: int) -> Slot:
        """Return the slot at *index*, from 0 to `SLOTS` - 1, taken or not."""
        return Slot(self._words, self._view, index)

    def taken(self) -> list[Slot]:
        """Return the slots that somebody has taken, dead or alive."""
        return [slot for slot in map(self.slot, range(self.top)) if slot.pid]


class Slot:
    """The place of one heartbeat and of the reports of its process."""

    __slots__ = ("_at", "_reports_at", "_view", "_words", "index")

    def __init__(self, words: memoryview, view: memoryview, index: int) -> None:
        self.index: int = index
        self._words = words
        self._view = view
        self._at = _HEADER_WORDS + index * _SLOT_WORDS
        self._reports_at = _REPORTS + index * REPORT_BYTES

    @property
    def pid(self) -> int:
        """Who took it; 0: nobody."""
        return int(self._words[self._at + _PID])

    @property
    def started(self) -> int:
        """When that process was started, as the kernel counts it: a process id alone may be somebody else's by now."""
        return int(self._words[self._at + _STARTED])

    @property
    def beat_ns(self) -> int:
        """When it last said that it is alive, by CLOCK_MONOTONIC."""
        return int(self._words[self._at + _BEAT])

    @property
    def lag_ns(self) -> int:
        """How much later than meant that was."""
        return int(self._words[self._at + _LAG])

    @property
    def flags(self) -> int:
        """See `DUMPS_STACKS`, `DRAINING`, `THREAD`, `STARVED`."""
        return int(self._words[self._at + _FLAGS])

    @property
    def published_ns(self) -> int:
        """When its reports were written, by CLOCK_MONOTONIC; 0: never."""
        return int(self._words[self._at + _PUBLISHED])

    def begin(self, flags: int) -> None:
        """Take the slot for this process."""
        words, at = self._words, self._at
        for word in (_STAMP, _PUBLISHED, _LAG):
            words[at + word] = 0
        words[at + _SEQUENCE] = (words[at + _SEQUENCE] + 2) & ~1
        words[at + _FLAGS] = flags
        words[at + _STARTED] = start_time(os.getpid())
        words[at + _BEAT] = time.monotonic_ns()
        words[at + _PID] = os.getpid()

    def beat(self, lag_ns: int = 0) -> None:
        """Say that its owner is alive, and how late it was to say so."""
        self._words[self._at + _LAG] = lag_ns
        self._words[self._at + _BEAT] = time.monotonic_ns()

    def flag(self, flag: int) -> None:
        """Set *flag* beside those that are set."""
        self._words[self._at + _FLAGS] |= flag

    @property
    def starved_since(self) -> int:
        """Since when it takes no work, by CLOCK_MONOTONIC in whole seconds; 0: it does."""
        flags = self.flags
        return flags >> _SINCE_BITS if flags & STARVED else 0

    def starve(self, since: int) -> None:
        """Say that its owner takes no work *since*, in whole seconds by CLOCK_MONOTONIC; 0: it does."""
        flags = self.flags & (1 << _SINCE_BITS) - 1 & ~STARVED
        self._words[self._at + _FLAGS] = flags | STARVED | since << _SINCE_BITS if since else flags

    def give_back(self) -> None:
        """Free the slot."""
        self._words[self._at + _PID] = 0

    def publish(self, reports: dict[str, tuple[int, bytes]]) -> None:
        """Put *reports* (by name: status code and body) in place of the last ones.

        Raises:
            ValueError: They are longer than `REPORT_BYTES`.
        """
        data = pack(reports)
        if len(data) > REPORT_BYTES:
            raise ValueError(f"reports of {len(data)} bytes; the guard's memory takes {REPORT_BYTES}")
        words, at = self._words, self._at
        # Odd, also after a publication that an exception (Ctrl-C) cut short: plus 1 would then make it even.
        writing = (int(words[at + _SEQUENCE]) + 1) | 1
        words[at + _SEQUENCE] = writing
        words[at + _STAMP] = binascii.crc32(data) << 32 | len(data)
        self._view[self._reports_at : self._reports_at + len(data)] = data
        words[at + _PUBLISHED] = time.monotonic_ns()
        words[at + _SEQUENCE] = writing + 1

    def read(self) -> tuple[int, bytes]:
        """Return the count of the sequence lock and the packed reports; the count tells whether they are new.

        While they are being written, or if their writer died in that, the count is odd and the bytes are empty.
        """
        words, at = self._words, self._at
        for _ in range(16):
            before, stamp = int(words[at + _SEQUENCE]), int(words[at + _STAMP])
            length = min(stamp & 0xFFFFFFFF, REPORT_BYTES)
            data = bytes(self._view[self._reports_at : self._reports_at + length])
            if not before & 1 and words[at + _SEQUENCE] == before and binascii.crc32(data) == stamp >> 32:
                return before, data
        return before | 1, b""

    @property
    def sequence(self) -> int:
        """Count of the sequence lock."""
        return int(self._words[self._at + _SEQUENCE])


def start_time(pid: int) -> int:
    """Return when process *pid* was started, in clock ticks after boot (proc(5), field 22); 0 when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as stat:  # noqa: PTH123 -- pathlib is half a megabyte
            fields = stat.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in {b"Z", b"X"} else int(fields[19])


def is_running(pid: int, started: int) -> bool:
    """Return whether the process that had *pid* since *started* is still there."""
    return started != 0 and start_time(pid) == started
