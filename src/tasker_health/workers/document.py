"""A beat as the stores keep it: one line of JSON, whatever the engine calls its tasks."""

from __future__ import annotations

import hashlib
import math

import msgspec

from tasker_health.workers import Beat

LONGEST_ID = 200
"""So many signs of a worker's name are its key; of a longer one its digest is the end."""

_DIGEST_SIGNS = 16

_ENCODER, _PAIRS = msgspec.json.Encoder(), msgspec.json.Decoder(list[tuple[float, Beat]])


def encoded(beat: Beat) -> str:
    """Return *beat* as a line of JSON; half a pair of surrogates, which is no text, becomes a question mark."""
    try:
        return _ENCODER.encode(beat).decode()
    except UnicodeEncodeError:
        return _ENCODER.encode(_clean(msgspec.to_builtins(beat))).decode()


def decoded_pairs(text: str | bytes) -> list[tuple[float, Beat]] | None:
    """Return the time and the beat of each of the pairs in *text*, which have commas between them.

    `None`: one of them is none, which says nothing of the others.
    """
    try:
        found = _PAIRS.decode(b"[%b]" % text if isinstance(text, bytes) else f"[{text}]")
    except (msgspec.MsgspecError, ValueError, TypeError):
        return None
    return [(at, beat) for at, beat in found if math.isfinite(beat.period_seconds) and beat.period_seconds > 0]


def key_of(worker_id: str) -> str:
    """Return what a worker is found by: its name, where a database can hold that as it is."""
    key = words(worker_id)
    if len(key) <= LONGEST_ID:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:_DIGEST_SIGNS]
    return f"{key[: LONGEST_ID - _DIGEST_SIGNS]}{digest}"


def words(text: str) -> str:
    """Return *text* as every database takes it: without what is no text, and without NUL."""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def _clean(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    if isinstance(value, dict):
        return {key: _clean(each) for key, each in value.items()}
    return value
