"""One probe, as the kubelet asks it and judges what comes back."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from kubelet.http_get import BODY_LIMIT_BYTES, HttpGet, Outcome, probe
from loop import in_loop
from server import free_port

SUCCESS, WARNING, FAILURE, UNKNOWN = Outcome.SUCCESS, Outcome.WARNING, Outcome.FAILURE, Outcome.UNKNOWN


class Peer:
    """A server that answers each request with the next of *answers*, the last one for ever; `None`: nothing."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []
        self.connections = 0
        self._open = []

    async def _serve(self, reader, writer):
        self.connections += 1
        self._open.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
            answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
            if answer is None:
                return
            writer.write(answer)
            await writer.drain()
            if not answer.endswith(b"..."):
                writer.close()

    @contextlib.asynccontextmanager
    async def running(self):
        """Serve until the block ends."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            for writer in self._open:
                writer.close()
            server.close()
            await server.wait_closed()


def answer(code, *headers, body=b"", length=None):
    """Return an answer as bytes."""
    lines = [f"HTTP/1.1 {code} Words", f"Content-Length: {len(body) if length is None else length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def found_by(*answers, timeout_seconds=5, **options):
    """Return what a probe finds at a server with *answers*, and the server."""
    async with Peer(*answers).running() as peer:
        found = await probe(HttpGet("/ready?a=1", peer.port, **options), "127.0.0.1", timeout_seconds)
    return found, peer


@pytest.mark.parametrize(
    ("code", "outcome"),
    [
        *[(200, SUCCESS), (204, SUCCESS), (299, SUCCESS), (300, WARNING), (304, WARNING), (399, WARNING)],
        *[(400, FAILURE), (404, FAILURE), (500, FAILURE), (503, FAILURE)],
    ],
)
@in_loop
async def test_200_to_399_is_success(code, outcome):
    """From 300 on with a warning; everything else is a failure, with the code and without the body."""
    found, _ = await found_by(answer(code, body=b"" if code in {204, 304} else b"secret"))
    assert (found.outcome, found.succeeded) == (outcome, code < 400)
    if outcome is FAILURE:
        assert found.message == f"HTTP probe failed with statuscode: {code}"


@in_loop
async def test_it_asks_as_the_kubelet_does():
    """GET with the pod's address as host, its own name, any format; the connection is of no further use."""
    _, peer = await found_by(answer(200))
    (asked,) = peer.asked
    assert asked.startswith("GET /ready?a=1 HTTP/1.1\r\n")
    lines = asked.lower().splitlines()
    assert {f"host: 127.0.0.1:{peer.port}", "accept: */*", "connection: close"} <= set(lines)
    assert any(line.startswith("user-agent: kube-probe/1.") for line in lines)


@in_loop
async def test_headers_of_the_manifest_replace_its_own():
    """A host of another name is said and not asked; an empty `Accept` is left out."""
    _, peer = await found_by(answer(200), headers={"host": "orders.example", "accept": "", "X-A": "1"})
    lines = peer.asked[0].lower().splitlines()
    assert "host: orders.example" in lines
    assert "x-a: 1" in lines
    assert not any(line.startswith("accept") for line in lines)


@in_loop
async def test_each_probe_opens_a_connection():
    """Though the server would keep the first."""
    async with Peer(answer(200) + b"...").running() as peer:
        for _ in range(3):
            assert (await probe(HttpGet("/", peer.port), "127.0.0.1", 5)).outcome is SUCCESS
    assert peer.connections == 3


@in_loop
async def test_a_redirect_on_the_same_host_is_followed():
    """To another path or port of it; the answer there decides."""
    assert (await found_by(answer(302, "Location: /there"), answer(200)))[0].outcome is SUCCESS
    found, peer = await found_by(answer(307, "Location: there"), answer(503))
    assert (found.outcome, len(peer.asked)) == (FAILURE, 2)
    assert peer.asked[1].startswith("GET /there HTTP/1.1")


@in_loop
async def test_a_redirect_to_another_host_is_a_success_with_a_warning():
    """The other host is not asked, and the body of the redirect is in the event."""
    found, peer = await found_by(answer(301, "Location: https://login.example/", body=b"moved"))
    assert (found.outcome, found.succeeded, len(peer.asked)) == (WARNING, True, 1)
    assert found.message == "Probe terminated redirects, Response body: moved"


@in_loop
async def test_ten_redirects_are_enough():
    """A pod that leads in circles fails."""
    found, peer = await found_by(answer(302, "Location: /again"))
    assert (found.outcome, len(peer.asked)) == (FAILURE, 10)


@in_loop
async def test_no_more_than_ten_kib_are_read():
    """What is longer is no failure, even where the rest never comes."""
    body = b"x" * BODY_LIMIT_BYTES
    found, _ = await found_by(answer(200, body=body, length=10**9) + b"...")
    assert found.outcome is SUCCESS


@in_loop
async def test_a_body_that_breaks_off_says_nothing():
    """It is asked for three times, and the state stays what it was."""
    found, peer = await found_by(answer(200, body=b"x", length=100))
    assert (found.outcome, found.succeeded, len(peer.asked)) == (UNKNOWN, False, 3)


@in_loop
async def test_an_answer_that_comes_too_late_is_a_failure():
    """Whether nobody speaks, or something that is not HTTP."""
    assert (await found_by(None, timeout_seconds=0.05))[0].message == "no answer within 0.05 s"
    assert (await found_by(b"SSH-2.0-OpenSSH\r\n\r\n"))[0].outcome is FAILURE
    assert (await found_by(b""))[0].outcome is FAILURE


@in_loop
async def test_nobody_there_is_a_failure():
    """As at a pod whose process listens on its loopback interface alone."""
    async with Peer(answer(200)).running() as peer:
        assert (await probe(HttpGet("/", peer.port), "127.0.0.2", 5)).outcome is FAILURE
    assert (await probe(HttpGet("/", free_port()), "127.0.0.1", 5)).outcome is FAILURE


@in_loop
async def test_what_comes_before_an_answer_is_not_the_answer():
    """103 Early Hints, then 503."""
    found, _ = await found_by(b"HTTP/1.1 103 Early Hints\r\n\r\n" + answer(503))
    assert found.outcome is FAILURE
