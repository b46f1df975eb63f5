"""The coordinator by roles: whoever has the permission may, and admins always."""

from __future__ import annotations

from typing import Any

from tasker_health.access import BaseCoordinator, User


class RolesCoordinator(BaseCoordinator):
    """Asks the user, whose roles the settings or the user's own application define."""

    async def authorized(self, resource: str, action: str, context: dict[str, Any]) -> bool:
        """Return whether the user is an admin or has the permission `<resource>:<action>`."""
        del context
        return permits(self.user, f"{resource}:{action}")


def permits(user: Any, permission: str) -> bool:
    """Return whether *user* is an admin or has *permission*."""
    if not isinstance(user, User):
        return False
    # Only True permits: a user object of somebody's own may answer something else that is true.
    return user.tasker_admin() is True or user.has_tasker_permission(permission) is True
