"""The room of dependencies: is a service that this one needs well, asked by its field's own client?

The rules for whoever writes a kind:

* It asks on a connection of its own, never on one that the application uses, and has one at most.
* Whatever the other side does, it can be cancelled at any moment, and then leaves no socket, task or thread behind:
  what is open is closed at once, by the transport, and no goodbye is waited for.
* It reads no more of an answer than it needs, however long the other side makes it.
* It changes nothing there.
* Its client is imported when the check is made; without it that is a `ConfigurationError` that names the extra.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, Generic, Protocol, TypedDict, TypeVar, Unpack

from tasker_health.deadline import leave_to_parent
from tasker_health.errors import CheckFailed, ConfigurationError, TaskerHealthError
from tasker_health.model import Reason
from tasker_health.reasons import reason_of, words_of
from tasker_health.resolver import Resolver

_LONGEST_DETAIL = 300


class Terms(TypedDict, total=False):
    """What all kinds take by name.

    Attributes:
        critical: Whether readiness depends on it; unless said it does not.
        timeout_seconds: Its own deadline, within that of the whole answer.
        groups: Names under which `/ready/<group>` answers it together with others.
        fail_after: So many runs in a row must fail before it does.
        recover_after: So many runs in a row must be well before a failed one is.
    """

    critical: bool
    timeout_seconds: float | None
    groups: Sequence[str]
    fail_after: int
    recover_after: int


class Dependency(ABC):
    """A check of one dependency, on one event loop of one process at a time.

    Args:
        name: `[a-z][a-z0-9_-]{0,62}`; the last part of `/ready/<check>`.
        secrets: What no log may hold.
        terms: See `Terms`.
    """

    timed = True

    def __init__(self, name: str, secrets: Iterable[str | None] = (), **terms: Unpack[Terms]) -> None:
        self.name = name
        self.critical: bool = terms.get("critical", False)
        self.timeout_seconds: float | None = terms.get("timeout_seconds")
        self.groups: tuple[str, ...] = tuple(terms.get("groups", ()))
        self.fail_after: int = terms.get("fail_after", 1)
        self.recover_after: int = terms.get("recover_after", 1)
        self._secrets = tuple(secret for secret in secrets if secret)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._turn = asyncio.Lock()
        self._resolver = Resolver()

    async def __call__(self) -> None:
        """Look once.

        Raises:
            CheckFailed: It is not well; `CheckDegraded` when it is well enough.
        """
        self._begin_anew_elsewhere(asyncio.get_running_loop())
        async with self._turn:
            try:
                await self._look()
            except TaskerHealthError:
                raise
            except Exception as error:  # noqa: BLE001 -- every client has its own, and what is read may end in any
                raise self._failure(error) from None

    async def close(self) -> None:  # noqa: B027 -- most have nothing open between their runs
        """Close what is open; the next call opens it anew."""

    @abstractmethod
    async def _look(self) -> None:
        """Ask once, or raise."""

    def _reason(self, error: Exception) -> Reason:
        """Return the reason that *error* stands for."""
        return reason_of(error)

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:  # noqa: B027 -- as above
        """Close what was left open on *loop*, which has ended, or is not running now."""

    def _leave_to_parent(self) -> None:  # noqa: B027 -- as above
        """Forget what the process that this one was forked from has open, without closing it."""

    def _failure(self, error: Exception) -> CheckFailed:
        if isinstance(error, UnicodeError | RecursionError | AssertionError):
            # Its words would show what was read, which may be anything.
            return CheckFailed(Reason.INVALID, "what it answers is not its protocol")
        words = words_of(error)
        for secret in self._secrets:
            words = words.replace(secret, "***")
        return CheckFailed(self._reason(error), words[:_LONGEST_DETAIL])

    def _begin_anew_elsewhere(self, loop: asyncio.AbstractEventLoop) -> None:
        if loop is self._loop:
            return
        if os.getpid() != self._pid:
            self._leave_to_parent()
        elif self._loop is not None:
            self._leave(self._loop)
        self._loop, self._pid, self._turn, self._resolver = loop, os.getpid(), asyncio.Lock(), Resolver()


class Link(Protocol):
    """What a check keeps open from one run to the next."""

    @property
    def is_usable(self) -> bool:
        """Whether it is open, as far as this side knows."""

    def drop(self) -> None:
        """Close it at once, without a goodbye; on its own event loop."""

    def abandon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Close it from outside of *loop*, its own, which has ended or is not running."""


L = TypeVar("L", bound=Link)


class LinkedDependency(Dependency, Generic[L]):
    """A dependency that is asked over a link that is kept; a link that gave trouble is not asked again."""

    _link: L | None = None

    async def close(self) -> None:
        """Close the link."""
        self._begin_anew_elsewhere(asyncio.get_running_loop())
        self._drop()
        # The turns of the loop in which a transport closes its socket and the tasks that read from it end.
        for _ in range(3):
            await asyncio.sleep(0)

    @abstractmethod
    async def _open(self) -> L:
        """Return a new link, or raise and leave nothing open."""

    @abstractmethod
    async def _ask(self, link: L) -> None:
        """Ask once over *link*, or raise."""

    async def _look(self) -> None:
        if self._link is not None and self._link.is_usable:
            try:
                return await self._ask_or_drop(self._link)
            except Exception as error:
                if self._reason(error) is not Reason.UNREACHABLE:
                    raise
                # The other side had ended it, by a restart say: only a new one tells whether it is there.
        self._drop()
        self._link = await self._open()
        return await self._ask_or_drop(self._link)

    async def _ask_or_drop(self, link: L) -> None:
        try:
            await self._ask(link)
        except BaseException:
            # Above all when cancelled: the answer to this question may still come, and is not the next one's.
            self._drop()
            raise

    def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.drop()

    def _leave(self, loop: asyncio.AbstractEventLoop) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.abandon(loop)

    def _leave_to_parent(self) -> None:
        leave_to_parent((self._link, self._loop))
        self._link = None


def client_of(check: str, module: str, package: str, extra: str) -> Any:
    """Return *module*, imported for the check of that name.

    Raises:
        ConfigurationError: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError:
        raise ConfigurationError(
            f"check {check}: {package} is not installed; pip install 'tasker-health[{extra}]'"
        ) from None


def tls_of(check: str, ca_file: str | None) -> ssl.SSLContext:
    """Return how certificates are verified: by those in *ca_file*; without one by those that the machine trusts.

    Raises:
        ConfigurationError: The file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError):
        raise ConfigurationError(
            f"check {check}: ca_file {ca_file!r}: name a PEM file of certificates that can be read"
        ) from None
