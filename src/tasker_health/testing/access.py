"""Who asks, and may they: as a test says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tasker_health.access import BaseCoordinator, User
from tasker_health.access.principal import Principal
from tasker_health.access.roles import permits
from tasker_health.errors import AuthenticationError
from tasker_health.request import Request


def user_with_permission(*permissions: str) -> User:
    """Return somebody known who has *permissions*, such as `tasker.health_status:index`; without any: none."""
    return Principal("user of a test", permissions=permissions)


def admin_user() -> User:
    """Return somebody known who may do everything."""
    return Principal("admin of a test", admin=True)


class FakeAuthenticator:
    """Knows whoever the test says: `Health(authenticator=FakeAuthenticator())`.

    Args:
        user: Who sends every request; `None`: nobody known.
        users: Who sends a request with this value of *header*, such as `{"Bearer alice": admin_user()}`. Once there are
            some, any other value is refused with 401; a request without the header is sent by *user*.
        header: Name of that header.

    Attributes:
        user, users, header: The same; set them at any time.
        refuses: Whether every request is refused with 401, as one with bad credentials is.
    """

    def __init__(
        self, user: User | None = None, *, users: Mapping[str, User] | None = None, header: str = "authorization"
    ) -> None:
        self.user = user
        self.users: dict[str, User] = dict(users or {})
        self.header = header
        self.refuses = False

    async def authenticate(self, request: Request) -> User | None:
        """Return who sent *request*, or `None`.

        Raises:
            AuthenticationError: The test says so, or the header has a value that nobody has.
        """
        if self.refuses:
            raise AuthenticationError("The test refuses everybody")
        sent = request.header(self.header)
        if sent is None or not self.users:
            return self.user
        if sent not in self.users:
            raise AuthenticationError("The test knows nobody with this header")
        return self.users[sent]


class FakeCoordinator(BaseCoordinator):
    """Permits what the user says to be permitted: `Health(coordinator_class=FakeCoordinator)`."""

    async def authorized(self, resource: str, action: str, context: dict[str, Any]) -> bool:
        """Return whether the user is an admin or has the permission `<resource>:<action>`."""
        del context
        return permits(self.user, f"{resource}:{action}")
