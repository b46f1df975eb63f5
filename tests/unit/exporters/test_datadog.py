"""The exporter `datadog`: what it sends, read by a parser of the documented datagrams; and when it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import socket
import struct
import threading
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from dogstatsd import Agent, by_name, parse
from fakes import FakeClock, FakeSource, facts_of, settings_of
from tasker_health import __version__
from tasker_health.counters import AccessCounts
from tasker_health.errors import ConfigurationError, DeliveryError, SettingsError
from tasker_health.exporters import take_snapshot
from tasker_health.exporters.chosen import push_exporters
from tasker_health.exporters.datadog import DatadogExporter
from tasker_health.exporters.datadog_series import constant_tags, tag
from tasker_health.health import Health
from tasker_health.loading import load_settings
from tasker_health.model import Reason
from tasker_health.reasons import reason_of
from tasker_health.settings import DatadogSettings

HOSTILE = ["a|g|#x:1", "b#c,d", "line\nforged.metric:1|c", "k:v", "", "Ünïcode", "漢" * 300, "half \udcff", "a b", "ok"]
LARGEST = {"udp": 1432, "unix": 8192}


async def snapshot_of(*sources, **settings):
    """Return a snapshot of a health with *sources* and a check that is well and one that is not."""
    health = Health(settings_of(**settings), clock=FakeClock())
    for source in sources:
        health.add_source(source)
    health.check("well")(lambda: None)

    @health.check("ill", critical=False)
    def ill():
        raise TimeoutError

    snapshot = await take_snapshot(health.monitor, AccessCounts())
    await health.stop()
    return snapshot


@pytest.fixture(scope="module")
def snapshot():
    """What there is to tell of a source whose figures are known."""
    return asyncio.run(snapshot_of(FakeSource(facts_of(oldest_pending_seconds=90))))


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    """Nothing of Datadog in the environment."""
    for name in [name for name in os.environ if name.startswith(("DD_", "DATADOG_"))]:
        monkeypatch.delenv(name)


@pytest.fixture(params=LARGEST)
def agent(request, tmp_path):
    """Somebody who listens, at a port and at a socket file."""
    agent = Agent(None if request.param == "udp" else tmp_path / "agent.socket")
    yield agent
    agent.close()


def exporter_for(agent, **settings):
    """Return an exporter to *agent*."""
    return DatadogExporter(DatadogSettings(address=agent.address, **settings))


def pushed(agent, snapshot, **settings):
    """Return the lines of one push of *snapshot* to *agent*."""
    return asyncio.run(read_push(exporter_for(agent, **settings), agent, snapshot))


async def read_push(exporter, agent, snapshot):
    """Return the lines of one push; a socket file holds some ten packets that nobody has read."""
    push, lines = asyncio.ensure_future(exporter.push(snapshot)), []
    while not push.done():
        lines += agent.read()
        await asyncio.sleep(0)
    push.result()
    return lines + agent.read()


def with_groups(snapshot, groups):
    """Return *snapshot* with tasks of *groups* in its source."""
    report = replace(snapshot.status.sources["shop"], groups={name: {"pending": 1} for name in groups})
    return replace(snapshot, status=replace(snapshot.status, sources={"shop": report}))


def test_what_is_told_is_what_the_status_says(agent, snapshot):
    """Gauges by Datadog's names and the guide's, in base units; counts; nothing else of the client's."""
    told = by_name(pushed(agent, snapshot))
    assert told["g", "tasker.tasks.total"] == 1250
    assert told["g", "tasker.tasks.pending"] == told["g", "tasker.health.tasks", "state:pending"] == 45
    assert told["g", "tasker.tasks.failed"] == 13
    assert told["g", "tasker.performance.avg_completion_time"] == 2340
    assert told["g", "tasker.health.task_completion_seconds"] == 2.34
    assert told["g", "tasker.health.source_tasks", "source:shop", "state:completed"] == 1180
    assert told["g", "tasker.health.status", "status:healthy"] == 1
    assert told["g", "tasker.health.status", "status:unhealthy"] == 0
    assert told["c", "tasker.health.source_refreshes.count", "source:shop"] == 1
    assert told["c", "tasker.health.check_duration_seconds.count", "check:well"] == 1
    assert told["c", "tasker.health.check_duration_seconds.sum", "check:well"] == 0
    assert told["c", "tasker.health.check_timeouts.count", "check:ill"] == 1
    assert {name for _, name, *_ in told if not name.startswith("tasker.health.")} == {
        *("tasker.tasks.total", "tasker.tasks.pending", "tasker.tasks.failed"),
        "tasker.performance.avg_completion_time",
    }


def test_service_checks_say_how_each_thing_is(agent, snapshot):
    """Alive, ready, the status and each check, with the reason from the closed list."""
    lines = {
        (line.name, *(each for each in line.tags if each.startswith("check:"))): (line.value, line.message)
        for line in pushed(agent, snapshot)
        if line.type == "_sc"
    }
    assert lines == {
        ("tasker.health.live",): (0, ""),
        ("tasker.health.ready",): (0, ""),
        ("tasker.health.status",): (0, ""),
        ("tasker.health.check", "check:configuration"): (0, ""),
        ("tasker.health.check", "check:well"): (0, ""),
        ("tasker.health.check", "check:ill"): (2, "timeout"),
    }


def test_an_unhealthy_system_is_told_and_no_figure_is_invented(agent):
    """A source that was never read: the status is critical, the figures are absent."""
    source = FakeSource()
    source.fault = Reason.REFUSED
    lines = pushed(agent, asyncio.run(snapshot_of(source)))
    told = by_name(lines)
    assert told["_sc", "tasker.health.status"] == 2
    assert next(line.message for line in lines if line.name == "tasker.health.status" and line.type == "_sc")
    assert told["g", "tasker.health.status", "status:unhealthy"] == 1
    assert not {"tasker.tasks.total", "tasker.health.tasks", "tasker.health.source_tasks"} & {key[1] for key in told}


def test_the_guide_s_names_can_be_switched_off(agent, snapshot):
    """Then everything is under `tasker.health`."""
    told = pushed(agent, snapshot, guide_names=False)
    assert told
    assert all(line.name.startswith("tasker.health.") for line in told)


def test_every_line_has_the_tags_of_the_settings(agent, snapshot):
    """And the service and our version, once each."""
    for line in pushed(agent, snapshot, tags=("env:production", "team:orders")):
        assert {"env:production", "team:orders", "service:tasker", f"tasker_health_version:{__version__}"} <= line.tags


def test_counts_are_increases(agent, snapshot):
    """What was added since the last push that was taken: nothing twice, nothing lost, also where the Agent was away."""
    exporter, counts = exporter_for(agent), snapshot.counters.source("shop")
    key = ("c", "tasker.health.cache_lookups.count", "result:hit", "source:shop")
    counts.hits = 5
    try:
        asyncio.run(exporter.push(snapshot))
        assert by_name(agent.read())[key] == 5
        asyncio.run(exporter.push(snapshot))
        assert by_name(agent.read())[key] == 0
        counts.hits = 7
        address = agent.address
        agent.close()
        with pytest.raises(DeliveryError):
            asyncio.run(exporter.push(snapshot))
        agent.__init__(*_place(address))
        counts.hits = 8
        asyncio.run(exporter.push(snapshot))
        assert by_name(agent.read())[key] == 3
    finally:
        counts.hits = 0


def _place(address):
    """Return the arguments of an Agent that listens at *address* again, which nobody else has taken."""
    path = address.removeprefix("unix://")
    if path == address:
        return (None, int(address.rpartition(":")[2]))
    Path(path).unlink()
    return (path,)


def test_hostile_names_break_nothing_and_forge_nothing(agent, snapshot):
    """A line each, of ours; no packet is larger than it may be, in bytes."""
    lines = pushed(agent, with_groups(snapshot, HOSTILE), tags=("stadt:münchen",))
    groups = [line for line in lines if line.name == "tasker.health.source_group_tasks"]
    assert len(groups) == len(HOSTILE)
    assert sum(line.value for line in groups) == len(HOSTILE)
    assert all(len([each for each in line.tags if each.startswith("group:")]) == 1 for line in groups)
    assert not [line for line in lines if not line.name.startswith("tasker.")]
    largest = LARGEST["unix" if agent.address.startswith("unix") else "udp"]
    assert max(map(len, agent.datagrams)) <= largest


def test_packets_are_filled(agent, snapshot):
    """Not a datagram for each figure, and none beyond what fits."""
    lines = pushed(agent, with_groups(snapshot, [f"namespace-{number}" for number in range(300)]))
    largest = LARGEST["unix" if agent.address.startswith("unix") else "udp"]
    assert max(map(len, agent.datagrams)) <= largest
    assert len(agent.datagrams) <= 1.3 * sum(map(len, agent.datagrams)) / largest + 1
    assert len(by_name(lines)) == len(lines)


def test_names_that_are_one_tag_are_added_up(agent, snapshot):
    """`a|b`, `a#b` and `A,B` are one group to Datadog: of three values the last would win."""
    told = by_name(pushed(agent, with_groups(snapshot, ["a|b", "a#b", "A,B"])))
    assert told["g", "tasker.health.source_group_tasks", "group:a_b", "source:shop", "state:pending"] == 3


@settings(max_examples=50)
@given(value=st.text())
def test_every_tag_is_one(value):
    """Whatever stands in it, the parser of the datagrams takes it for one tag of that key."""
    (line,) = parse(f"a.b:1|g|#{tag('group', value)}".encode())
    (only,) = line.tags
    assert only.startswith("group:")


def test_the_settings_say_where_the_agent_is(agent, snapshot, monkeypatch):
    """Datadog's own variables would have sent it elsewhere, and its telemetry as well."""
    for name, value in {
        "DD_AGENT_HOST": "192.0.2.1",
        "DD_DOGSTATSD_PORT": "1",
        "DD_DOGSTATSD_URL": "udp://192.0.2.1:1",
        "DD_TELEMETRY_HOST": "192.0.2.1",
    }.items():
        monkeypatch.setenv(name, value)
    assert all(line.name.startswith("tasker.") for line in pushed(agent, snapshot))
    assert agent.datagrams


def test_tags_of_the_environment_go_before_ours_and_after_those_of_the_settings(agent, snapshot, monkeypatch):
    """Unified service tagging: `DD_ENV`, `DD_SERVICE`, `DD_VERSION`; a key has the values of one place."""
    monkeypatch.setenv("DD_ENV", "from-environment")
    monkeypatch.setenv("DD_SERVICE", "orders")
    monkeypatch.setenv("DD_VERSION", "4.2")
    for line in pushed(agent, snapshot, tags=("env:from-settings",)):
        assert {"env:from-settings", "service:orders", "version:4.2"} <= line.tags
        assert not {"env:from-environment", "service:tasker"} & line.tags
    assert constant_tags(("team:a", "team:b"), ["team:c"], "x", version=None)[:2] == ["team:a", "team:b"]


def test_a_client_switched_off_by_the_environment_is_not_pretended_to_send(monkeypatch, caplog):
    """`DD_DOGSTATSD_DISABLE` wins, and one line says so."""
    wanted = settings_of(exporters={"datadog": {"enabled": True}})
    assert [each.name for each in push_exporters(wanted)] == ["datadog"]
    monkeypatch.setenv("DD_DOGSTATSD_DISABLE", "true")
    assert push_exporters(wanted) == []
    assert "DD_DOGSTATSD_DISABLE" in caplog.text


def test_a_library_that_is_not_installed_is_said(monkeypatch):
    """With the command that installs it."""
    monkeypatch.setitem(__import__("sys").modules, "tasker_health.exporters.datadog", None)
    monkeypatch.delattr("tasker_health.exporters.datadog", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "datadog.dogstatsd.base", None)
    monkeypatch.delitem(__import__("sys").modules, "tasker_health.exporters.datadog")
    with pytest.raises(SettingsError, match=r"pip install 'tasker-health\[datadog\]'"):
        push_exporters(settings_of(exporters={"datadog": {"enabled": True}}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("ADDRESS", value) for value in ("", "localhost", "host:0", "host:65536", "host:x", "unix://relative")),
        *(("ADDRESS", value) for value in ("udp://h:1", "unix:///" + "x" * 120, "a b:1", "::1:8125")),
        *(("TAGS", value) for value in ("a|b", "a b", "1:a", "env:", "x" * 201, "#a", "env:prod\n")),
        ("TAGS", ",".join(f"tag{number}:{'x' * 100}" for number in range(10))),
    ],
)
def test_bad_settings_are_one_line(name, value):
    """It names the setting and what is allowed."""
    variables = {f"TASKER_EXPORTERS__DATADOG__{name}": value}
    if name == "TAGS" and value.endswith("\n"):  # blanks around a word are taken off, so it is a good one
        assert load_settings(None, environ=variables).exporters.datadog.tags == ("env:prod",)
        return
    with pytest.raises(ConfigurationError) as raised:
        load_settings(None, environ=variables)
    assert "\n" not in str(raised.value)
    assert re.search(r"EXPORTERS__DATADOG__" + name, str(raised.value))


def test_nobody_listens(agent, snapshot):
    """Refused at a port, missing at a path: a delivery error with the reason, and no exception of another kind."""
    exporter = exporter_for(agent)
    agent.close()
    with pytest.raises(DeliveryError, match=re.escape(agent.address)) as raised:
        asyncio.run(exporter.push(snapshot))
    assert reason_of(raised.value) is Reason.REFUSED
    if agent.address.startswith("unix"):
        Path(agent.address.removeprefix("unix://")).unlink()
        with pytest.raises(DeliveryError, match="No such file") as raised:
            asyncio.run(exporter.push(snapshot))
        assert reason_of(raised.value) is Reason.UNREACHABLE


def test_a_name_that_is_none_is_a_delivery_error(snapshot):
    """`.invalid` is nobody's (RFC 6761)."""
    exporter = DatadogExporter(DatadogSettings(address="agent.invalid:8125"))
    with pytest.raises(DeliveryError, match=r"agent\.invalid:8125"):
        asyncio.run(exporter.push(snapshot))


def test_a_slow_reader_costs_a_bounded_wait_and_gets_the_next_push(snapshot, tmp_path, monkeypatch):
    """Its buffer is full: an error is counted, the loop goes on meanwhile; once it reads, everything comes."""
    monkeypatch.setattr("tasker_health.exporters.datadog._PACKET_SECONDS", 0.3)
    agent = Agent(tmp_path / "agent.socket")
    many = with_groups(snapshot, [f"namespace-{number}" for number in range(1000)])

    async def scene():
        exporter = exporter_for(agent, tags=[f"tag{number}:{'x' * 150}" for number in range(6)])
        clog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        clog.setblocking(False)
        clog.connect(str(tmp_path / "agent.socket"))
        with contextlib.suppress(BlockingIOError):
            while True:
                clog.send(b"x" * 8192)
        clog.close()
        push = asyncio.ensure_future(exporter.push(many))
        turns = 0
        while not push.done():
            await asyncio.sleep(0.01)
            turns += 1
        with pytest.raises(DeliveryError, match="its buffer is full"):
            push.result()
        assert turns > 3
        drain(agent)
        return await read_push(exporter, agent, many)

    lines = asyncio.run(scene())
    agent.close()
    assert len([line for line in lines if line.name == "tasker.health.source_group_tasks"]) == 1000
    assert [line.value for line in lines if line.name == "tasker.health.live"] == [0]


def test_a_push_that_was_taken_in_part_is_told_once(tmp_path, monkeypatch):
    """Packets that were taken before the buffer was full are not told again, and what was in the next one is."""
    monkeypatch.setattr("tasker_health.exporters.datadog._PACKET_SECONDS", 0.05)
    many = asyncio.run(snapshot_of())
    for number in range(200):
        counts = many.counters.source(f"source-{number}")
        counts.reads = number + 1
        counts.durations.ran(0.5)
        for reason in Reason:
            counts.failed(reason)
    agent = Agent(tmp_path / "agent.socket")
    exporter = exporter_for(agent)
    with pytest.raises(DeliveryError, match="its buffer is full"):
        asyncio.run(exporter.push(many))
    first = [line for line in agent.read() if line.type == "c"]
    second = [line for line in asyncio.run(read_push(exporter, agent, many)) if line.type == "c"]
    whole = asyncio.run(read_push(exporter_for(agent), agent, many))
    agent.close()
    assert 100 < len(first) < len(second)
    told = Counter()
    for line in first + second:
        told[line.name, line.tags] += line.value
    assert told == {(line.name, line.tags): line.value for line in whole if line.type == "c"}


def drain(agent):
    """Throw away what clogs *agent*."""
    with contextlib.suppress(BlockingIOError):
        while True:
            agent.socket.recv(65536)


def test_a_push_that_hangs_is_not_followed_by_a_thread_for_each(snapshot, monkeypatch):
    """A name server that does not answer: one thread waits, and pushes are refused until it has returned."""
    gate, begun = threading.Event(), []

    def hang(*arguments, **named):
        begun.append(arguments)
        gate.wait(60)
        raise OSError("no answer")

    monkeypatch.setattr("datadog.dogstatsd.base.socket.getaddrinfo", hang)
    exporter = DatadogExporter(DatadogSettings(address="agent.example:8125"))

    async def scene():
        first = asyncio.ensure_future(exporter.push(snapshot))
        while not begun:
            await asyncio.sleep(0.01)
        first.cancel()
        for _ in range(3):
            with pytest.raises(DeliveryError, match="has not ended"):
                await exporter.push(snapshot)
        gate.set()
        while exporter._busy_in:
            await asyncio.sleep(0.01)
        with pytest.raises(DeliveryError, match="no answer"):
            await exporter.push(snapshot)

    asyncio.run(scene())
    assert len(begun) == 2


def test_a_stream_is_framed(snapshot, tmp_path):
    """Where the Agent's socket is one of streams: each packet after its length, in 4 bytes (little endian)."""
    agent = Agent(tmp_path / "agent.socket", kind=socket.SOCK_STREAM)
    agent.socket.setblocking(True)
    received = []

    def read():
        connection, _ = agent.socket.accept()
        with connection, connection.makefile("rb") as file:
            while head := file.read(4):
                received.extend(parse(file.read(struct.unpack("<I", head)[0])))

    thread = threading.Thread(target=read)
    thread.start()
    asyncio.run(exporter_for(agent).push(snapshot))
    thread.join(60)
    agent.close()
    assert by_name(received)["g", "tasker.tasks.total"] == 1250


def test_a_forked_process_tells_for_itself(agent, snapshot):
    """While a push of the parent is under way: the child is not held up by it, and takes nothing from it."""
    exporter = exporter_for(agent)
    asyncio.run(exporter.push(snapshot))
    agent.read()
    exporter._busy_in = os.getpid()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            asyncio.run(exporter.push(snapshot))
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    exporter._busy_in = None
    assert by_name(agent.read())["g", "tasker.tasks.total"] == 1250
    asyncio.run(exporter.push(snapshot))
    assert by_name(agent.read())["g", "tasker.tasks.total"] == 1250


def test_no_thread_is_left(agent, snapshot):
    """Neither the client's nor ours, and no open socket (warnings are errors)."""
    before = threading.active_count()
    pushed(agent, snapshot)
    assert threading.active_count() == before
