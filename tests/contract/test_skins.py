"""One suite for every way in: whichever skin stands before the same Health, the answer is the same, byte for byte."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

from fakes import FakeClock, FakeSource, settings_of
from server import wait_until
from skins import SKINS
from tasker_health.access import PERMISSION, BaseCoordinator
from tasker_health.access.principal import Principal
from tasker_health.errors import AuthenticationError, CheckFailed
from tasker_health.health import Health
from tasker_health.model import Reason

PREFIX = "/tasker"
TOKEN = "skin-suite-token"


class ByToken:
    """Knows one token of an operator and one of a guest."""

    async def authenticate(self, request):
        """Return whose token was sent."""
        token = request.header("authorization")
        if token in {None, ""}:
            return None
        users = {f"Bearer {TOKEN}": Principal("operator", permissions=[PERMISSION]), "Bearer guest": Principal("guest")}
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
    asgi, wsgi = answers
    assert (asgi[0], asgi[2]) == (wsgi[0], wsgi[2])
    assert asgi[1] == [*wsgi[1], ("connection", "close")]  # which WSGI forbids
    assert (asgi[0], b'"draining"' in asgi[2]) == (503, True)


def test_a_skin_that_was_stopped_leaves_no_thread():
    """And begins anew with the next question."""
    before = set(threading.enumerate())
    driver = SKINS["wsgi"](health_of(access=False))
    for _ in range(3):
        assert driver.ask("GET", "/tasker/health/ready")[0] == 200
        assert [each.name for each in set(threading.enumerate()) - before if "check" not in each.name] == [
            "tasker-health-bridge"
        ]
        driver.end()
        wait_until(lambda: set(threading.enumerate()) <= before, "its threads have ended")
