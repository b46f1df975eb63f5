"""The guard at the edges of HTTP, over real connections."""

from __future__ import annotations

import json
import re
import resource
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from guarded import PREFIX, START, guard, read_all, split, start_guard
from tasker_health.web.render import Answer

__all__ = ["guard", "start_guard"]

LIVE = f"{PREFIX}/live".encode()
ASK = b"GET " + LIVE + b" HTTP/1.1\r\nHost: a\r\n\r\n"
LAST = b"GET " + LIVE + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def codes(answers):
    """Return the status codes of several *answers* in one stream."""
    return [int(code) for code in re.findall(rb"HTTP/1\.1 (\d{3}) ", answers)]


def one(connection):
    """Return the next answer that *connection* brings, when it is one with a body."""
    answer = b""
    while b"\r\n\r\n" not in answer:
        part = connection.recv(65536)
        assert part, answer
        answer += part
    code, headers, body = split(answer)
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65536)
    return code, headers, body


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"GET /tasker/health/live HTTP/1.1\r\nHost: \r\n", 200),
        (b"GET /tasker/health/live?format=health HTTP/1.1\r\nHost: [::1]:80\r\n", 200),
        (b"GET http://other.example/tasker/health/live HTTP/1.1\r\nHost: b\r\n", 200),
        (b"GET /tasker/health/%6cive HTTP/1.1\r\nHost: a\r\n", 200),
        (b"GET /tasker/health/live HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n", 200),
        (b"GET /tasker/health/live HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", 200),
        (b"GET /tasker/health/live HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: upgrade, close\r\n", 200),
        (b"GET /tasker/health/live HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n", 200),
        (b"GET /tasker/health/status HTTP/1.1\r\nHost: a\r\n", 404),
        (b"GET /tasker/health HTTP/1.1\r\nHost: a\r\n", 404),
        (b"GET /tasker/health/live/ HTTP/1.1\r\nHost: a\r\n", 404),
        (b"GET /tasker/health//live HTTP/1.1\r\nHost: a\r\n", 404),
        (b"GET //tasker/health/live HTTP/1.1\r\nHost: a\r\n", 404),
        (b"GET /tasker/health/../health/live HTTP/1.1\r\nHost: a\r\n", 404),
        (b"GET /tasker/health/Live HTTP/1.1\r\nHost: a\r\n", 404),
        (b"GET /tasker/health/ready/ HTTP/1.1\r\nHost: a\r\n", 404),
        (b"GET /tasker/health/ready/No-Name HTTP/1.1\r\nHost: a\r\n", 404),
        (b'GET /tasker/health/ready/"},{" HTTP/1.1\r\nHost: a\r\n', 404),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", 404),
        (b"POST / HTTP/1.1\r\nHost: a\r\n", 404),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n", 404),
        (b"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n", 404),
        (b"DELETE /tasker/health/live HTTP/1.1\r\nHost: a\r\n", 405),
        (b"get /tasker/health/live HTTP/1.1\r\nHost: a\r\n", 405),
        (b"WHAT'S-UP /tasker/health/ready HTTP/1.1\r\nHost: a\r\n", 405),
        (b"GET /tasker/health/live HTTP/1.1\r\n", 400),
        (b"GET /tasker/health/live HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"a" * 17000 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: br\r\n", 501),
        (b"PRI * HTTP/2.0\r\n", 505),
    ],
)
def test_each_request_has_its_answer(guard, request_, code):
    """Every request is answered once, with a JSON document of its code; then the connection ends or can go on."""
    answer = guard.exchange(request_ + b"\r\n", half_close=True)
    assert codes(answer) == [code]
    _, headers, body = split(answer)
    assert json.loads(body)
    assert int(headers["content-length"]) == len(body)
    if code >= 400 and code != 503:
        assert sorted(json.loads(body)) == ["error", "message"]
    refused = code not in {200, 404, 405} or re.search(rb"CONNECT|Expect|chunked|close|9999", request_)
    assert headers.get("connection") == ("close" if refused else None)


def test_headers_are_those_of_the_application(guard):
    """The same headers as the application's own answers have, and a date; `Allow` with 405."""
    expected = {name.decode(): value.decode() for name, value in Answer(200, b"").headers if name != b"content-length"}
    for method, extra in ((b"GET", {}), (b"PUT", {"allow": "GET, HEAD"})):
        _, headers, _ = split(guard.exchange(ASK.replace(b"GET", method), half_close=True))
        del headers["content-length"]
        assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers.pop("date"))
        assert headers == expected | extra


@pytest.mark.parametrize("path", ["live", "ready", "startup", "ready/database", "nothing"])
def test_head_has_the_headers_of_get(guard, path):
    """HEAD answers with code, headers and length of GET, and no body."""
    request = f"GET {PREFIX}/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
    got = split(guard.exchange(request))
    head = split(guard.exchange(request.replace(b"GET", b"HEAD")))
    got[1].pop("date")
    head[1].pop("date")
    assert head == (got[0], got[1], b"")


def test_http_1_0(guard):
    """It ends the connection, unless its sender asks to keep it and is told so."""
    request = b"GET " + LIVE + b" HTTP/1.0\r\n\r\n"
    assert codes(guard.exchange(request + request)) == [200]
    keeps = request.replace(b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n")
    answers = guard.exchange(keeps + keeps + request)
    assert codes(answers) == [200] * 3
    assert answers.count(b"connection: keep-alive") == 2
    assert answers.count(b"connection: close") == 1


def test_a_connection_serves_many_requests(guard):
    """One after the other, with other requests between; each has its own answer."""
    with guard.connect() as connection:
        for _ in range(50):
            connection.sendall(ASK)
            assert one(connection)[0] == 200
            connection.sendall(ASK.replace(b"live", b"ready"))
            assert one(connection)[0] == 503
            connection.sendall(ASK.replace(b"live", b"nothing"))
            assert one(connection)[0] == 404


def test_pipelined_requests_are_answered_in_order(guard):
    """However they are cut into packets; what follows the last one is not answered."""
    three = ASK + ASK.replace(b"live", b"nothing") + b"\r\n" + ASK.replace(b"GET", b"POST")
    assert codes(guard.exchange(three * 40 + LAST + ASK)) == [200, 404, 405] * 40 + [200]
    with guard.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in three + LAST:
            connection.sendall(bytes((byte,)))
        assert codes(read_all(connection)) == [200, 404, 405, 200]


def test_a_body_is_passed_over(guard):
    """The request after it is found, also when the body looks like one, comes in pieces, or is as long as allowed."""
    for size in (1, len(ASK), 5000, 65536):
        body = (ASK * 2000)[:size]
        head = ASK.replace(b"\r\n\r\n", b"\r\nContent-Length: %d\r\n\r\n" % size)
        assert codes(guard.exchange(head + body + head.replace(b"GET", b"POST") + body + LAST)) == [200, 405, 200]


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 65537", b"Transfer-Encoding: chunked", b"Content-Length: 1048576"]
)
def test_what_is_too_long_to_pass_over_is_answered_and_closed(guard, framing):
    """The answer reaches a sender that is still sending, and nothing in the body is answered."""
    head = ASK.replace(b"\r\n\r\n", b"\r\n" + framing + b"\r\n\r\n")
    assert codes(guard.exchange(head + ASK * 400)) == [200]


def test_a_refusal_reaches_its_sender(guard):
    """It is not lost to a reset, though more was sent than is read; nothing after it is answered."""
    for _ in range(20):
        assert codes(guard.exchange(b"GET / HTTP/1.1\nHost: a\n\n" + ASK * 500)) == [400]


def test_a_sender_that_ends_its_side_is_answered(guard):
    """A half-closed connection gets its answer."""
    assert codes(guard.exchange(ASK, half_close=True)) == [200]
    assert guard.exchange(ASK[:-1], half_close=True) == b""


def test_a_slow_sender_is_told_and_closed(guard):
    """A request that does not come to its end within seconds is 408, whatever trickles in; others are answered."""
    began = time.monotonic()
    with guard.connect() as silent, guard.connect() as trickling, guard.connect() as body, guard.connect() as idle:
        silent.sendall(ASK[:10])
        body.sendall(ASK + ASK.replace(b"\r\n\r\n", b"\r\nContent-Length: 10\r\n\r\n") + b"123")
        trickling.settimeout(0.3)
        trickled = b""
        for byte in ASK[:-1]:
            try:
                trickling.sendall(bytes((byte,)))
                if part := trickling.recv(65536):
                    trickled += part
                    break
            except TimeoutError:
                continue
            except OSError:
                break
            assert guard.ask("live")[0] == 200
        trickling.settimeout(60)
        assert codes(read_all(silent)) == [408]
        assert codes(read_all(body)) == [200, 408]
        assert codes(trickled + read_all(trickling)) == [408]
        assert 4 < time.monotonic() - began < 30
        idle.sendall(ASK)
        assert one(idle)[0] == 200


def test_a_slow_reader_gets_everything(guard):
    """Answers wait until their asker takes them, also when they do not fit into the connection's buffers."""
    many = 100_000
    with socket.socket() as connection, ThreadPoolExecutor() as pool:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.settimeout(60)
        connection.connect(guard.address)
        sending = pool.submit(connection.sendall, ASK * many + LAST)
        with pytest.raises(TimeoutError):  # the guard reads no more, as its answers are not taken
            sending.result(1)
        assert guard.ask("live")[0] == 200
        answers = read_all(connection)
        sending.result(60)
    assert codes(answers) == [200] * (many + 1)


def test_an_asker_that_reads_nothing_is_closed(guard):
    """Answers that nobody takes are given up within seconds."""
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.settimeout(1)
        connection.connect(guard.address)
        began = time.monotonic()
        with pytest.raises(ConnectionError):  # noqa: PT012 -- it is the guard that ends this
            while time.monotonic() - began < 60:
                try:
                    connection.sendall(ASK * 1000)
                except TimeoutError:
                    continue
    assert guard.ask("live")[0] == 200


def test_resets_harm_nobody(guard):
    """Askers that leave at any moment, without a word, change nothing for others."""
    for data in (b"", ASK[:20], ASK, ASK * 1000, b"\x00", LAST):
        for _ in range(20):
            connection = guard.connect()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.setblocking(False)
            if data:
                connection.send(data)
            connection.close()
    assert guard.ask("live")[0] == 200
    assert guard.log == ""


def test_a_thousand_idle_connections(guard):
    """They change nothing for others, and each still works."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    idle = [guard.connect() for _ in range(1000)]
    try:
        worst = 0.0
        for _ in range(50):
            began = time.monotonic()
            assert guard.ask("live")[0] == 200
            worst = max(worst, time.monotonic() - began)
        assert worst < 1
        for connection in idle:
            connection.sendall(ASK)
            assert one(connection)[0] == 200
    finally:
        for connection in idle:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_without_descriptors_the_longest_idle_makes_room(start_guard):
    """A guard that may open few files serves whoever comes last, and closes who was idle for longest."""
    guard = start_guard()
    assert guard.ask("live")[0] == 200
    resource.prlimit(guard.pid, resource.RLIMIT_NOFILE, (40, 40))
    connections = [guard.connect() for _ in range(60)]
    connections[-1].sendall(ASK)
    assert one(connections[-1])[0] == 200
    assert read_all(connections[0]) == b""
    assert guard.ask("live")[0] == 200
    for connection in connections:
        connection.close()


def test_descriptors_are_kept_for_workers(start_guard):
    """However many probers stay connected, some of the descriptors that the guard may open are left for workers."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (128, 400)); "
    guard = start_guard(start=limit + START)
    connections = [guard.connect() for _ in range(100)]
    connections[-1].sendall(ASK)
    assert one(connections[-1])[0] == 200
    assert read_all(connections[19]) == b""
    connections[20].sendall(ASK)
    assert one(connections[20])[0] == 200
    assert resource.prlimit(guard.pid, resource.RLIMIT_NOFILE) == (400, 400)
    for connection in connections:
        connection.close()


def test_ipv6(start_guard):
    """It serves IPv6 as well."""
    guard = start_guard(host="::1")
    assert guard.ask("live")[0] == 200
    assert codes(guard.exchange(b"nonsense\r\n\r\n" + ASK)) == [400]


def test_prefix_and_service(start_guard):
    """Both are the settings'; a name of a service is JSON whatever it holds."""
    guard = start_guard(prefix="", service='a"b\\c é\n')
    answer = guard.exchange(b"GET /health/live HTTP/1.0\r\n\r\n")
    assert json.loads(split(answer)[2])["service"] == 'a"b\\c é\n'
    assert codes(guard.exchange(b"GET /tasker/health/live HTTP/1.0\r\n\r\n")) == [404]


def test_answers_have_the_form_of_the_applications(guard):
    """Bodies of errors are those that the application's own port gives."""
    assert guard.ask("nothing")[1] == {"error": "Not Found", "message": "There is no such endpoint or check"}
    assert guard.ask("live", "PUT")[1] == {
        "error": "Method Not Allowed",
        "message": "PUT is not allowed; use GET or HEAD",
    }
