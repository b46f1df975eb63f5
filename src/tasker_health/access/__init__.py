"""The room of access: who asks, and may they read the status?

`live`, `ready` and `startup` never come here. The rules for whoever writes an authenticator or a coordinator:

* An *authenticator* has `authenticate(request)`, async or not. It answers the user, or `None` when the request
  carries no credentials, and raises `AuthenticationError` when it carries bad ones. It may have
  `validate_configuration() -> list[str]`, asked once at start: what is wrong with it; a class method
  `from_settings(settings)` that makes it from the group `auth`; `challenge`, what a 401 says of its credentials; and
  `at_once(request)`, which answers the same without waiting, or `UNDECIDED` where it would have to wait.
* A *coordinator* is made with the user (`None`: nobody) and answers `can` and `authorize`; most inherit from
  `BaseCoordinator` and override `authorized`, async or not. Only `True` permits.
* A *user* answers `tasker_admin()` and `has_tasker_permission(permission)`; one that lacks them is refused.
* Whatever raises, hangs or answers a wrong type is a 500 without data: access fails closed.
"""

from __future__ import annotations

import inspect
from enum import Enum
from typing import Any, Protocol, runtime_checkable

from tasker_health.access.threads import in_free_thread
from tasker_health.errors import UnauthorizedError
from tasker_health.request import Request

RESOURCE = "tasker.health_status"
ACTION_INDEX = "index"
PERMISSION = f"{RESOURCE}:{ACTION_INDEX}"


class Undecided(Enum):
    """The type of `UNDECIDED`."""

    UNDECIDED = "undecided"


UNDECIDED = Undecided.UNDECIDED
"""What `at_once` answers when only `authenticate`, which may wait, can tell."""


@runtime_checkable
class Authenticator(Protocol):
    """Tells who asks."""

    def authenticate(self, request: Request) -> Any:
        """Return the user, or `None` without credentials; may be async.

        Raises:
            AuthenticationError: The credentials are not valid.
        """


@runtime_checkable
class User(Protocol):
    """Somebody known."""

    def tasker_admin(self) -> bool:
        """Return whether this user may do everything."""

    def has_tasker_permission(self, permission: str) -> bool:
        """Return whether this user has *permission*, such as `tasker.health_status:index`."""


class BaseCoordinator:
    """Decides what one user may do; this one refuses everything.

    Args:
        user: Who asks; `None` is nobody.
    """

    def __init__(self, user: Any = None) -> None:
        self.user = user

    async def can(self, resource: str, action: str, context: dict[str, Any] | None = None) -> bool:
        """Return whether the user may do *action* on *resource*; only `True` from `authorized` permits."""
        if inspect.iscoroutinefunction(self.authorized):
            answer = await self.authorized(resource, action, context or {})
        else:
            answer = await in_free_thread(lambda: self.authorized(resource, action, context or {}), "coordinator")
        if not isinstance(answer, bool):
            raise TypeError(f"authorized answered {type(answer).__name__}; it must answer True or False")
        return answer

    async def authorize(self, resource: str, action: str, context: dict[str, Any] | None = None) -> None:
        """Pass when the user may do *action* on *resource*.

        Raises:
            UnauthorizedError: The user may not.
        """
        permitted = await self.can(resource, action, context)
        if not isinstance(permitted, bool):
            raise TypeError(f"can answered {type(permitted).__name__}; it must answer True or False")
        if not permitted:
            raise UnauthorizedError(f"Not authorized to {action} on {resource}")

    def authorized(self, resource: str, action: str, context: dict[str, Any]) -> Any:
        """Return whether the user may; override it, async or not."""
        del resource, action, context
        return False
