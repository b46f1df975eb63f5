"""What the tests of `top` share."""

import contextlib

import pytest

from unit.cli.top.answering import Answering


@pytest.fixture
def answering():
    """A function that starts a server with answers by the last word of the path; all are ended with the test."""
    with contextlib.ExitStack() as started:

        def start(**answers):
            server = Answering(**answers)
            started.callback(server.end)
            return server

        yield start
