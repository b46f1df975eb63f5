"""Sealed entries: what goes in comes out, and nothing else ever does."""

from __future__ import annotations

import hmac
import json
import math
import random
import re
import types
from enum import StrEnum
from typing import get_args, get_type_hints

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import canary
from fakes import facts_of
from tasker_health.cache import MOST_BYTES
from tasker_health.cache.sealing import CLOCK_TOLERANCE_SECONDS, VERSION, Record, Refusal, RefusedError, Sealer
from tasker_health.model import Connections, CountingMethod, Durations, Facts, Reason

NOW = 1_750_260_600.0
KEY = canary.secret("signing")
PLAIN, SIGNED = Sealer("tasker_health", "shop", None), Sealer("tasker_health", "shop", KEY)
SEALERS = pytest.mark.parametrize("sealer", [PLAIN, SIGNED], ids=["plain", "signed"])

Form = dict[str, str] | list[str]
FORM: dict[str, Form] = {
    "Record": {
        "owner": "str",
        "teller": "str",
        "written_at": "float",
        "age_seconds": "float",
        "facts": "Facts | None",
        "fault": "Reason | None",
    },
    "Facts": {
        "pending": "int",
        "running": "int",
        "completed": "int",
        "failed": "int",
        "cancelled": "int",
        "other": "int",
        "blocked": "int | None",
        "stuck": "int | None",
        "retry_queue": "int | None",
        "in_backoff": "int | None",
        "task_time": "Durations | None",
        "step_time": "Durations | None",
        "window_completed": "int | None",
        "window_failed": "int | None",
        "retries_settled": "int | None",
        "retries_succeeded": "int | None",
        "connections": "Connections, optional",
        "tasks_by_state": "dict[str, int] | None, optional",
        "steps_by_state": "dict[str, int] | None, optional",
        "oldest_pending_seconds": "int | None, optional",
        "groups": "Mapping[str, Mapping[str, int]] | None, optional",
        "method": "CountingMethod | None, optional",
        "drift": "int | None, optional",
        "age_seconds": "float, optional",
        "causes": "Mapping[Cause, int] | None, optional",
        "flow": "QueueFlow | None, optional",
        "queues": "Mapping[str, QueueFlow] | None, optional",
        "outcomes": "tuple[Outcome, ...] | None, optional",
    },
    "QueueFlow": {
        "arrived": "int | None, optional",
        "ended": "int | None, optional",
        "ready": "int | None, optional",
        "oldest_ready_seconds": "int | None, optional",
    },
    "Durations": {
        "count": "int",
        "total_ms": "int",
    },
    "Connections": {
        "active_connections": "int | None, optional",
        "maximum_connections": "int | None, optional",
        "connection_ratio": "float | None, optional",
    },
    "CountingMethod": ["tally", "full_count"],
    "Reason": [
        "timeout",
        "refused",
        "unreachable",
        "authentication_failed",
        "too_many_connections",
        "pool_exhausted",
        "read_only",
        "missing",
        "pending",
        "ahead",
        "unknown_version",
        "invalid",
        "stalled",
        "draining",
        "not_run",
        "error",
    ],
}
"""What an entry of version 2 is made of."""

counts = st.integers(0, 2**63 - 1)
maybe = counts | st.none()
ratios = st.floats(0, 2**62, allow_nan=False) | st.none()
names = st.text(max_size=20)
by_name = st.none() | st.dictionaries(names, counts, max_size=4)
durations = st.none() | st.builds(Durations, counts, counts)
all_facts = st.builds(
    Facts,
    **dict.fromkeys(("pending", "running", "completed", "failed", "cancelled", "other"), counts),
    **dict.fromkeys(("blocked", "stuck", "retry_queue", "in_backoff", "window_completed", "window_failed"), maybe),
    **dict.fromkeys(("retries_settled", "retries_succeeded", "oldest_pending_seconds", "drift"), maybe),
    task_time=durations,
    step_time=durations,
    connections=st.builds(Connections, active_connections=maybe, maximum_connections=maybe, connection_ratio=ratios),
    tasks_by_state=by_name,
    steps_by_state=by_name,
    groups=st.none() | st.dictionaries(names, st.dictionaries(names, counts, max_size=3), max_size=3),
    method=st.none() | st.sampled_from(CountingMethod),
    age_seconds=st.floats(0, 1e6),
)
records = st.builds(
    Record,
    owner=st.just(PLAIN.owner("tasks")),
    teller=names,
    written_at=st.floats(NOW - 800, NOW + 800),
    age_seconds=st.floats(0, 1e9),
    facts=st.none() | all_facts,
    fault=st.none() | st.sampled_from(Reason),
)


def record_of(**changes: object) -> Record:
    """Return a record of ours with *changes*."""
    figures = {
        "owner": PLAIN.owner("tasks"),
        "teller": "another",
        "written_at": NOW,
        "age_seconds": 0.5,
        "facts": facts_of(groups={"größe": {"läuft": 3}}),
        "fault": None,
    }
    return Record(**{**figures, **changes})


def opened(sealer: Sealer, sealed: bytes, *, name: str = "tasks", age_seconds: float = 0.0, now: float = NOW):
    """Return what is believed of *sealed*: a record, or why not."""
    try:
        return sealer.open(name, sealed, age_seconds=age_seconds, now=now)
    except RefusedError as error:
        canary.look("why an entry is refused", error, repr(error))
        return error.refusal


def with_body(sealer: Sealer, body: bytes) -> bytes:
    """Return *body* sealed as *sealer* would, whatever it holds: what somebody who has the key could write."""
    return b"tasker-health/%d %b\n%b" % (VERSION, sealer._signature("tasks", body), body)


class TestRoundTrip:
    """What one process seals the other one opens."""

    @given(records, st.booleans())
    def test_gives_back_what_was_sealed(self, record: Record, is_signed: bool):
        """Whatever the figures: big, fractional, unknown, with names in any script."""
        sealer = SIGNED if is_signed else PLAIN
        assert opened(sealer, sealer.seal("tasks", record)) == record

    @pytest.mark.parametrize(
        "facts",
        [
            facts_of(connections=Connections(connection_ratio=math.nan)),
            facts_of(connections=Connections(connection_ratio=math.inf)),
            facts_of(connections=Connections(connection_ratio=-0.1)),
            facts_of(age_seconds=math.inf),
            facts_of(drift=-1),
            facts_of(completed=2**63),
            facts_of(task_time=Durations(1, -1)),
            facts_of(groups={"a": {"b": -1}}),
            facts_of(groups={"\ud800": {"b": 1}}),
            facts_of(groups=types.MappingProxyType({"a": {"b": 1}})),
            facts_of(groups={1: {"b": 1}}),
            facts_of(tasks_by_state={"a": "many"}),
            facts_of(tasks_by_state={"a": object()}),
            facts_of(pending=True),
            facts_of(blocked=1.5),
        ],
    )
    @SEALERS
    def test_what_would_come_back_as_something_else_is_not_sealed(self, sealer: Sealer, facts: Facts):
        """A source of the user's may answer anything: it is refused where it is made, for whoever would read it."""
        with pytest.raises(RefusedError) as raised:
            sealer.seal("tasks", record_of(facts=facts))
        assert raised.value.refusal is Refusal.INVALID

    def test_facts_that_contain_themselves_are_not_sealed(self):
        """They have no end."""
        endless: dict = {}
        endless["a"] = endless
        with pytest.raises(RefusedError):
            PLAIN.seal("tasks", record_of(facts=facts_of(groups=endless)))

    @SEALERS
    def test_as_much_as_is_allowed_is_sealed_and_no_more(self, sealer: Sealer):
        """To the byte."""

        def sealed(length: int) -> bytes:
            return sealer.seal("tasks", record_of(facts=facts_of(groups={"x" * length: {}})))

        room = MOST_BYTES - len(sealed(0))
        assert isinstance(opened(sealer, sealed(room)), Record)
        with pytest.raises(RefusedError) as raised:
            sealed(room + 1)
        assert raised.value.refusal is Refusal.OVERSIZED


class TestDamage:
    """Bytes that are not quite ours, or not at all."""

    @given(st.binary(max_size=300), st.booleans())
    @example(b"", False)
    @example(b"\n", True)
    @example(b"tasker-health/2 -\n", False)
    @example(b"tasker-health/2", True)
    def test_garbage_is_refused(self, garbage: bytes, is_signed: bool):
        """Never a crash, never a record."""
        assert opened(SIGNED if is_signed else PLAIN, garbage) in {Refusal.INVALID, Refusal.VERSION}

    @SEALERS
    def test_every_truncation_is_refused(self, sealer: Sealer):
        """At each byte."""
        sealed = sealer.seal("tasks", record_of())
        for length in range(len(sealed)):
            assert isinstance(opened(sealer, sealed[:length]), Refusal), length

    def test_with_a_key_every_changed_bit_is_refused(self):
        """Each bit of a whole entry."""
        sealed = SIGNED.seal("tasks", record_of())
        for place in range(len(sealed)):
            for bit in range(8):
                changed = bytearray(sealed)
                changed[place] ^= 1 << bit
                assert isinstance(opened(SIGNED, bytes(changed)), Refusal), (place, bit)

    @given(records, st.data())
    def test_with_a_key_every_change_is_refused(self, record: Record, data: st.DataObject):
        """Any piece of it replaced by any other one, moved, repeated or left out."""
        sealed = SIGNED.seal("tasks", record)
        begin = data.draw(st.integers(0, len(sealed)))
        end = data.draw(st.integers(begin, len(sealed)))
        piece = data.draw(st.binary(max_size=20) | st.just(sealed[begin:end] * 2) | st.just(sealed[:begin]))
        changed = sealed[:begin] + piece + sealed[end:]
        assume(changed != sealed)
        assert isinstance(opened(SIGNED, changed), Refusal)

    def test_without_a_key_a_changed_bit_is_refused_or_still_of_our_form(self):
        """Nothing is believed that this process could not have written itself."""
        sealed = PLAIN.seal("tasks", record_of())
        believed = 0
        for place in range(len(sealed)):
            for bit in range(8):
                changed = bytearray(sealed)
                changed[place] ^= 1 << bit
                record = opened(PLAIN, bytes(changed))
                if not isinstance(record, Refusal):
                    believed += 1
                    assert record.owner == PLAIN.owner("tasks")
                    assert opened(PLAIN, PLAIN.seal("tasks", record)) == record
        assert 0 < believed < len(sealed) * 8


def mangled(chance: random.Random, tree: object) -> object:
    """Return *tree* with one value in it replaced by one that JSON can hold and facts can not."""
    odd = [None, "", "x", -1, 1.5, 1e308, 10**25, True, [], {}, [[]], {"a": {"a": {"a": 1}}}]
    if isinstance(tree, dict) and tree and chance.random() < 0.8:
        key = chance.choice(list(tree))
        if chance.random() < 0.15:
            return {each: value for each, value in tree.items() if each != key}
        return {**tree, key: mangled(chance, tree[key])}
    return chance.choice(odd)


class TestForm:
    """JSON that is well sealed, and is not ours: what a friend of the key, or anybody without one, could write."""

    @SEALERS
    def test_json_of_another_form_is_refused_or_believed_as_it_stands(self, sealer: Sealer):
        """A thousand records with one thing wrong: refused, or one that could have been sealed."""
        chance = random.Random(6)
        right = json.loads(msgspec.json.encode(record_of(facts=facts_of(tasks_by_state={"a": 1}))))
        refused = 0
        for _ in range(1000):
            body = json.dumps(mangled(chance, right)).encode()
            record = opened(sealer, with_body(sealer, body))
            if isinstance(record, Refusal):
                refused += 1
                assert record in {Refusal.INVALID, Refusal.FOREIGN, Refusal.CLOCK}
            else:
                assert opened(sealer, sealer.seal("tasks", record)) == record
        assert 300 < refused < 1000

    @pytest.mark.parametrize(
        "change",
        [
            (b'"pending":45', b'"pending":NaN'),
            (b'"pending":45', b'"pending":-45'),
            (b'"pending":45', b'"pending":45.0'),
            (b'"pending":45', b'"pending":"45"'),
            (b'"pending":45', b'"pending":9223372036854775808'),
            (b'"pending":45', b'"pending":' + b"9" * 10_000),
            (b'"pending":45', b'"pending":1e400'),
            (b'"age_seconds":0.5', b'"age_seconds":NaN'),
            (b'"age_seconds":0.5', b'"age_seconds":Infinity'),
            (b'"age_seconds":0.5', b'"age_seconds":1e999'),
            (b'"age_seconds":0.5', b'"age_seconds":-1'),
            (b'"age_seconds":0.5', b'"age_seconds":1e300'),
            (b'"age_seconds":0.5', b'"age_seconds":null'),
            (b'"written_at":1750260600.0', b'"written_at":null'),
            (b'"written_at":1750260600.0', b'"written_at":-1e308'),
            (b'"connection_ratio":0.05', b'"connection_ratio":-0.05'),
            (b'"connection_ratio":0.05', b'"connection_ratio":1e300'),
            (b'"count":10', b'"count":-10'),
            (b'"fault":null', b'"fault":"no such reason"'),
            (b'"fault":null', b'"fault":null,"more":1'),
            (b'"groups":', b'"groups":[' * 40_000 + b'"groups":'),
            (b'"groups":', b'"groups":' + b'{"a":' * 50_000),
            (b'"teller":"another"', b'"teller":"\\ud800"'),
            (b'"teller":"another"', b'"teller":"\xff"'),
            (b"{", b"[" * 500_000),
        ],
        ids=lambda change: change[1][:40].decode("latin-1"),
    )
    @SEALERS
    def test_figures_that_cannot_be_are_refused(self, sealer: Sealer, change: tuple[bytes, bytes]):
        """Numbers that are none, negative or huge, nesting without an end, fields that we do not know."""
        body = msgspec.json.encode(record_of())
        assert change[0] in body
        assert opened(sealer, with_body(sealer, body)) == record_of()
        assert opened(sealer, with_body(sealer, body.replace(*change, 1))) is Refusal.INVALID

    def test_of_a_key_that_is_there_twice_one_value_counts(self):
        """The last one, which is checked like any other."""
        body = msgspec.json.encode(record_of())
        twice = body.replace(b'"pending":45', b'"pending":-1,"pending":46')
        assert opened(PLAIN, with_body(PLAIN, twice)).facts.pending == 46
        twice = body.replace(b'"pending":45', b'"pending":46,"pending":-1')
        assert opened(PLAIN, with_body(PLAIN, twice)) is Refusal.INVALID
        twice = body.replace(b'"owner"', b'"owner":"tasker_health/shop/tasks","owner":"x/y/z","owne"')
        assert opened(PLAIN, with_body(PLAIN, twice)) is Refusal.INVALID

    @pytest.mark.parametrize("value", [b"0f8fad5bd9cb469f", b"", b"1", b"{}", b"null", bytes(8)])
    @SEALERS
    def test_a_lease_is_no_entry(self, sealer: Sealer, value: bytes):
        """Nor is anything else that a cache holds for us."""
        assert opened(sealer, value) is Refusal.INVALID

    def test_the_form_is_that_of_its_version(self):
        """The fields of a record and of all that is in it, with their types: whoever changes them raises `VERSION`.

        Processes of the last version would otherwise read what the new ones write, and the other way round.
        """
        assert (VERSION, form_of(Record)) == (2, FORM), "entries have changed: raise VERSION, then FORM"


def form_of(kind: type) -> dict[str, Form]:
    """Return the fields and values of *kind* and of all that is in it."""
    if issubclass(kind, StrEnum):
        return {kind.__name__: [str(value) for value in kind]}
    found: dict[str, Form] = {}
    fields: dict[str, str] = {}
    hints = get_type_hints(kind)
    for field in msgspec.structs.fields(kind):
        hint = hints[field.name]
        for part in get_args(hint) or [hint]:
            if isinstance(part, type) and issubclass(part, msgspec.Struct | StrEnum):
                found |= form_of(part)
        said = hint.__name__ if isinstance(hint, type) and not get_args(hint) else str(hint)
        fields[field.encode_name] = re.sub(r"[a-z_]+[.]", "", said) + ("" if field.required else ", optional")
    return {kind.__name__: fields, **found}


class TestOthers:
    """Entries that are well made, and of somebody else."""

    @SEALERS
    def test_of_another_source_service_or_namespace(self, sealer: Sealer):
        """Laid under our key they are foreign; with a key their signature is of another key already."""
        key = KEY if sealer is SIGNED else None
        others = [
            (Sealer("tasker_health", "shop", key), "tasks/0123456789ab"),
            (Sealer("tasker_health", "bank", key), "tasks"),
            (Sealer("staging", "shop", key), "tasks"),
        ]
        for other, name in others:
            sealed = other.seal(name, record_of(owner=other.owner(name)))
            assert opened(sealer, sealed) is (Refusal.SIGNATURE if key else Refusal.FOREIGN)

    @pytest.mark.parametrize("version", [b"0", b"1", b"02", b"2.0", b"", b"-1", b"9" * 400_000, b"\xff"])
    @SEALERS
    def test_of_another_version(self, sealer: Sealer, version: bytes):
        """Whatever else is in it."""
        sealed = sealer.seal("tasks", record_of())
        assert opened(sealer, sealed.replace(b"/2 ", b"/" + version + b" ", 1)) is Refusal.VERSION

    def test_without_the_key_or_with_another_one(self):
        """Unsigned, signed with another key, with a part of the signature, or for another name."""
        body = msgspec.json.encode(record_of())
        right = SIGNED._signature("tasks", body)
        other = Sealer("tasker_health", "shop", "another key of ours")._signature("tasks", body)
        bare = hmac.new(KEY.encode(), body, "sha256").hexdigest().encode()
        for signature in (b"", b"-", other, bare, right[:-1], right + b" ", right.upper(), b"\xff" * 64, b"0" * 64):
            sealed = b"tasker-health/2 %b\n%b" % (signature, body)
            assert opened(SIGNED, sealed) is Refusal.SIGNATURE, signature
        assert opened(SIGNED, SIGNED.seal("else", record_of())) is Refusal.SIGNATURE
        assert opened(SIGNED, PLAIN.seal("tasks", record_of())) is Refusal.SIGNATURE

    def test_who_has_no_key_reads_what_is_signed(self):
        """So that a key can be given to a fleet one process after the other."""
        assert opened(PLAIN, SIGNED.seal("tasks", record_of())) == record_of()

    @SEALERS
    def test_what_is_too_long_is_refused_before_it_is_read(self, sealer: Sealer):
        """However well it is made."""
        body = msgspec.json.encode(record_of(facts=facts_of(groups={"x" * MOST_BYTES: {}})))
        assert opened(sealer, with_body(sealer, body)) is Refusal.OVERSIZED


class TestReplay:
    """An entry of ours that somebody has kept, and puts back."""

    @SEALERS
    def test_it_is_refused_when_its_age_and_its_time_do_not_fit(self, sealer: Sealer):
        """Put back, it is new to the cache, but not to whoever reads when it was written."""
        sealed = sealer.seal("tasks", record_of())
        for later in (0, 60, CLOCK_TOLERANCE_SECONDS):
            assert isinstance(opened(sealer, sealed, now=NOW + later), Record)
        for later in (CLOCK_TOLERANCE_SECONDS + 1, 3600, 1e9, 1e300):
            assert opened(sealer, sealed, now=NOW + later) is Refusal.CLOCK
            assert opened(sealer, sealed, now=NOW - later) is Refusal.CLOCK

    @SEALERS
    def test_an_entry_that_has_lain_there_is_not_refused_for_it(self, sealer: Sealer):
        """Its age is that of the cache, and its time of writing as long ago."""
        sealed = sealer.seal("tasks", record_of())
        assert isinstance(opened(sealer, sealed, age_seconds=5000, now=NOW + 5000), Record)
        assert opened(sealer, sealed, age_seconds=5000, now=NOW) is Refusal.CLOCK
        for age_seconds in (math.inf, -math.inf, 1e300):
            assert opened(sealer, sealed, age_seconds=age_seconds) is Refusal.CLOCK

    @pytest.mark.parametrize("written_at", [NOW + 3600, 4e9, 1e18, 1e308, 0.0])
    def test_one_from_the_far_future_or_past_is_refused(self, written_at: float):
        """Whoever has written it."""
        body = msgspec.json.encode(record_of(written_at=written_at, age_seconds=0.0))
        assert opened(PLAIN, with_body(PLAIN, body)) is Refusal.CLOCK


class TestKeys:
    """Where an entry lies."""

    @given(st.text(min_size=1, max_size=300), st.text(min_size=1, max_size=300))
    @example("a", "b/c")
    @example("a:b", "c")
    @example("x" * 500, "y" * 500)
    @example("größe 東京", "\n\x00\t ")
    def test_they_are_printable_and_bounded(self, service: str, name: str):
        """With what is added for leases and probes they are what every cache takes."""
        key = Sealer("n" * 64, service, None).key(name)
        assert all("!" <= sign <= "~" for sign in key)
        assert len(f"{key}:0123456789abcdef") <= 200
        assert len(f"{key}:lease") <= 200
        assert key.startswith(f"{'n' * 64}:{VERSION}:")

    @given(*[st.text("ab:/%.- é", min_size=1, max_size=5)] * 4, st.sampled_from([1, 60]))
    @example("a", "b", "a", "b:lease", 1)
    @example("a:b", "c", "a", "b:c", 1)
    @example("a/b", "c", "a", "b/c", 60)
    def test_two_sources_of_two_services_have_two_keys(self, service, name, another_service, another_name, times):
        """Also when they are long, and lie under the hash of what they are called."""
        assume((service, name) != (another_service, another_name))
        one = Sealer("n", service * times, None).key(name * times)
        another = Sealer("n", another_service * times, None).key(another_name * times)
        assert not (
            one == another and (service * times, name * times) != (another_service * times, another_name * times)
        )
        assert one != f"{another}:lease"
        assert Sealer("m", service, None).key(name) != Sealer("n", service, None).key(name)

    def test_a_version_has_keys_of_its_own(self):
        """So two versions side by side disturb each other not at all."""
        assert PLAIN.key("tasks") == f"tasker_health:{VERSION}:shop:tasks"


def test_the_signing_key_stands_in_no_repr_and_no_key():
    """Of the sealer, its entries, its keys and its exceptions."""
    sealed = SIGNED.seal("tasks", record_of())
    for text in (repr(SIGNED), str(SIGNED), sealed.decode(), SIGNED.key("tasks"), SIGNED.owner("tasks")):
        assert KEY not in text
    assert opened(SIGNED, sealed[:-1]) is Refusal.SIGNATURE
