"""Log records carry the ids of their trace: the current span's, else the caller's, else none."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from fakes import settings_of
from tasker_health.cli.logs import DroppingHandler, JsonFormatter, TextFormatter
from tasker_health.exporters.trace_ids import INCOMING, TraceIds, current_ids, ids_of, ids_of_headers
from tasker_health.health import Health

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01".encode()


@pytest.fixture
def tracer():
    """A tracer of an application."""
    provider = TracerProvider(shutdown_on_exit=False)
    yield provider.get_tracer("test")
    provider.shutdown()


def written(formatter, **extra):
    """Return what *formatter* makes of a record that went through our handler, in a thread that knows no span."""
    handler = DroppingHandler()
    record = logging.LogRecord("shop", logging.INFO, "", 0, "sold %d", (2,), None)
    vars(record).update(extra)
    handler.handle(record)
    return formatter.format(handler.records.get_nowait())


def test_a_record_has_the_ids_of_the_span_that_it_was_made_in(tracer):
    """In both formats, in lower case, and as long as W3C Trace Context has them."""
    with tracer.start_as_current_span("sale") as span:
        text, line = written(TextFormatter()), json.loads(written(JsonFormatter()))
    context = span.get_span_context()
    ids = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
    assert {name: line[name] for name in ids} == ids
    assert text.endswith("INFO shop: sold 2 trace_id={trace_id} span_id={span_id}".format(**ids))


def test_an_application_that_is_instrumented_writes_the_ids_of_its_requests(tracer):
    """Two requests at once, each with a span of the application's: their records do not mix."""
    log = logging.getLogger("shop.instrumented")
    handler = DroppingHandler()
    log.addHandler(handler)
    spans = {}

    async def app(scope, receive, send):
        with tracer.start_as_current_span(scope["path"]) as span:
            await asyncio.sleep(0)
            spans[scope["path"]] = f"{span.get_span_context().trace_id:032x}"
            log.warning("%s", scope["path"])
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})

    async def run():
        health = Health(settings_of())
        transport = httpx.ASGITransport(health.asgi(app))
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            await asyncio.gather(client.get("/one"), client.get("/other"))
        await health.stop()

    try:
        asyncio.run(run())
    finally:
        log.removeHandler(handler)
    lines = [json.loads(JsonFormatter().format(handler.records.get_nowait())) for _ in spans]
    assert {line["message"]: line["trace_id"] for line in lines} == spans
    assert len(set(spans.values())) == 2


def test_without_a_span_there_is_no_word_of_it():
    """Neither field, neither text; nor where OpenTelemetry was never imported."""
    assert written(TextFormatter()).endswith("INFO shop: sold 2")
    assert json.loads(written(JsonFormatter())).keys() == {"timestamp", "level", "logger", "message"}


def test_nobody_imports_opentelemetry_for_it(monkeypatch):
    """Where it has not been imported no span can be current, and it is not imported to find that out."""
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    assert current_ids() == ("", "")
    assert "opentelemetry.trace" not in sys.modules


def test_a_traceback_follows_the_ids(tracer):
    """The line ends with them; what follows stands on lines of its own."""
    try:
        raise ValueError("no")
    except ValueError:
        info = sys.exc_info()
    with tracer.start_as_current_span("sale"):
        first, *rest = written(TextFormatter(), exc_info=info).splitlines()
    assert " span_id=" in first
    assert rest[-1] == "ValueError: no"


def test_what_a_record_has_already_is_kept(tracer):
    """An application that sets `trace_id` itself knows better."""
    with tracer.start_as_current_span("sale"):
        line = json.loads(written(JsonFormatter(), trace_id="mine", span_id="too"))
    assert (line["trace_id"], line["span_id"]) == ("mine", "too")


def test_a_filter_for_handlers_of_ones_own(tracer):
    """Both fields are always there, so that a format may name them."""
    formatter = logging.Formatter("%(message)s [%(trace_id)s]")
    record = logging.LogRecord("shop", logging.INFO, "", 0, "sold", (), None)
    assert TraceIds().filter(record)
    assert formatter.format(record) == "sold []"
    assert ids_of(record) is None


def test_the_span_goes_before_the_caller(tracer):
    """`traceparent` counts where there is no span."""
    token = INCOMING.set([(b"host", b"a"), (b"traceparent", PARENT)])
    try:
        assert current_ids() == (TRACE, SPAN)
        with tracer.start_as_current_span("sale"):
            assert current_ids()[0] != TRACE
    finally:
        INCOMING.reset(token)


def test_a_tracer_that_breaks_breaks_no_record(monkeypatch):
    """Whatever the application's own tracer raises."""
    monkeypatch.setattr(trace, "get_current_span", lambda: 1 / 0)
    assert written(TextFormatter()).endswith("sold 2")


@pytest.mark.parametrize(
    ("values", "is_valid"),
    [
        ([PARENT], True),
        ([b" " + PARENT + b"\t"], True),
        ([PARENT.replace(b"00-", b"01-", 1) + b"-more"], True),
        ([], False),
        ([PARENT, PARENT], False),
        ([PARENT + b"-more"], False),
        ([PARENT.replace(b"00-", b"ff-", 1)], False),
        ([PARENT.upper()], False),
        ([PARENT[:-1]], False),
        ([PARENT + b"0"], False),
        ([PARENT.replace(TRACE.encode(), b"0" * 32)], False),
        ([PARENT.replace(SPAN.encode(), b"0" * 16)], False),
        ([PARENT.replace(b"00-", b"01-", 1) + b"-\x1b[2J"], False),
        ([PARENT + b"\n"], False),
    ],
)
def test_a_caller_is_believed_as_far_as_the_standard_goes(values, is_valid):
    """One header of the known form with ids that are not zero; everything else is none."""
    found = ids_of_headers([(b"traceparent", value) for value in values])
    assert found == ((TRACE, SPAN) if is_valid else None)


@given(value=st.binary(max_size=80) | st.from_regex(rb"[0-9a-f]{2}-[0-9a-f]{30,34}-[0-9a-f]{16}-.*", fullmatch=True))
def test_no_header_brings_more_than_ids_into_the_log(value):
    """Whatever is sent: 32 and 16 digits, or nothing."""
    found = ids_of_headers([(b"traceparent", value)])
    assert found is None or [len(each) for each in found if set(each) <= set("0123456789abcdef")] == [32, 16]
