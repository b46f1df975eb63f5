"""Settings of who may read the status."""

from __future__ import annotations

from pydantic import Field

from tasker_health.settings.kinds import Group, PositiveSeconds


class AuthSettings(Group):
    """Who may read the status."""

    authentication_enabled: bool = Field(False, description="Ask callers who they are.")
    authenticator_class: str | None = Field(None, description="Dotted path of the authenticator.")
    authorization_enabled: bool = Field(False, description="Ask whether the caller may.")
    authorization_coordinator_class: str | None = Field(None, description="Dotted path of the coordinator.")
    timeout_seconds: PositiveSeconds = Field(2, description="Longest wait for the authenticator or the coordinator.")
