"""Reports as bytes: each with its name and status code, one after the other."""

from __future__ import annotations

import struct

_ENTRY = struct.Struct("<HHI")


def pack(reports: dict[str, tuple[int, bytes]]) -> bytes:
    """Return *reports* as bytes for `unpack`."""
    parts = []
    for name, (code, body) in reports.items():
        encoded = name.encode("ascii")
        parts += [_ENTRY.pack(len(encoded), code, len(body)), encoded, body]
    return b"".join(parts)


def unpack(data: bytes) -> dict[str, tuple[int, bytes]]:
    """Return the reports that were packed into *data*; `{}` for what was not packed by `pack`."""
    reports = {}
    at = 0
    while at < len(data):
        if at + _ENTRY.size > len(data):
            return {}
        name_length, code, body_length = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        name, body = data[at : at + name_length], data[at + name_length : at + name_length + body_length]
        at += name_length + body_length
        if at > len(data) or not name.isascii():
            return {}
        reports[name.decode("ascii")] = (code, body)
    return reports
