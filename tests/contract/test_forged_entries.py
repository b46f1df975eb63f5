"""What somebody who can write to the cache puts there is not believed, in any cache: ignored, counted, told, healed.

A forger lays it as another program would, or speaks as our own client does; then nothing but the entry itself tells.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple

import pytest

import canary
from contract.cache_backend import CacheBackend
from contract.test_caches import CACHES, opened
from fakes import FakeClock, FakeSource, facts_of, settings_of
from loop import in_loop
from tasker_health import Health
from tasker_health.cache import MOST_BYTES, Cache
from tasker_health.cache.sealing import CLOCK_TOLERANCE_SECONDS, VERSION, Record, Sealer
from tasker_health.errors import CacheFault
from tasker_health.model import CheckStatus, Reason

NAMESPACE, SERVICE, IDENTITY = "tasker_health", "shop", "0123456789ab"
NAME = f"tasks/{IDENTITY}"
KEY = canary.secret("signing")
TRUE, FORGED = facts_of(completed=1180), facts_of(completed=666)
DURATION_SECONDS = 15
KEEP_SECONDS = 600


class Forger:
    """Somebody who can write to the cache, and knows everything but the key.

    Args:
        backend: The cache.
        cache: A client of it.
        key: What the fleet signs with.
        now: What time it is.
    """

    def __init__(self, backend: CacheBackend, cache: Cache, key: str | None, now: float) -> None:
        self.backend = backend
        self.cache = cache
        self.key = key
        self.now = now
        self.place = Sealer(NAMESPACE, SERVICE, None).key(NAME)

    def sealed(
        self,
        *,
        namespace: str = NAMESPACE,
        service: str = SERVICE,
        name: str = NAME,
        key: str | None = None,
        late_seconds: float = 0.0,
    ) -> bytes:
        """Return an entry that would be believed by those whose it is."""
        sealer = Sealer(namespace, service, key or self.key)
        record = Record(
            owner=sealer.owner(name),
            teller="forger",
            written_at=self.now + late_seconds,
            age_seconds=0.0,
            facts=FORGED,
            fault=None,
        )
        return sealer.seal(name, record)

    async def put(self, value: bytes) -> None:
        """Lay *value* where the fleet looks, as our client would; as another program would, if that refuses."""
        try:
            await self.cache.put(self.place, value, KEEP_SECONDS)
        except CacheFault:
            self.put_raw(value)

    def put_raw(self, value: bytes) -> None:
        """Lay *value* there as another program would."""
        self.backend.put_raw(self.place, value, KEEP_SECONDS)


class Forgery(NamedTuple):
    """What is laid there.

    Attributes:
        lay: How.
        refusals: Why it is refused, where entries are not signed; empty: there it is none.
        signed: Why it is refused where they are.
        reason: What the check tells.
    """

    lay: Callable[[Forger], Awaitable[object]]
    refusals: tuple[str, ...]
    signed: tuple[str, ...]
    reason: Reason = Reason.INVALID


async def _raw(forger: Forger) -> None:
    forger.put_raw(forger.sealed()[:-5])


FORGERIES = {
    "another version": Forgery(
        lambda forger: forger.put(forger.sealed().replace(b"/%d " % VERSION, b"/%d " % (VERSION + 1), 1)),
        ("version",),
        ("version",),
        Reason.UNKNOWN_VERSION,
    ),
    "another service": Forgery(lambda forger: forger.put(forger.sealed(service="bank")), ("foreign",), ("signature",)),
    "another namespace": Forgery(
        lambda forger: forger.put(forger.sealed(namespace="staging")), ("foreign",), ("signature",)
    ),
    "another source": Forgery(
        lambda forger: forger.put(forger.sealed(name=NAME.replace("0", "f"))), ("foreign",), ("signature",)
    ),
    "truncated": Forgery(lambda forger: forger.put(forger.sealed()[:-1]), ("invalid",), ("signature",)),
    "truncated by another program": Forgery(_raw, ("invalid",), ("invalid", "signature")),
    "oversized": Forgery(
        lambda forger: forger.put(forger.sealed() + b" " * MOST_BYTES),
        ("oversized", "invalid"),
        ("oversized", "invalid"),
    ),
    "garbage": Forgery(lambda forger: forger.put(bytes(range(256))), ("invalid",), ("invalid",)),
    "nothing": Forgery(lambda forger: forger.put(b""), ("invalid",), ("invalid",)),
    "a lease": Forgery(lambda forger: forger.cache.acquire(forger.place, "forger", 60), ("invalid",), ("invalid",)),
    "figures that cannot be": Forgery(
        lambda forger: forger.put(forger.sealed().replace(b'"pending":45', b'"pending":-4')),
        ("invalid",),
        ("signature",),
    ),
    "an age that no calendar has": Forgery(
        lambda forger: forger.put(forger.sealed().replace(b'"age_seconds":0.0', b'"age_seconds":1e300', 1)),
        ("invalid",),
        ("signature",),
    ),
    "an old entry put back": Forgery(
        lambda forger: forger.put(forger.sealed(late_seconds=-CLOCK_TOLERANCE_SECONDS - 60)), ("clock",), ("clock",)
    ),
    "from the future": Forgery(
        lambda forger: forger.put(forger.sealed(late_seconds=CLOCK_TOLERANCE_SECONDS + 60)), ("clock",), ("clock",)
    ),
    "made without the key": Forgery(
        lambda forger: forger.put(Forger(forger.backend, forger.cache, None, forger.now).sealed()), (), ("signature",)
    ),
    "signed with another key": Forgery(
        lambda forger: forger.put(forger.sealed(key="another key of theirs")), (), ("signature",)
    ),
}
UNSIGNED = [name for name, forgery in FORGERIES.items() if forgery.refusals]


class Process:
    """One process of the fleet, with a source of its own."""

    def __init__(self, backend: CacheBackend, key: str | None) -> None:
        signing = {"signing_key": key} if key else {}
        settings = settings_of(
            cache={"namespace": NAMESPACE, **signing},
            health={"service_name": SERVICE, "cache_duration_seconds": DURATION_SECONDS},
        )
        self.clock = FakeClock()
        self.health = Health(settings, cache=backend.cache(), clock=self.clock)
        self.source = FakeSource(TRUE, name="tasks")
        self.source.identity = IDENTITY
        self.health.add_source(self.source)
        self.counts = self.health.monitor.counters.cache

    async def completed(self) -> int:
        """Return a figure of the status."""
        return (await self.health.status()).system_health.completed_tasks

    async def trouble(self) -> Reason | None:
        """Return what the check of the cache tells of it; the process is ready all the same."""
        self.clock.move(2)
        report = await self.health.ready()
        assert report.ready
        check = report.checks["cache"]
        if check.status is CheckStatus.OK:
            return None
        assert check.status is CheckStatus.DEGRADED
        assert report.degraded_checks == ["cache"]
        return check.reason


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, CacheBackend]]:
    """Every back end that was asked for so far, by its name."""
    made: dict[str, CacheBackend] = {}
    yield made
    for backend in made.values():
        backend.end()


@pytest.fixture(params=CACHES)
def backend(request: pytest.FixtureRequest, servers: dict[str, CacheBackend]) -> CacheBackend:
    """A cache that holds nothing."""
    if request.param not in servers:
        servers[request.param] = CACHES[request.param]()
    servers[request.param].clear()
    return servers[request.param]


async def play(backend: CacheBackend, key: str | None, forgery: Forgery, refusals: tuple[str, ...]) -> None:
    """Lay the forgery before a process that asks for the first time, and one that asks again; see it healed."""
    first, second = Process(backend, key), Process(backend, key)
    has_check = "cache" in first.health.monitor.check_names
    async with opened(backend) as cache:
        forger = Forger(backend, cache, key, first.clock.now())
        await forgery.lay(forger)
        assert await first.completed() == TRUE.completed
        assert first.source.reads == 1
        assert set(first.counts.refused_entries) <= set(refusals)
        assert sum(first.counts.refused_entries.values()) >= 1
        if has_check:
            assert await first.trouble() is forgery.reason
        assert await second.completed() == TRUE.completed
        assert second.source.reads == 0, "the first one has put a good entry in its place"
        assert not second.counts.refused_entries
        refused = sum(first.counts.refused_entries.values())
        first.clock.move(DURATION_SECONDS + 1)
        assert await first.completed() == TRUE.completed
        assert sum(first.counts.refused_entries.values()) == refused
        if has_check:
            assert await first.trouble() is None
    for process in (first, second):
        await process.health.stop()


@pytest.mark.parametrize("name", UNSIGNED)
@in_loop
async def test_without_a_key_what_is_not_of_our_form_is_refused(backend, name):
    """Ignored, counted, told by the check until a good entry is there, overwritten by the next reading."""
    await play(backend, None, FORGERIES[name], FORGERIES[name].refusals)


@pytest.mark.parametrize("name", FORGERIES)
@in_loop
async def test_with_a_key_what_is_not_signed_with_it_is_refused(backend, name):
    """The same, and nothing hand-made is believed, however well it is made."""
    await play(backend, KEY, FORGERIES[name], FORGERIES[name].signed)


@in_loop
async def test_what_is_well_made_is_believed(backend):
    """Or else the tests above would prove nothing: with the key, and where none is set, the same entry is served."""
    for key in (None, KEY):
        backend.clear()
        process = Process(backend, key)
        async with opened(backend) as cache:
            forger = Forger(backend, cache, key, process.clock.now())
            await forger.put(forger.sealed())
            assert await process.completed() == FORGED.completed
            assert process.source.reads == 0
        await process.health.stop()


@pytest.mark.parametrize("name", ["garbage", "made without the key"])
@in_loop
async def test_a_forger_who_goes_on_and_on_costs_one_reading_a_duration(backend, name):
    """Each time that facts are due the entry is refused and the source is read: as without a shared cache."""
    process = Process(backend, KEY)
    async with opened(backend) as cache:
        forger = Forger(backend, cache, KEY, process.clock.now())
        for number in range(1, 6):
            forger.now = process.clock.now()
            await FORGERIES[name].lay(forger)
            assert await process.completed() == TRUE.completed
            assert await process.completed() == TRUE.completed
            assert process.source.reads == number
            process.clock.move(DURATION_SECONDS + 1)
    await process.health.stop()
