"""Somebody known to an authenticator of ours, and the roles that say what they may do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tasker_health.errors import SettingsError
from tasker_health.settings.access import RoleSettings


class Principal:
    """Somebody known.

    Attributes:
        name: Who, for the log.
    """

    __slots__ = ("_admin", "_permissions", "name")

    def __init__(self, name: str, *, permissions: Iterable[str] = (), admin: bool = False) -> None:
        self.name: str = name
        self._permissions = frozenset(permissions)
        self._admin = admin

    def __repr__(self) -> str:
        return f"<Principal {self.name}>"

    def tasker_admin(self) -> bool:
        """Return whether they may do everything."""
        return self._admin

    def has_tasker_permission(self, permission: str) -> bool:
        """Return whether they have *permission*, such as `tasker.health_status:index`."""
        return permission in self._permissions


class Roles:
    """What each role permits: the settings `auth.roles`."""

    def __init__(self, roles: Mapping[str, RoleSettings]) -> None:
        self._roles = roles

    def require(self, names: Iterable[str], key: str) -> None:
        """Pass when there is a role of each of *names*, which the setting *key* has.

        Raises:
            SettingsError: There is none.
        """
        for name in names:
            if name not in self._roles:
                known = ", ".join(self._roles) or "none"
                raise SettingsError(key, repr(name), f"there is no such role; roles in auth.roles: {known}")

    def principal(
        self, name: str, roles: Iterable[str], *, permissions: Iterable[str] = (), admin: bool = False
    ) -> Principal:
        """Return who is called *name* and has *roles*; a role that there is not permits nothing.

        Args:
            name: Who, for the log.
            roles: Names of roles.
            permissions: What they have beside those of their roles.
            admin: Whether they may do everything, whatever their roles say.
        """
        had = [self._roles[role] for role in roles if role in self._roles]
        return Principal(
            name,
            permissions=(*permissions, *(permission for role in had for permission in role.permissions)),
            admin=admin or any(role.admin for role in had),
        )
