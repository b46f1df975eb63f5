"""One suite for every way in: whichever skin stands before the same Health, the answer is the same, byte for byte."""

from __future__ import annotations

import asyncio
import io
import threading
import wsgiref.validate
from contextlib import contextmanager

import pytest

from fakes import FakeClock, FakeSource, settings_of
from server import wait_until
from tasker_health.access import PERMISSION, BaseCoordinator
from tasker_health.errors import AuthenticationError, CheckFailed
from tasker_health.health import Health
from tasker_health.model import Reason

PREFIX = "/tasker"
TOKEN = "skin-suite-token"


class Operator:
    """A user with the permission, or without."""

    def __init__(self, *permissions):
        self.permissions = permissions

    def tasker_admin(self):
        """Return whether this is an admin."""
        return False

    def has_tasker_permission(self, permission):
        """Return whether this user has *permission*."""
        return permission in self.permissions


class ByToken:
    """Knows one token of an operator and one of a guest."""

    async def authenticate(self, request):
        """Return whose token was sent."""
        token = request.header("authorization")
        if token in {None, ""}:
            return None
        users = {f"Bearer {TOKEN}": Operator(PERMISSION), "Bearer guest": Operator()}
        if token not in users:
            raise AuthenticationError
        return users[token]


class Coordinator(BaseCoordinator):
    """Permits who has the permission."""

    def authorized(self, resource, action, context):
        """Return whether the user may."""
        return self.user is not None and self.user.has_tasker_permission(f"{resource}:{action}")


def health_of(access, **settings):
    """Return a health with a source, a check that is well and one that is not, behind *access* or open."""
    groups = {"cache": {}, **settings}
    options = {}
    if access:
        groups |= {
            "auth": {"authentication_enabled": True, "authorization_enabled": True},
            "health": {"status_requires_authentication": True},
        }
        options = {"authenticator": ByToken(), "coordinator_class": Coordinator}
    health = Health(settings_of(**groups), clock=FakeClock(), **options)
    health.add_source(FakeSource())
    health.check("well", groups=["mine"])(lambda: None)

    @health.check("away", critical=False)
    async def away():
        raise CheckFailed(Reason.REFUSED, "detail")

    return health


class AsgiDriver:
    """Asks through the ASGI skin, on a loop that lives as long as the driver."""

    def __init__(self, health, root=""):
        self._skin = health.asgi(_asgi_application)
        self._root = root
        self._runner = asyncio.Runner()

    def ask(self, method, path, headers=(), query=""):
        """Return code, headers in their order and body."""
        return self._runner.run(self._ask(method, path, headers, query))

    async def _ask(self, method, path, headers, query):
        sent = []

        async def send(message):
            sent.append(message)

        async def receive():
            return {"type": "http.request", "body": b""}

        scope = {
            "type": "http",
            "method": method,
            "path": self._root + path,
            "root_path": self._root,
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
            "client": ("127.0.0.1", 1),
        }
        await self._skin(scope, receive, send)
        start, *bodies = sent
        found = [(name.decode(), value.decode()) for name, value in start["headers"]]
        return start["status"], found, b"".join(body["body"] for body in bodies)

    def end(self):
        """End it."""
        self._runner.close()


class WsgiDriver:
    """Asks through the WSGI skin, from this thread, watched by the validator of PEP 3333."""

    def __init__(self, health, root=""):
        self._skin = health.wsgi(_wsgi_application)
        self._validated = wsgiref.validate.validator(self._skin)
        self._root = root

    def ask(self, method, path, headers=(), query=""):
        """Return code, headers in their order and body."""
        environ = {
            "REQUEST_METHOD": method,
            "SCRIPT_NAME": self._root,
            "PATH_INFO": path.encode().decode("latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
        }
        for name, value in headers:
            key = f"HTTP_{name.upper().replace('-', '_')}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        started = []

        def start_response(status, found, exc_info=None):
            started.append((int(status.split()[0]), found))
            return bytearray().extend

        answer = self._validated(environ, start_response)
        try:
            body = b"".join(answer)
        finally:
            answer.close()
        ((code, found),) = started
        return code, found, body

    def end(self):
        """End it, with its thread."""
        self._skin.stop()


async def _asgi_application(scope, receive, send):
    await send({"type": "http.response.start", "status": 202, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": f"the application: {scope['path']}".encode()})


def _wsgi_application(environ, start_response):
    path = (environ["SCRIPT_NAME"] + environ["PATH_INFO"]).encode("latin-1")
    start_response("202 Accepted", [("content-type", "text/plain")])
    return [b"the application: " + path]


SKINS = {"asgi": AsgiDriver, "wsgi": WsgiDriver}


@contextmanager
def both(access=False, root="", **settings):
    """Two skins before two equal objects."""
    drivers = [make(health_of(access, **settings), root) for make in SKINS.values()]
    try:
        yield drivers
    finally:
        for driver in drivers:
            driver.end()


PATHS = [
    *("health/live", "health/ready", "health/ready/well", "health/ready/away", "health/ready/mine", "health/startup"),
    *("health/status", "health", "metrics", "openapi.json"),
    *("health/ready/none", "health/nothing", "Health/live", "health/live/", "health//live", "./health/live"),
    *("health/%6cive", "health/lïve", "health/live;x=1"),
]
HEADERS = {
    "nothing": [],
    "anything": [("Accept", "*/*")],
    "a browser": [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")],
    "an operator": [("Authorization", f"Bearer {TOKEN}")],
    "a guest": [("Authorization", "Bearer guest")],
    "a stranger": [("Authorization", "Bearer wrong")],
    "other methods": [("X-HTTP-Method-Override", "DELETE")],
}


@pytest.mark.parametrize("access", [False, True], ids=["open", "asks"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS"])
@pytest.mark.parametrize("sender", HEADERS)
def test_every_answer_is_the_same(access, method, sender):
    """Code, headers in their order and body; the first time and from what is kept."""
    with both(access) as (asgi, wsgi):
        for path in [*PATHS, *PATHS]:
            expected, found = (each.ask(method, f"{PREFIX}/{path}", HEADERS[sender]) for each in (asgi, wsgi))
            assert found == expected, path
            assert found[0] == 202 or ("content-length" in dict(found[1]) and (method != "HEAD" or found[2] == b""))


@pytest.mark.parametrize("query", ["format=health", "format=actuator", "format=microprofile", "format=none", "a=b"])
def test_every_format_is_the_same(query):
    """What stands behind the question mark counts in both."""
    with both() as (asgi, wsgi):
        for path in PATHS:
            expected, found = (each.ask("GET", f"{PREFIX}/{path}", query=query) for each in (asgi, wsgi))
            assert found == expected, path


@pytest.mark.parametrize("root", ["", "/api"])
@pytest.mark.parametrize("path", ["/orders", "/", "/tasker", "/taskers/health/live", "/café"])
def test_what_is_not_ours_is_the_applications(root, path):
    """It sees the path as it came, mounted or not."""
    with both(root=root) as (asgi, wsgi):
        expected, found = asgi.ask("GET", path), wsgi.ask("GET", path)
        assert (found[0], found[2]) == (expected[0], expected[2]) == (202, f"the application: {root}{path}".encode())


def test_letters_beyond_ascii_are_the_same_letters_in_both():
    """A path that is nearly ours, by a Kelvin sign whose lower case is our `k`, is claimed by both."""
    with both() as (asgi, wsgi):
        expected, found = (each.ask("GET", "/tas\u212aer/health/live") for each in (asgi, wsgi))
        assert found == expected
        assert found[0] == 404


@pytest.mark.parametrize("prefix", ["", "/tasker", "/a/b"])
def test_a_mount_point_is_not_part_of_the_path(prefix):
    """`SCRIPT_NAME` is to WSGI what `root_path` is to ASGI."""
    with both(root="/api", server={"prefix": prefix}) as (asgi, wsgi):
        expected, found = (each.ask("GET", f"{prefix}/health/live") for each in (asgi, wsgi))
        assert found == expected
        assert found[0] == 200


def test_draining_is_told_in_both():
    """After the drain, readiness fails with the same body."""
    healths = [health_of(access=False) for _ in SKINS]
    drivers = [make(health) for make, health in zip(SKINS.values(), healths, strict=True)]
    answers = []
    for driver, health in zip(drivers, healths, strict=True):
        driver.ask("GET", "/tasker/health/ready")
        health.monitor.drain()
        answers.append(driver.ask("GET", "/tasker/health/ready"))
        driver.end()
    assert answers[0] == answers[1]
    assert (answers[0][0], b'"draining"' in answers[0][2]) == (503, True)


def test_a_skin_that_was_stopped_leaves_no_thread():
    """And begins anew with the next question."""
    before = set(threading.enumerate())
    driver = WsgiDriver(health_of(access=False))
    for _ in range(3):
        assert driver.ask("GET", "/tasker/health/ready")[0] == 200
        assert [each.name for each in set(threading.enumerate()) - before if "check" not in each.name] == [
            "tasker-health-bridge"
        ]
        driver.end()
        wait_until(lambda: set(threading.enumerate()) <= before, "its threads have ended")
