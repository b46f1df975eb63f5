"""Askers as a process of their own, so that they neither wait for the test nor keep it waiting.

`python asker.py PORT PATH PROBES AT_ONCE SECONDS` asks from new connections, so many at once, spread over so many
seconds, and prints each probe: when it was sent, how long it took, the code (0: no answer) and the reasons in the body.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

PATIENCE_SECONDS = 20


@dataclass(frozen=True)
class Probe:
    """One question and its answer.

    Attributes:
        sent_at: By CLOCK_MONOTONIC, which all processes share.
        seconds: Until the answer had come whole.
        code: 0: none came.
        reasons: All that the body names.
    """

    sent_at: float
    seconds: float
    code: int
    reasons: tuple[str, ...] = ()


class Asker:
    """Askers that are at work.

    Args:
        port: Whom they ask.
        path: What they ask.
        probes: How many questions altogether.
        at_once: How many at the same time, each over a new connection.
        seconds: Over how long they are spread; they take longer where the answers do.
        patience_seconds: How long an answer is waited for.
    """

    def __init__(self, port, path, probes, *, at_once=1, seconds=0.0, patience_seconds=PATIENCE_SECONDS):
        words = [port, path, probes, at_once, seconds, patience_seconds]
        self._process = subprocess.Popen(
            [sys.executable, "-S", "-E", __file__, *map(str, words)], stdout=subprocess.PIPE
        )

    def probes(self):
        """Return all probes once they are over."""
        try:
            output, _ = self._process.communicate()
        finally:
            self.end()
        return [Probe(sent_at, seconds, code, tuple(reasons)) for sent_at, seconds, code, reasons in json.loads(output)]

    def end(self):
        """Ask no more."""
        if self._process.returncode is None:
            self._process.kill()
            self._process.communicate()


def ask(port, path, probes=1, **options):
    """Return *probes* of *path*; see `Asker`."""
    return Asker(port, path, probes, **options).probes()


def _main(port, path, probes, at_once, seconds, patience_seconds):
    request = f"GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n".encode()
    made = []
    began = time.monotonic()
    while len(made) < probes:
        time.sleep(max(0, began + seconds * len(made) / probes - time.monotonic()))
        made += _burst(("127.0.0.1", port), request, min(at_once, probes - len(made)), patience_seconds)
    sys.stdout.write(json.dumps(made))


def _burst(address, request, number, patience_seconds):
    """Ask *number* times at once and return the probes."""
    asking, made = {}, []
    poller = select.epoll()
    for _ in range(number):
        each = socket.socket()
        each.setblocking(False)
        sent_at = time.monotonic()
        each.connect_ex(address)
        poller.register(each, select.EPOLLOUT)
        asking[each.fileno()] = (each, sent_at, [])
    ends_at = time.monotonic() + patience_seconds
    while asking and (left := ends_at - time.monotonic()) > 0:
        for descriptor, event in poller.poll(left):
            each, sent_at, parts = asking[descriptor]
            if event == select.EPOLLOUT:
                each.send(request)
                poller.modify(each, select.EPOLLIN)
                continue
            part = b""
            with contextlib.suppress(OSError):
                part = each.recv(65536)
            if part:
                parts.append(part)
            else:
                made.append((sent_at, time.monotonic() - sent_at, b"".join(parts)))
                each.close()
                del asking[descriptor]
    for each, sent_at, _ in asking.values():
        made.append((sent_at, time.monotonic() - sent_at, b""))
        each.close()
    poller.close()
    return [(sent_at, seconds, *_read(answer)) for sent_at, seconds, answer in made]


def _read(answer):
    """Return code and reasons of *answer*."""
    code = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    return int(code[1]) if code else 0, re.findall(r'"reason":"(\w+)"', answer.decode("latin-1"))


if __name__ == "__main__":
    _port, _path, _probes, _at_once, _seconds, _patience = sys.argv[1:]
    _main(int(_port), _path, int(_probes), int(_at_once), float(_seconds), float(_patience))
