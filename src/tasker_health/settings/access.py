"""Settings of who may read the status."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from tasker_health.settings.kinds import Count, Group, Moment, Name, Networks, PositiveSeconds, Seconds, Words

ALGORITHMS = (
    *("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""What a JWT may be signed with; RFC 7518 section 3.1 and RFC 8037. `none` is not one of them."""


def _header(value: str) -> str:
    if not value.isascii() or not value.replace("-", "").replace("_", "").isalnum():
        raise ValueError("the name of a header, such as x-api-key")
    return value.lower()


HeaderName = Annotated[str, AfterValidator(_header)]


def _known_algorithms(value: tuple[str, ...]) -> tuple[str, ...]:
    if not value or not set(value) <= set(ALGORITHMS):
        raise ValueError(f"some of {', '.join(ALGORITHMS)}")
    if len({name[:2] == "HS" for name in value}) > 1:
        # RFC 8725 section 2.1: the public key of one kind would be the secret of the other.
        raise ValueError("either algorithms of a shared secret (HS...) or of a public key, never both")
    return value


class RoleSettings(Group):
    """What those who have a role may do."""

    permissions: Words = Field((), description="Permissions, such as tasker.health_status:index.")
    admin: bool = Field(False, description="Whether they may do everything.")


class CallerSettings(Group):
    """What somebody known may do."""

    roles: Words = Field((), description="Names of roles in auth.roles.")


class TokenSettings(CallerSettings):
    """A bearer token or API key, kept as its hash."""

    hash: SecretStr = Field(description="What `tasker-health token create` prints for it: sha256:...")
    expires: Moment | None = Field(None, description="When it ends, as 2027-01-31T00:00:00Z; unset: never.")


class UserSettings(CallerSettings):
    """Somebody with a password, for HTTP Basic."""

    password_hash: SecretStr = Field(description="What `tasker-health token password` prints for it: scrypt:...")


class CertificateSettings(CallerSettings):
    """Somebody with a client certificate, which a proxy has verified."""

    subject: str = Field(min_length=1, description="Its subject, letter by letter as the proxy sends it.")


class MtlsSettings(Group):
    """Headers in which a proxy that is trusted says whose certificate it has verified."""

    verify_header: HeaderName = Field("x-client-verify", description="Says SUCCESS when the certificate is valid.")
    subject_header: HeaderName = Field("x-client-subject", description="The subject of the certificate.")
    callers: dict[Name, CertificateSettings] = Field(default_factory=dict, description="Who they are, by name.")


class JwtSettings(Group):
    """JSON web tokens that somebody else issues."""

    algorithms: Annotated[Words, AfterValidator(_known_algorithms)] = Field(
        ("RS256",), description="Algorithms that are accepted; those of the token's header alone prove nothing."
    )
    key: SecretStr | None = Field(None, description="The shared secret (HS...) or the public key as PEM.")
    jwks_file: str | None = Field(None, description="File with the public keys (RFC 7517); read again when it changes.")
    jwks_url: str | None = Field(None, description="HTTPS address of the public keys (RFC 7517).")
    jwks_ca_file: str | None = Field(None, description="Certificates that jwks_url is trusted by; unset: the system's.")
    jwks_max_age_seconds: PositiveSeconds = Field(600, description="How long fetched keys are used without a look.")
    jwks_cooldown_seconds: PositiveSeconds = Field(30, description="Least time between two fetches.")
    issuer: str | None = Field(None, description="The iss that a token must have.")
    audience: Words = Field((), description="The aud of which a token must have one.")
    leeway_seconds: Seconds = Field(10, le=300, description="How much clocks may differ.")
    roles_claim: str = Field("roles", min_length=1, description="Claim with the names of roles in auth.roles.")
    subject_claim: str = Field("sub", min_length=1, description="Claim with the caller's name, for the log.")


class AuthSettings(Group):
    """Who may read the status."""

    authentication_enabled: bool = Field(False, description="Ask callers who they are.")
    authenticator_class: Words = Field(
        (), description="Authenticators: tokens, basic, jwt, mtls, django, starlette, or dotted paths of your own."
    )
    authorization_enabled: bool = Field(False, description="Ask whether the caller may.")
    authorization_coordinator_class: str | None = Field(
        None, description="The coordinator: roles, or the dotted path of your own."
    )
    timeout_seconds: PositiveSeconds = Field(2, description="Longest wait for the authenticator or the coordinator.")
    roles: dict[Name, RoleSettings] = Field(default_factory=dict, description="Roles, by name.")
    tokens: dict[Name, TokenSettings] = Field(default_factory=dict, description="Tokens and API keys, by name.")
    api_key_header: HeaderName = Field("x-api-key", description="Header of a token, beside Authorization: Bearer.")
    users: dict[Name, UserSettings] = Field(default_factory=dict, description="Users of HTTP Basic, by name.")
    jwt: JwtSettings | None = Field(None, description="JSON web tokens.")
    mtls: MtlsSettings = Field(MtlsSettings(), description="Client certificates that a proxy has verified.")
    trusted_proxies: Networks = Field(
        (), description="Addresses and networks of proxies whose headers are believed, such as 10.0.0.0/8."
    )
    failures_per_minute: Count = Field(
        10, description="From so many failed attempts of one address on, its further failures are answered later."
    )
