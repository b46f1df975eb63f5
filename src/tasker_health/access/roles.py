"""The coordinator by roles: whoever has the permission may, and admins always."""

from __future__ import annotations

import inspect
from typing import Any

from tasker_health.access import BaseCoordinator, User


class RolesCoordinator(BaseCoordinator):
    """Asks the user, whose roles the settings or the user's own application define."""

    def authorized(self, resource: str, action: str, context: dict[str, Any]) -> bool:
        """Return whether the user is an admin or has the permission `<resource>:<action>`.

        Not async: a user object of somebody's own may ask a database, which must not hold the event loop.
        """
        del context
        return permits(self.user, f"{resource}:{action}")


def permits(user: Any, permission: str) -> bool:
    """Return whether *user* is an admin or has *permission*.

    Raises:
        TypeError: Their methods are async, so that they never answer.
    """
    if not isinstance(user, User):
        return False
    return _said(user.tasker_admin(), "tasker_admin") or _said(
        user.has_tasker_permission(permission), "has_tasker_permission"
    )


def _said(answer: Any, method: str) -> bool:
    """Return whether *answer*, which *method* gave, is True; a user object may answer something else that is true."""
    if inspect.iscoroutine(answer):
        answer.close()
        raise TypeError(f"{method} of the user is async; it must answer True or False")
    return answer is True
