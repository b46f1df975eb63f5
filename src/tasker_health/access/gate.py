"""The gate before the status: the two switches, in every combination, failing closed."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from types import NoneType
from typing import Any

from tasker_health.access import ACTION_INDEX, PERMISSION, RESOURCE, UNDECIDED, Authenticator, BaseCoordinator, User
from tasker_health.access.faults import REQUEST, AccessFault, Faults
from tasker_health.access.limiter import Limiter
from tasker_health.access.principal import Principal
from tasker_health.access.ready_made import at_once_of, authenticators_of, coordinator_class_of, fitting
from tasker_health.access.roles import RolesCoordinator, permits
from tasker_health.access.threads import PATIENCE_SECONDS, THREADS, Threads, in_free_thread
from tasker_health.access.turns import BusyError
from tasker_health.counters import AccessCounts
from tasker_health.deadline import within
from tasker_health.errors import AuthenticationError, SettingsError, UnauthorizedError
from tasker_health.request import Request
from tasker_health.settings import Settings

CHALLENGE = 'Bearer realm="tasker_health"'


_NO_USERS = (bool, str, bytes, int, float, dict, list, tuple, set)


class Gate:
    """Lets a caller through to the status, or says why not.

    Args:
        settings: The switches and the dotted paths.
        authenticator: Used in place of `auth.authenticator_class`.
        coordinator_class: Used in place of `auth.authorization_coordinator_class`.

    Attributes:
        counts: How many requests were not let through.
        authenticators: Who tell callers apart, in the order in which they are asked.
        must_be_known: Whether nobody may pass without being known.
        must_be_permitted: Whether the coordinator is asked.
        coordinator_class: Which.

    Raises:
        ConfigurationError: A switch is on without what it needs, or a class does not import or fit.
    """

    def __init__(
        self, settings: Settings, *, authenticator: Any = None, coordinator_class: type[Any] | None = None
    ) -> None:
        auth = settings.auth
        if settings.health.status_requires_authentication and not auth.authentication_enabled:
            raise SettingsError(
                "health.status_requires_authentication", "true", "needs auth.authentication_enabled = true"
            )
        self.authenticators: list[Authenticator] = (
            [fitting(authenticator)] if authenticator is not None else authenticators_of(auth)
        )
        self.coordinator_class: type[Any] | None = coordinator_class or coordinator_class_of(auth)
        if auth.authentication_enabled and not self.authenticators:
            raise SettingsError("auth.authentication_enabled", "true", "needs auth.authenticator_class")
        if auth.authorization_enabled and self.coordinator_class is None:
            raise SettingsError("auth.authorization_enabled", "true", "needs auth.authorization_coordinator_class")
        self.must_be_known: bool = settings.health.status_requires_authentication and auth.authentication_enabled
        self.must_be_permitted: bool = auth.authorization_enabled
        self._timeout_seconds = auth.timeout_seconds
        self._threads = Threads()
        self._limiter = Limiter(auth.failures_per_minute, auth.trusted_proxies)
        self._faults = Faults()
        self.counts: AccessCounts = AccessCounts()

    @property
    def challenges(self) -> list[str]:
        """What a 401 says about the credentials that are taken (RFC 9110 section 11.6.1)."""
        said = [getattr(each, "challenge", CHALLENGE) for each in self.authenticators]
        return list(dict.fromkeys(each for each in said if isinstance(each, str))) or [CHALLENGE]

    @property
    def open(self) -> bool:
        """Whether everybody may pass without being looked at."""
        return not self.authenticators and not self.must_be_permitted

    def problems(self) -> list[str]:
        """Return what broke within the last seconds, for the `configuration` check."""
        return self._faults.problems()

    async def admit(self, request: Request) -> Any:
        """Return the user who sent *request* (`None`: nobody known) when they may read the status.

        Raises:
            AuthenticationError: Not known, but has to be; or the credentials are bad.
            UnauthorizedError: Not permitted.
            AccessFault: The authenticator or the coordinator broke.
        """
        REQUEST.set(request)
        try:
            user = await self.identify(request)
            await self.authorize(user)
        except AuthenticationError:
            await self.failed(request)
            raise
        except UnauthorizedError:
            self.counts.authorization_failures += 1
            raise
        except AccessFault:
            self.counts.faults += 1
            raise
        return user

    async def failed(self, request: Request) -> None:
        """Count a failed attempt, tell the log, and return when it may be answered."""
        self.counts.authentication_failures += 1
        await self._limiter.failed(request)

    async def identify(self, request: Request) -> Any:
        """Return the user who sent *request*, the first that an authenticator knows; `None`: nobody known.

        Each is asked: bad credentials of one kind are not made good by others. Raises as `admit`.
        """
        user = None
        for authenticator in self.authenticators:
            known = await self.ask_authenticator(authenticator, request)
            user = known if user is None else user
        return user

    async def ask_authenticator(self, authenticator: Authenticator, request: Request) -> Any:
        """Return whom *authenticator* alone knows as the sender of *request*. Raises as `admit`."""
        REQUEST.set(request)
        if request.headers("transfer-encoding"):
            # Some servers (uvicorn with httptools) put what comes behind a chunked body among the headers: past the
            # proxy that vouches for them.
            raise AuthenticationError("A request with a chunked body proves nothing")
        at_once = at_once_of(authenticator)
        if at_once is not None:
            # Without a task of its own, which costs more than to know a token.
            known = self._heard("Authentication", lambda: at_once(request))
            if known is not UNDECIDED:
                return known
        return await self._ask("Authentication", partial(self._authenticate, authenticator, request))

    async def authorize(self, user: Any) -> None:
        """Pass when *user*, who is already authenticated, may read the status. Raises as `admit`."""
        if self.must_be_known and user is None:
            raise AuthenticationError("Authentication is required to read the status")
        if not (self.must_be_known or self.must_be_permitted):
            return
        self._require_a_user(user)
        if self.coordinator_class is RolesCoordinator and type(user) in {Principal, NoneType}:
            if self.must_be_permitted and not permits(user, PERMISSION):
                raise UnauthorizedError(f"Not authorized to {ACTION_INDEX} on {RESOURCE}")
        elif self.must_be_permitted:
            answer = await self._ask("Authorization", lambda: self._coordinate(user))
            if answer is not None:
                raise self._faults.broke(
                    "Authorization", TypeError(f"authorize answered {type(answer).__name__}, not None")
                )

    async def may_see_detail(self, user: Any) -> bool:
        """Return whether *user*, who was admitted, is shown what is in no anonymous answer. Raises as `admit`."""
        if not self._is_user(user):
            return False
        if type(user) is Principal:  # ours neither raises nor waits
            return permits(user, PERMISSION)
        return await self._ask("Authorization", lambda: RolesCoordinator(user).can(RESOURCE, ACTION_INDEX)) is True

    def _require_a_user(self, user: Any) -> None:
        kind = type(user).__name__
        is_user = user is None or self._is_user(user)
        if issubclass(type(user), _NO_USERS) or (not is_user and inspect.isroutine(user)):
            raise self._faults.broke("Authentication", TypeError(f"the authenticator answered {kind}, no user"))
        if not is_user:
            words = f"a user of type {kind} has no tasker_admin and has_tasker_permission: refused"
            self._faults.tell("user", words, logging.WARNING)
            raise UnauthorizedError(f"Not authorized to {ACTION_INDEX} on {RESOURCE}")

    def _is_user(self, user: Any) -> bool:
        """Return whether *user* has the two methods. Raises as `admit`: one that is lazy may break when looked at."""
        try:
            return isinstance(user, User)
        except Exception as error:  # noqa: BLE001 -- as below
            raise self._faults.broke("Authentication", error) from None

    def _heard(self, what: str, call: Callable[[], Any]) -> Any:
        """Return what *call*, which never waits, answers. Raises as `admit`."""
        try:
            answer = call()
        except AuthenticationError:
            self._faults.mended(what)
            raise
        except Exception as error:  # noqa: BLE001 -- whatever it is, it fails closed
            raise self._faults.broke(what, error) from None
        if answer is not UNDECIDED:
            self._faults.mended(what)
        return answer

    async def _ask(self, what: str, call: Callable[[], Awaitable[Any]]) -> Any:
        """Return what *call* answers within the deadline."""
        PATIENCE_SECONDS.set(self._timeout_seconds / 2)
        THREADS.set(self._threads)
        try:
            answer = await within(call(), self._timeout_seconds)
        except (AuthenticationError, UnauthorizedError):
            self._faults.mended(what)
            raise
        except BusyError:
            raise self._faults.busy(what) from None
        except Exception as error:  # noqa: BLE001 -- whatever it is, it fails closed
            raise self._faults.broke(what, error) from None
        self._faults.mended(what)
        return answer

    async def _authenticate(self, authenticator: Authenticator, request: Request) -> Any:
        authenticate = authenticator.authenticate
        if inspect.iscoroutinefunction(authenticate):
            return await authenticate(request)
        answer = await in_free_thread(lambda: authenticate(request), "authenticator")
        return await answer if inspect.isawaitable(answer) else answer

    async def _coordinate(self, user: Any) -> Any:
        make = self.coordinator_class or BaseCoordinator
        if make.__init__ is BaseCoordinator.__init__:
            coordinator = make(user)
        else:  # a constructor of the user's may look something up
            coordinator = await in_free_thread(lambda: make(user), "coordinator")
        authorize = coordinator.authorize
        if inspect.iscoroutinefunction(authorize):
            return await authorize(RESOURCE, ACTION_INDEX, {})
        answer = await in_free_thread(lambda: authorize(RESOURCE, ACTION_INDEX, {}), "coordinator")
        return await answer if inspect.isawaitable(answer) else answer
