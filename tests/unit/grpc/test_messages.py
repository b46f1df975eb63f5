"""Messages of `grpc.health.v1`: written and read as the code does that is generated from the protocol's own file."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from hypothesis import given
from hypothesis import strategies as st

from tasker_health.grpc.messages import listed, requested_service, response
from tasker_health.grpc.services import Serving

NAMES = st.text(max_size=300)


@pytest.mark.parametrize("state", Serving)
def test_a_response_has_its_status(state):
    """The numbers are the protocol's."""
    read = health_pb2.HealthCheckResponse.FromString(response(state))
    assert health_pb2.HealthCheckResponse.ServingStatus.Name(read.status) == state.name
    assert response(state) == read.SerializeToString()


@given(st.dictionaries(NAMES, st.sampled_from(Serving), max_size=20))
def test_a_list_has_every_service(states):
    """Names of any length and letters, and no services at all."""
    read = health_pb2.HealthListResponse.FromString(listed(states))
    assert {name: each.status for name, each in read.statuses.items()} == states


@given(NAMES)
def test_a_request_names_its_service(name):
    """Also one that names none, which is an empty message."""
    assert requested_service(health_pb2.HealthCheckRequest(service=name).SerializeToString()) == name


@pytest.mark.parametrize(
    ("message", "service"),
    [
        pytest.param(b"\x0a\x01a\x0a\x02bc", "bc", id="twice"),
        pytest.param(b"\x10\x96\x01\x0a\x01a", "a", id="a number before"),
        pytest.param(b"\x0a\x01a\x19" + bytes(8) + b"\x25" + bytes(4), "a", id="fixed sizes behind"),
        pytest.param(b"\x0a\x01a\x12\x03xyz", "a", id="text behind"),
        pytest.param(b"\x08\x05", "", id="a service that is a number"),
    ],
)
def test_fields_of_a_later_version_are_passed_over(message, service):
    """The last of several counts, as the wire format says; what is not known is no fault."""
    assert requested_service(message) == service
    assert health_pb2.HealthCheckRequest.FromString(message).service == service


@pytest.mark.parametrize(
    "message",
    [b"\x0a", b"\x0a\x05abc", b"\x0a\x01\xff", b"\x00\x00", b"\x09abc", b"\x0f", b"\x80" * 11, b"\x08" + b"\xff" * 10],
)
def test_what_is_no_message_is_refused(message):
    """Cut off, no UTF-8, no such kind of field, a number without an end."""
    with pytest.raises(ValueError):
        requested_service(message)
    with pytest.raises(DecodeError):
        health_pb2.HealthCheckRequest.FromString(message)


@given(st.binary(max_size=40))
def test_no_bytes_do_more_than_be_refused(message):
    """Whatever is sent is a name, the same as the generated code reads, or a `ValueError`."""
    try:
        service = requested_service(message)
    except ValueError:
        return
    assert service == health_pb2.HealthCheckRequest.FromString(message).service
