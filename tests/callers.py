"""Somebody who asks, for tests that ask as several people."""

from __future__ import annotations

from typing import ClassVar

from tasker_health.access import PERMISSION
from tasker_health.access.principal import Principal
from tasker_health.errors import AuthenticationError


class ByHeader:
    """An authenticator that believes the header `X-User`: `anybody` has no permission; `bad` and `broken` fail."""

    known: ClassVar = {
        "anybody": Principal("anybody"),
        "reader": Principal("reader", permissions=[PERMISSION]),
        "admin": Principal("admin", admin=True),
    }
    challenge = 'Test realm="tasker_health"'

    async def authenticate(self, request):
        """Return who the header says."""
        name = request.header("x-user")
        if name == "broken":
            raise RuntimeError("canary of the authenticator")
        if name is not None and name not in self.known:
            raise AuthenticationError
        return self.known.get(name)


def as_user(name, **headers):
    """Return the headers of a request by *name*; `None` is nobody."""
    return headers | ({"X-User": name} if name else {})
