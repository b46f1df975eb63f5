"""The messages of `grpc.health.v1` in Protocol Buffers' wire format, read and written by hand.

They are four, of a string and a number each. Generated code would bind an application to one range of versions of
protobuf, clash with a copy of the same file that it has itself, and know `List` only in the newest versions.
The tests compare every message with the generated code's.
"""

from __future__ import annotations

from collections.abc import Mapping

from tasker_health.grpc.services import Serving

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_FIELD_1, _FIELD_2 = 1, 2
_FIXED = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_LONGEST_VARINT_BITS = 63
_LARGEST_FIELD = (1 << 29) - 1


def requested_service(message: bytes) -> str:
    """Return the `service` of a `HealthCheckRequest`.

    Raises:
        ValueError: It is none.
    """
    service, at = b"", 0
    while at < len(message):
        tag, at = _varint(message, at)
        field, kind = tag >> 3, tag & 7
        if not 0 < field <= _LARGEST_FIELD:
            raise ValueError("a field without a number")
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind == _VARINT:
            _, at = _varint(message, at)
            size = 0
        elif kind in _FIXED:
            size = _FIXED[kind]
        else:
            raise ValueError("a kind of field that is not known")
        if at + size > len(message):
            raise ValueError("it breaks off")
        if field == _FIELD_1 and kind == _BYTES:
            service = message[at : at + size]
        at += size
    return service.decode("utf-8")


def response(state: Serving) -> bytes:
    """Return a `HealthCheckResponse`."""
    return bytes((_FIELD_1 << 3 | _VARINT, state))


def listed(states: Mapping[str, Serving]) -> bytes:
    """Return a `HealthListResponse`: an entry of key and value for each service."""
    return b"".join(_field(_FIELD_1, _entry(name, state)) for name, state in states.items())


def _entry(name: str, state: Serving) -> bytes:
    return _field(_FIELD_1, name.encode("utf-8")) + _field(_FIELD_2, response(state))


def _field(number: int, content: bytes) -> bytes:
    size, length = len(content), b""
    while size > 0x7F:  # noqa: PLR2004 -- seven bits a byte, the eighth says that more come
        length += bytes((size & 0x7F | 0x80,))
        size >>= 7
    return bytes((number << 3 | _BYTES,)) + length + bytes((size,)) + content


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the number at *at*, and where what follows begins."""
    value = 0
    for shift in range(0, _LONGEST_VARINT_BITS + 1, 7):
        if at >= len(message):
            raise ValueError("it breaks off")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004 -- as above
            return value, at
    raise ValueError("a number that does not end")
