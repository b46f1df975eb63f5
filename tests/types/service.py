"""A user's module, as one writes it with types: everything public is used, and what comes back has the type it should.

Checked by mypy and pyright, both strict; it is never imported.
"""

# ruff: noqa: D102, PT017 -- it is no test, and what its methods do does not matter

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, assert_type

from tasker_health import (
    AuthenticationError,
    BaseCoordinator,
    CheckDegraded,
    CheckFailed,
    CheckResult,
    CheckStatus,
    ConfigurationError,
    Health,
    Liveness,
    Readiness,
    Reason,
    Settings,
    Startup,
    StatusReport,
    TaskerHealthError,
    UnauthorizedError,
    load_settings,
)
from tasker_health.access import Authenticator, User
from tasker_health.cache import Cache, Held
from tasker_health.checks import Check
from tasker_health.clock import Clock
from tasker_health.errors import SourceFault
from tasker_health.model import Facts, SystemHealth
from tasker_health.request import Request
from tasker_health.sources import Source
from tasker_health.web.asgi import AsgiSkin, Receive, Scope, Send
from tasker_health.web.background import Background
from tasker_health.web.wsgi import WsgiSkin

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

# Settings: from the environment, from a file, and made in Python.
settings = load_settings("health.toml", environ={"TASKER_SERVER__PORT": "8080"})
assert_type(settings, Settings)
assert_type(settings.server.port, int)
assert_type(settings.server.prefix, str)
assert_type(settings.health.readiness_timeout_seconds, float)
assert_type(settings.guard.enabled, bool | None)
made = Settings.model_validate({"server": {"port": 0}})
assert_type(made, Settings)


# Who asks, and may they: classes of the user's own.
class Staff:
    """Somebody known."""

    def tasker_admin(self) -> bool:
        return False

    def has_tasker_permission(self, permission: str) -> bool:
        return permission == "tasker.health_status:index"


class ByHeader:
    """An authenticator that waits."""

    async def authenticate(self, request: Request) -> Staff | None:
        token = request.header("authorization")
        assert_type(token, str | None)
        assert_type(request.headers("accept"), list[str])
        assert_type(request.path, str)
        if token == "wrong":
            raise AuthenticationError("No such token")
        return Staff() if token else None


class Blocking:
    """An authenticator that does not."""

    def authenticate(self, request: Request) -> Staff | None:
        return Staff() if request.client == "127.0.0.1" else None

    def validate_configuration(self) -> list[str]:
        return []


class Coordinator(BaseCoordinator):
    """A coordinator that does not wait."""

    def authorized(self, resource: str, action: str, context: dict[str, Any]) -> bool:
        if resource == "secret":
            raise UnauthorizedError("Nobody may")
        return isinstance(self.user, Staff) and action == "index"


class AsyncCoordinator(BaseCoordinator):
    """A coordinator that waits."""

    async def authorized(self, resource: str, action: str, context: dict[str, Any]) -> bool:
        return self.user is not None


authenticators: list[Authenticator] = [ByHeader(), Blocking()]
user: User = Staff()


# What time it is, and where facts wait: parts of the user's own.
class Stopped:
    """A clock."""

    def now(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0


class Nowhere:
    """A cache that keeps nothing."""

    name = "nowhere"
    coarse_seconds = 0.0

    async def get(self, key: str) -> Held | None:
        return None

    async def put(self, key: str, value: bytes, keep_seconds: float) -> None: ...

    async def acquire(self, key: str, holder: str, seconds: float) -> bool:
        return True

    async def release(self, key: str, holder: str) -> None: ...

    async def close(self) -> None: ...


clock: Clock = Stopped()
cache: Cache = Nowhere()

health = Health(settings, authenticator=ByHeader(), coordinator_class=Coordinator, cache=cache, clock=clock)
assert_type(health, Health)
assert_type(health.settings, Settings)
assert_type(Health(), Health)


# Checks: the decorator leaves a function what it was.
@health.check("payment_api", critical=False, timeout_seconds=0.3, groups=["money"], fail_after=2, recover_after=3)
async def payment_api() -> None:
    raise CheckDegraded(Reason.TIMEOUT, "for the log")


@health.check("stock")
def stock() -> bool:
    return True


@health.check("mail")
def mail() -> CheckResult:
    return CheckResult(status=CheckStatus.DEGRADED, reason=Reason.PENDING)


def waiting(call: Callable[[], Awaitable[None]]) -> None: ...


waiting(payment_api)
awaited: Callable[[], Coroutine[Any, Any, None]] = payment_api
assert_type(stock(), bool)
assert_type(mail(), CheckResult)


class DiskCheck:
    """A check that is an object."""

    name = "disk"
    critical = True
    timeout_seconds: float | None = 0.5

    def __call__(self) -> None:
        raise CheckFailed("read_only")


class Queue:
    """A source."""

    def __init__(self) -> None:
        self.name = "queue"

    async def read(self, deadline_seconds: float) -> Facts:
        raise SourceFault(Reason.MISSING)

    async def close(self) -> None: ...


check: Check = DiskCheck()
source: Source = Queue()
health.add_check(DiskCheck())
health.add_source(Queue())
warm = health.wait_for("warm_up")
assert_type(warm, Callable[[], None])


# The skins fit what servers and frameworks call.
async def asgi_service(scope: Scope, receive: Receive, send: Send) -> None: ...


def wsgi_service(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    return []


app = health.asgi(asgi_service)
assert_type(app, AsgiSkin)
assert_type(health.asgi(), AsgiSkin)
application = health.wsgi(wsgi_service)
assert_type(application, WsgiSkin)
by_pep_3333: WSGIApplication = application
application.start()
application.stop()


async def ask() -> datetime:
    """Ask in Python."""
    assert_type(await health.live(), Liveness)
    readiness = await health.ready("money")
    assert_type(readiness, Readiness)
    assert_type(readiness.ready, bool)
    assert_type(readiness.checks, dict[str, CheckResult])
    assert_type(readiness.checks["stock"].status, CheckStatus)
    assert_type(await health.startup(), Startup)
    report = await health.status(user)
    assert_type(report, StatusReport)
    assert_type(report.system_health, SystemHealth)
    assert_type(report.system_health.total_tasks, int | None)
    await health.start()
    await health.drain()
    await health.stop()
    return report.timestamp


def work() -> None:
    """Serve beside a worker."""
    try:
        serving = health.serve_in_background()
    except ConfigurationError as error:
        assert isinstance(error, TaskerHealthError)
        return
    assert_type(serving, Background)
    assert_type(serving.url, str)
    assert_type(serving.guard_url, str)
    assert_type(serving.is_serving, bool)
    serving.stop()
