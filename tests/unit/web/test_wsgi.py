"""The WSGI skin: what WSGI folds, deadlines whatever the event loop does, and what belongs to the application."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import FakeSource, settings_of
from server import wait_until
from tasker_health.access.credentials import credentials
from tasker_health.errors import AuthenticationError, SettingsError
from tasker_health.health import Health

PATIENCE_SECONDS = 60
TOKEN_HASH = "sha256:" + "0" * 64


class Seen:
    """An authenticator that keeps the requests it was shown."""

    def __init__(self):
        self.requests = []

    async def authenticate(self, request):
        """Return nobody."""
        self.requests.append(request)


def ask(skin, path, method="GET", **environ):
    """Return code, headers and body of *path*."""
    started = []
    given = {"REQUEST_METHOD": method, "PATH_INFO": path, "SCRIPT_NAME": "", "REMOTE_ADDR": "192.0.2.1", **environ}
    body = b"".join(skin(given, lambda status, headers: started.append((status, headers))))
    ((status, headers),) = started
    return int(status.split()[0]), dict(headers), body


def seen(**environ):
    """Return the request that an authenticator is shown for *environ*."""
    authenticator = Seen()
    skin = Health(settings_of(), authenticator=authenticator).wsgi()
    ask(skin, "/tasker/health/status", **environ)
    skin.stop()
    (request,) = authenticator.requests
    return request


def test_headers_are_what_the_variables_say():
    """Names in lower case with dashes, the two without a prefix only when they say something; scope and client too."""
    environ = {"HTTP_X_API_KEY": "k\xe9y", "HTTP_AUTHORIZATION": "Bearer a", "CONTENT_TYPE": "text/plain"}
    smuggled = {"HTTP_CONTENT_LENGTH": "7", "HTTP_CONTENT_TYPE": "a/b", "CONTENT_LENGTH": ""}
    request = seen(**environ, **smuggled, wsgi_http="x")
    expected = [(b"x-api-key", b"k\xe9y"), (b"authorization", b"Bearer a"), (b"content-type", b"text/plain")]
    assert sorted(request.raw_headers) == sorted(expected)
    assert request.client == "192.0.2.1"
    assert request.scope["HTTP_X_API_KEY"] == "k\xe9y"
    assert request.folded


def test_a_peer_without_an_address_has_none():
    """As behind a socket of the file system."""
    assert seen(REMOTE_ADDR="").client == ""
    assert seen(REMOTE_ADDR=None).client == ""


def test_a_comma_in_credentials_is_a_header_that_was_sent_twice():
    """Servers join them; which of the two a proxy in front has looked at is not known."""
    with pytest.raises(AuthenticationError):
        credentials(seen(HTTP_AUTHORIZATION="Bearer a,Bearer b"), "Bearer")
    assert credentials(seen(HTTP_AUTHORIZATION="Bearer a"), "Bearer") == "a"


def test_the_path_is_read_as_utf_8_whatever_was_sent():
    """Bytes that are none, and letters that no server should hand over, are 404 and no error."""
    skin = Health(settings_of()).wsgi()
    for path in ("/tasker/health/\xff\xfe", "/tasker/health/ré", "/tasker/health/\u20ac", "/tasker/health/\x00"):
        assert ask(skin, path)[0] == 404
    skin.stop()


@given(st.dictionaries(st.sampled_from(["HTTP_AUTHORIZATION", "HTTP_ACCEPT", "HTTP_X_A", "QUERY_STRING"]), st.text()))
def test_no_header_is_an_error_of_ours(environ):
    """Whatever letters the variables have."""
    assert ask(_SHARED, "/tasker/health/live", **environ)[0] == 200
    assert ask(_SHARED, "/tasker/health/status", **environ)[0] == 200


_SHARED = Health(settings_of(), authenticator=Seen()).wsgi()


def test_the_application_is_handed_its_own_requests_untouched():
    """The environ and `start_response` themselves, and what it answers goes back as it is."""
    handed, answer = [], object()

    def application(environ, start_response):
        handed.append((environ, start_response))
        return answer

    skin = Health(settings_of()).wsgi(application)
    environ, start_response = {"REQUEST_METHOD": "PATCH", "PATH_INFO": "/orders"}, object()
    before = dict(environ)
    assert skin(environ, start_response) is answer
    assert handed == [(environ, start_response)]
    assert environ == before
    assert not skin._bridge.begun  # nothing of ours was needed


class HeldUp:
    """A health whose check holds the event loop up while the test wants it, behind a skin."""

    def __init__(self):
        self.over, self.holds, self.wanted = threading.Event(), threading.Event(), False
        health = {"readiness_timeout_seconds": 0.3, "readiness_max_age_seconds": 0, "status_timeout_seconds": 0.3}
        self.health = Health(settings_of(health=health, cache={}, auth={"timeout_seconds": 0.1}))
        self.health.add_source(FakeSource())
        self.health.check("holds", groups=["mine"])(self._hold)
        self.skin = self.health.wsgi()

    async def _hold(self):
        if self.wanted:
            self.holds.set()
            self.over.wait(PATIENCE_SECONDS)


def test_while_the_event_loop_hangs_every_answer_comes_in_time():
    """Readiness is 503 and names the loop, the status 500; live, startup and refusals need none. Then all is well."""
    held = HeldUp()
    assert ask(held.skin, "/tasker/health/ready")[0] == 200
    held.wanted = True
    began = time.monotonic()
    code, _, body = ask(held.skin, "/tasker/health/ready")
    document = json.loads(body)
    assert held.holds.is_set()
    assert (code, document["ready"], document["failed_checks"]) == (503, False, ["event_loop"])
    assert document["checks"]["event_loop"] == {"status": "error", "reason": "stalled"}
    for name in ("holds", "mine"):
        code, _, body = ask(held.skin, f"/tasker/health/ready/{name}")
        assert (code, json.loads(body)["checks"]) == (503, {"holds": {"status": "error", "reason": "stalled"}})
    code, _, body = ask(held.skin, "/tasker/health/status")
    assert (code, json.loads(body)["error"]) == (500, "Internal Server Error")
    assert ask(held.skin, "/tasker/health/live")[0] == 200
    assert ask(held.skin, "/tasker/health/startup")[0] == 200
    assert ask(held.skin, "/tasker/openapi.json")[0] == 200
    assert ask(held.skin, "/tasker/health/nothing")[0] == 404
    assert ask(held.skin, "/tasker/health/ready", "POST")[0] == 405
    assert time.monotonic() - began < 10
    held.wanted = False
    held.over.set()
    wait_until(lambda: ask(held.skin, "/tasker/health/ready")[0] == 200, "it is ready again")
    held.skin.stop()


def test_readiness_waits_no_longer_than_its_own_deadline():
    """Not for as long as a status may take: the loop had begun, and hangs in the very check."""
    held = HeldUp()
    held.wanted = True
    began = time.monotonic()
    assert ask(held.skin, "/tasker/health/ready")[0] == 503
    assert 0.3 <= time.monotonic() - began < 2
    held.over.set()
    held.skin.stop()


def test_liveness_needs_no_thread():
    """It is answered where it is asked, and starts nothing."""
    skin = Health(settings_of()).wsgi()
    assert ask(skin, "/tasker/health/live")[0] == 200
    assert not skin._bridge.begun


def test_two_objects_in_one_process_do_not_meet():
    """Each has its own loop, its own checks and its own answer; two skins of one object share."""
    first, second = Health(settings_of()), Health(settings_of(server={"prefix": "/other"}))
    first.check("one")(lambda: None)
    second.check("two")(lambda: None)
    skins = [first.wsgi(), first.wsgi(), second.wsgi()]
    bodies = [
        json.loads(ask(skin, f"{prefix}/health/ready")[2])
        for skin, prefix in zip(skins, ["/tasker"] * 2 + ["/other"], strict=True)
    ]
    assert [list(body["checks"]) for body in bodies] == [["configuration", "one"]] * 2 + [["configuration", "two"]]
    assert skins[0]._bridge is skins[1]._bridge is not skins[2]._bridge
    skins[0].stop()
    assert not skins[1]._bridge.begun
    assert skins[2]._bridge.begun
    skins[2].stop()


def test_many_threads_get_true_answers():
    """While reports are kept and replaced by the loop, nobody sees an old one, and nobody an error."""
    settings = settings_of(health={"readiness_max_age_seconds": 0.001})
    number = 0

    async def count():
        nonlocal number
        number += 1

    health = Health(settings)
    health.check("count")(count)
    skin = health.wsgi()
    ask(skin, "/tasker/health/ready")
    codes, threads = [], []

    def many():
        for _ in range(200):
            codes.extend(ask(skin, f"/tasker/health/{name}")[0] for name in ("live", "ready", "status"))

    for _ in range(8):
        threads.append(threading.Thread(target=many))
        threads[-1].start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert set(codes) == {200}
    assert len(codes) == 8 * 200 * 3
    skin.stop()


def test_a_subject_with_a_comma_is_refused_at_the_start():
    """Behind WSGI nobody could tell it from a header that was sent twice; behind ASGI it is taken."""
    caller = {"callers": {"ops": {"subject": "CN=ops,O=Shop"}}}
    auth = {"authenticator_class": "mtls", "trusted_proxies": "127.0.0.1", "mtls": caller}
    health = Health(settings_of(auth=auth))
    health.asgi()
    with pytest.raises(SettingsError, match="comma"):
        health.wsgi()


def test_what_the_loop_answers_is_awaited_by_nobody_else():
    """The skin may be called where an event loop runs already: it waits in that thread, and answers."""
    skin = Health(settings_of()).wsgi()

    async def scene():
        return ask(skin, "/tasker/health/ready")[0]

    assert asyncio.run(scene()) == 200
    skin.stop()


_FORKS = """
import json, os, sqlite3, sys
from tasker_health import Health
from tasker_health.settings import Settings

sqlite3.connect(sys.argv[1]).execute("CREATE TABLE t (a)")
settings = Settings.model_validate({
    "database": {"url": f"sqlite:///{sys.argv[1]}"}, "health": {"readiness_max_age_seconds": 0},
})
health = Health(settings)
skin = health.wsgi()

def ready():
    started = []
    body = b"".join(skin(
        {"REQUEST_METHOD": "GET", "PATH_INFO": "/tasker/health/ready"}, lambda *given: started.append(given)))
    return started[0][0], json.loads(body)["checks"]["database"]["status"]

for _ in range(ASKED):
    assert ready() == ("200 OK", "ok")
children = []
for _ in range(3):
    child = os.fork()
    if child == 0:
        for _ in range(3):
            assert ready() == ("200 OK", "ok"), ready()
        raise SystemExit(7)
    children.append(child)
assert ready() == ("200 OK", "ok")
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
assert codes == [7, 7, 7], codes
assert ready() == ("200 OK", "ok")
print("well")
"""


@pytest.mark.alone  # on a busy machine asyncio's debug mode, which -X dev turns on, says that it is slow
@pytest.mark.parametrize("asked", [0, 2])
def test_children_answer_for_themselves(asked, tmp_path):
    """With connections and a loop of their own, whether the parent was asked before the fork or not."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", _FORKS.replace("ASKED", str(asked)), tmp_path / "a.sqlite"],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "well\n", "")
